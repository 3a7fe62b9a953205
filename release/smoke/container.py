"""Podman: an image of a layout is taken in by its digest, and one command is run in it."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engines.errors import ServiceError

PROGRAM = "podman"
TAKE_SECONDS = 600
MOUNT = "/release"
"""Where an image on no base is mounted."""
NOT_RUN = (125, 126, 127)
"""Exit codes of podman itself: the container did not run, or not what it was told to."""


class Done(NamedTuple):
    """How a command in a container ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Run:
    """One command in a container that may do nothing but its work."""

    image: str
    """Its id."""
    command: Sequence[str]
    keys: Path
    """Folder of trusted keys, which everybody may read."""
    memory_mib: int
    mounted: str | None = None
    """Id of an image that is mounted at MOUNT."""
    seconds: float = 600


def installed() -> bool:
    """Whether podman is there."""
    return shutil.which(PROGRAM) is not None


def version() -> str:
    """For example `podman 4.3.1`. Raises ServiceError where it does not answer."""
    return _podman("version", "--format", f"{PROGRAM} {{{{.Client.Version}}}}").strip()


@contextmanager
def taken_in(layout: Path, name: str, config: str) -> Iterator[str]:
    """Copy the image `name` of an OCI layout into podman's storage; gives its id there.

    `config` is the digest of its config, which names every layer by what is in it: podman's id. The
    image is removed afterwards, unless it was there before. Raises ServiceError where podman fails,
    or takes in another image.
    """
    before = _names(config)
    # By its name it was taken from here before, by a command that was killed: nobody else's.
    if before and all(one.startswith(f"localhost{layout.resolve()}:") for one in before):
        before = None
    image = _podman("pull", "--quiet", f"oci:{layout}:{name}").split()[-1]
    try:
        if image != config.removeprefix("sha256:"):
            raise ServiceError(
                f"Expected {PROGRAM} to take the image {name} with the id {config} from {layout}, "
                f"but it took {image}. Somebody changed the folder meanwhile: run again."
            )
        yield image
    finally:
        _let_go(image, before)


def _names(image: str) -> set[str] | None:
    """What podman calls an image that it has; None for one that it has not."""
    done = _call(["image", "inspect", "--format", "{{json .RepoTags}}", image], TAKE_SECONDS)
    return set(json.loads(done.out) or ()) if done.code == 0 else None


def _let_go(image: str, before: set[str] | None) -> None:
    """Remove the image, or only the name that it got where it was there before."""
    if before is None:
        _call(["rmi", "--force", image], TAKE_SECONDS)
        return
    for name in (_names(image) or set()) - before:
        _call(["untag", image, name], TAKE_SECONDS)


def run(wanted: Run) -> Done:
    """Run the command as the chart does: another user than root, a read-only root and nowhere to
    write, no capabilities, no network, bounded memory. Raises ServiceError where it cannot run."""
    done = _call(_arguments(wanted), wanted.seconds)
    if done.code in NOT_RUN:
        raise ServiceError(
            f"Expected {PROGRAM} to run {' '.join(wanted.command)} in the image, but it says: "
            f"{_last_line(done.err)}. Try `{PROGRAM} info`, then run again."
        )
    return done


def _arguments(wanted: Run) -> list[str]:
    arguments = ["run", "--rm", "--pull", "never", "--network", "none", "--user", "1000:1000"]
    arguments += ["--read-only", "--read-only-tmpfs=false", "--cap-drop", "all"]
    arguments += ["--security-opt", "no-new-privileges", "--pids-limit", "512"]
    arguments += ["--memory", f"{wanted.memory_mib}m", "--memory-swap", f"{wanted.memory_mib}m"]
    arguments += ["--volume", f"{wanted.keys}:/etc/jetrail/keys:ro"]
    if wanted.mounted is not None:
        arguments += ["--mount", f"type=image,source={wanted.mounted},destination={MOUNT}"]
    return [*arguments, "--entrypoint", "[]", wanted.image, *wanted.command]


def _podman(*words: str) -> str:
    done = _call(words, TAKE_SECONDS)
    if done.code:
        raise ServiceError(
            f"Expected `{PROGRAM} {' '.join(words)}` to end well, but it says: "
            f"{_last_line(done.err)}. Run it by hand to see what this machine lacks."
        )
    return done.out


def _call(words: Sequence[str], seconds: float) -> Done:
    try:
        done = subprocess.run(
            [PROGRAM, *words], capture_output=True, text=True, check=False, timeout=seconds
        )
    except FileNotFoundError as error:
        raise ServiceError(
            f"Expected {PROGRAM} on this machine, but there is none. Install it, or run this "
            "command on one that has it."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"Expected `{PROGRAM} {words[0]}` to end within {seconds:g} s, but it did not. See "
            f"`{PROGRAM} ps`, then run again."
        ) from error
    return Done(done.returncode, done.stdout, done.stderr)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[-1].removeprefix("Error: ").rstrip(".")
