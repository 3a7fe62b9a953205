"""The container engine of this machine, podman or else docker, as a program that is called."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from typing import NamedTuple

from engines.disks import says_full_disk
from engines.errors import InputError, ServiceError

PODMAN, DOCKER = "podman", "docker"
TAKE_SECONDS = 600


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def installed() -> str | None:
    """The one that is here, podman where both are; None where neither is."""
    return next((one for one in (PODMAN, DOCKER) if shutil.which(one)), None)


def found() -> str:
    """As `installed`. Raises ServiceError where there is none."""
    tool = installed()
    if tool is None:
        raise ServiceError(
            f"Expected {PODMAN} or {DOCKER} on this machine, but there is neither. Install one, or "
            "run this command on one that has it."
        )
    return tool


def version() -> str:
    """For example `podman 4.3.1`. Raises ServiceError where it does not answer."""
    tool = found()
    side = "Client" if tool == PODMAN else "Server"
    return ask(tool, "version", "--format", f"{tool} {{{{.{side}.Version}}}}").strip()


def ask(program: str, *words: str) -> str:
    """What it says, when it ends well; otherwise raises ServiceError, and InputError where a disk
    is full."""
    done = call([program, *words], TAKE_SECONDS)
    if done.code:
        told = (
            f"Expected `{program} {' '.join(words)}` to end well, but it says: "
            f"{last_line(done.err)}."
        )
        if says_full_disk(done.err):
            raise InputError(f"{told} Free some space where it keeps images, then run again.")
        raise ServiceError(f"{told} Run it by hand to see what this machine lacks.")
    return done.out


def call(words: Sequence[str], seconds: float) -> Done:
    """Run a program. Raises ServiceError where it is not here or does not end in time."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)
    except FileNotFoundError as error:
        raise ServiceError(
            f"Expected {words[0]} on this machine, but there is none. Install it, or run this "
            "command on one that has it."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"Expected `{' '.join(words[:2])}` to end within {seconds:g} s, but it did not. See "
            f"`{words[0]} ps`, then run again."
        ) from error
    return Done(done.returncode, done.stdout, done.stderr)


def last_line(text: str) -> str:
    """What a program says of its failure."""
    return (text.strip().splitlines() or ["nothing"])[-1].removeprefix("Error: ").rstrip(".")
