"""Where MLflow is, and what of that may be shown: a URI may hold secrets, which appear nowhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from engines.config.workspace import find_workspace
from engines.errors import InputError
from release.registry.address import check_address, is_server, without_what_a_uri_reads

LOCAL_STORE = "mlflow.db"
TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
_SQLITE = "sqlite:///"

_SECRETS = (
    *("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD"),
    *("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
)
"""Of the environment. What refuses one shows it: a token with a line end is no header's value."""

SECRET_LENGTH = 4
"""Shorter values of a query, such as `1`, are words of every message too."""


def tracking_uri(root: Path) -> str:
    """Where MLflow is: MLFLOW_TRACKING_URI, or else a SQLite file in the repository at `root`.

    A relative path of a SQLite file is one of the repository: commands run from any folder of it.
    Raises InputError for what MLflow cannot publish to.
    """
    return _named(TRACKING, root) or _local(root)


def registry_uri(root: Path) -> str:
    """Where models and their aliases are: MLFLOW_REGISTRY_URI, or else where the runs are. Raises
    as `tracking_uri`."""
    return _named(REGISTRY, root) or tracking_uri(root)


def shown_uri(root: Path) -> str:
    """`tracking_uri` as it stands in records: without credentials or this machine's folders."""
    uri = tracking_uri(root)
    if uri == f"{_SQLITE}{root / LOCAL_STORE}":
        return f"{_SQLITE}{LOCAL_STORE}"
    return without_credentials(os.environ.get(TRACKING) or uri)


def seen_from_here(shown: str) -> str:
    """What `shown_uri` gave, for a command in this folder: the repository's own store is written as
    seen from its root, and elsewhere MLflow would lay out an empty one."""
    path = shown.removeprefix(_SQLITE)
    if path == shown or path.startswith("/"):
        return shown
    return f"{_SQLITE}{os.path.relpath(find_workspace().root / path)}"


def _named(variable: str, root: Path) -> str:
    """The value of a variable of the environment, if it is set."""
    uri = os.environ.get(variable, "")
    if not uri:
        return ""
    check_address(uri, variable)
    scheme, separator, path = uri.partition(":///")
    if scheme.partition("+")[0] != "sqlite" or path.startswith("/") or not path:
        return uri
    if sqlite_file(uri) is not None:
        without_what_a_uri_reads(str(root))
    return f"{scheme}{separator}{root}/{path}"


def _local(root: Path) -> str:
    without_what_a_uri_reads(str(root))
    return f"{_SQLITE}{root / LOCAL_STORE}"


def without_credentials(uri: str) -> str:
    """`uri` without user, password and query, fit for records and messages."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri.partition("#")[0].partition("?")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_secrets(text: str, uri: str) -> str:
    """`text`, perhaps somebody else's message, without the secrets of `uri` and the environment."""
    parts = urlsplit(uri)
    user = parts.netloc.rpartition("@")[0]
    values = [value for _, value in parse_qsl(parts.query)]
    single = [unquote(user.partition(":")[2]), user.partition(":")[2], *values]
    # A database's user alone is no secret; a server's may be a token.
    whole = {user} if ":" in user or is_server(uri) else set()
    secrets = {*whole, parts.query, *single, *_of_environment()}
    text = text.replace(uri, without_credentials(uri))
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SECRET_LENGTH:
            text = text.replace(secret, "…")
    return text


def _of_environment() -> Iterator[str]:
    """Line by line too: base64 breaks a long token into lines, and errors show it escaped."""
    for value in (os.environ.get(one, "").strip() for one in _SECRETS):
        yield from (value, *value.splitlines())


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for any other. Raises InputError for a database in memory,
    which would be gone when the command ends."""
    scheme, _, rest = uri.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return None
    name = rest.removeprefix("/").partition("?")[0]
    if not name or ":memory:" in name or "mode=memory" in rest:
        raise InputError(
            f"Expected MLFLOW_TRACKING_URI to name a file, got {without_credentials(uri)}, a "
            "database in memory, in which nothing would be left. Write sqlite:////folder/mlflow.db."
        )
    return Path(name)


def artifacts_folder(root: Path, uri: str) -> Path | None:
    """Where a store without a server keeps its files: beside its SQLite file, or in the repository.
    None where a server decides. Raises InputError as `sqlite_file`."""
    if is_server(uri):
        return None
    file = sqlite_file(uri)
    # Not Path.resolve, which raises for links in a circle: SQLite says that better.
    return (Path(os.path.realpath(file)).parent if file else root) / "mlartifacts"
