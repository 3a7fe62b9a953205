"""Which store MLflow asks, so that an error names the one that failed, and for how long.

Runs, models and files may lie in three places: MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI, and where
a server sends its clients with their files.
"""

from __future__ import annotations

import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from engines.errors import InputError
from release.registry.address import SERVERS, is_server
from release.registry.uri import REGISTRY, TRACKING, sqlite_file, without_credentials

_REGISTRY_CALLS = frozenset(
    (
        *("get_registered_model", "create_registered_model", "update_registered_model"),
        *("search_registered_models", "search_model_versions", "create_model_version"),
        *("get_model_version", "update_model_version", "delete_model_version"),
        *("set_registered_model_alias", "delete_registered_model_alias"),
    )
)
_FILE_CALLS = frozenset(
    ("log_artifacts", "list_artifacts", "log_model_artifacts", "list_logged_model_artifacts")
)

_ROOT_ABOVE = {"log_artifacts": 3, "log_model_artifacts": 4}
"""How many folders above the files of one run or model those of all are:
`<root>/<experiment>/<run>/artifacts`, `<root>/<experiment>/models/<model>/artifacts`."""

FIRST_CALL = 8.0
LONGEST_CALL = 20.0
"""Seconds for an answer, the first one and later ones. MLflow's own timeout is of each piece of
one, so that a server that sends a byte now and then would hold a command for hours."""
SECONDS_PER_MIB = 10.0
SECONDS_PER_FILE = 2.0
"""For files on top of it: the slowest line that is worth waiting for, and the slowest answer, since
each file is a request of its own (a server that checks passwords takes half a second for one). One
that falls silent is given up earlier, by its requests."""


@dataclass
class Asked:
    """The stores of one command, and which of them was asked last."""

    tracking: str
    registry: str = ""
    files: str = ""
    """Where clients write files themselves; empty where they give them to the server."""
    last: Literal["tracking", "registry", "files"] = "tracking"
    reading: bool = False
    """Whether the command only asks, and gives nothing."""
    own: Path | None = None
    """Where this repository keeps the files of a store without a server."""

    @property
    def uri(self) -> str:
        """Of the store that was asked last."""
        places = {"registry": self.registry, "files": self.files}
        return places.get(self.last, "") or self.tracking

    @property
    def uris(self) -> tuple[str, ...]:
        """Of all of them: an error of one may hold secrets of another."""
        return (self.tracking, self.registry, self.files)

    @property
    def variable(self) -> str:
        """What names it; empty for a store of files, which the server names."""
        if self.uri == self.tracking:
            return TRACKING
        return REGISTRY if self.last == "registry" else ""

    def __str__(self) -> str:
        shown = without_credentials(self.uri)
        if self.variable == TRACKING:
            return f"MLflow at {shown}"
        what = "model registry" if self.variable else "store of files"
        return f"MLflow's {what} at {shown}"


class Asking:
    """An MlflowClient that notes whom it asks, and waits for an answer within limits."""

    def __init__(self, client: Any, asked: Asked, *, limited: bool) -> None:
        self._client, self._asked, self._limited = client, asked, limited
        self._patience = FIRST_CALL

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)
        return partial(self._call, name, method) if callable(method) else method

    def _call(self, name: str, method: Any, /, *args: Any, **kwargs: Any) -> Any:
        files = name in _FILE_CALLS
        self._asked.last = (
            "files" if files else "registry" if name in _REGISTRY_CALLS else "tracking"
        )
        if name in _ROOT_ABOVE:
            check_shared(self._asked, _ROOT_ABOVE[name])
            check_moved(self._asked)
        limit = self._patience
        if files and name.startswith("log_"):
            limit += _seconds_for(args[-1])
        limited = self._limited and (files or not is_file(self._asked.uri))
        with within(limit if limited else None):
            found = method(*args, **kwargs)
        self._patience = LONGEST_CALL
        self._asked.files = _written_by_clients(found) or self._asked.files
        return found


def is_file(*uris: str) -> bool:
    """Whether the stores are files of this machine: how long those take says how busy it is, and
    not that nobody answers."""
    return all(sqlite_file(uri) is not None for uri in uris)


def check_shared(asked: Asked, above: int) -> None:
    """Raise InputError where a server elsewhere sends its clients to a folder that is not on this
    machine: MLflow would make it here, and nobody else would find the files in it.

    `above`: how many folders above those of `asked.files` the one is that has to be there.
    """
    place, server = urlsplit(asked.files), urlsplit(asked.tracking)
    if place.scheme not in {"", "file"} or not place.path or not is_server(asked.tracking):
        return
    folder = Path(unquote(place.path))
    shared = [one for one in folder.parents[:above] if one.is_dir()]
    if shared or server.hostname in {"localhost", "127.0.0.1", "::1", socket.gethostname()}:
        return
    raise InputError(
        f"Expected MLflow at {without_credentials(asked.tracking)} to take files itself, or a "
        f"folder that this machine shares with it, but it sends its clients to {folder}, and "
        f"{folder.parents[above - 1]} is not here. Start the server without --no-serve-artifacts "
        "(and with --artifacts-destination), or mount that folder, and begin the experiment anew."
    )


def check_moved(asked: Asked) -> None:
    """Raise InputError where a database says that files are in a clone that is not on this machine,
    or no longer there: MLflow would make its folder anew. A store that is a file follows."""
    place = urlsplit(asked.files)
    folder = Path(unquote(place.path))
    if asked.own is None or place.scheme not in {"", "file"} or asked.own in folder.parents:
        return
    old = next((one for one in folder.parents if one.name == asked.own.name), None)
    if old is None or old.is_dir():
        return
    folders = shlex.join(["mkdir", "-p", str(old.parent), str(asked.own)])
    link = shlex.join(["ln", "-s", str(asked.own), str(old)])
    raise InputError(
        f"Expected the files of MLflow at {without_credentials(asked.tracking)} in {old}, but that "
        "is not here: its experiment was begun in a clone on another machine, or in one that was "
        f"moved. Where this is that clone, run `{folders} && {link}`. Else mount that folder, or "
        "begin anew with a server that takes files itself (`mlflow server "
        "--artifacts-destination`). Then run the same command again."
    )


class _Late(BaseException):
    """Not an Exception: MLflow takes those for a reason to try again."""


@contextmanager
def within(seconds: float | None) -> Iterator[Callable[..., None]]:
    """Raise TimeoutError where the block takes longer; in a thread there is no such limit. What it
    gives, called in the block, lets the time begin anew."""
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield lambda *_: None
        return

    def late(*_: object) -> None:
        raise _Late

    def begin(*_: object) -> None:
        # Again and again, since a library may swallow the first.
        signal.setitimer(signal.ITIMER_REAL, seconds, 1)

    before = signal.signal(signal.SIGALRM, late)
    try:
        begin()
        try:
            yield begin
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except _Late as error:
        raise TimeoutError(f"it did not answer within {seconds:.0f} s") from error
    finally:
        signal.signal(signal.SIGALRM, before)


def _written_by_clients(found: Any) -> str:
    """Where the files of a run, model or experiment lie, if its server does not take them."""
    about = getattr(found, "info", found)
    for name in ("artifact_uri", "artifact_location"):
        place = getattr(about, name, None)
        if isinstance(place, str) and urlsplit(place).scheme not in {"mlflow-artifacts", *SERVERS}:
            return place
    return ""


def _seconds_for(folder: str) -> float:
    sizes = [path.stat().st_size for path in Path(folder).rglob("*") if path.is_file()]
    return SECONDS_PER_MIB * sum(sizes) / 2**20 + SECONDS_PER_FILE * len(sizes)
