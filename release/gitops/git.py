"""Runs git in somebody's clone, without touching the branch, index or files that are theirs."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from engines.disks import disk_of
from engines.errors import InputError, ServiceError
from engines.process.git import git_environment, run_git

SECONDS = 300
"""How long one call may take; a network that sends nothing is given up before (see `_calm`)."""

_OF_THE_CLONE = (
    *("bad config", "bad numeric config value", "bad boolean config value"),
    *("unknown repository extension", "Expected git repo version"),
)
"""What git says of a clone that it cannot read, whatever it was asked."""

_LOCK = re.compile(r"(?m)^(remote:)?.*Unable to create '(.+?\.lock)': File exists")
_OWNED = re.compile(r"detected dubious ownership in repository at '([^'\n]+)'")
_USER_INFO = re.compile(r"(\w+://)[^/@\s']+@")


class GitFailed(ServiceError):
    """A git command ended with another code than 0; `said` is its stderr, without credentials.

    Callers that know what was refused say so. Its own sentence is for what nobody foresaw, such as
    a damaged clone.
    """

    def __init__(self, said: str) -> None:
        self.said = said
        super().__init__(
            f"Expected git to do what was asked of it, but it says: {self.sentence}. See what is "
            "wrong with the clone (`git fsck`), then run the same command again."
        )

    @property
    def sentence(self) -> str:
        """The last line that says what is wrong."""
        lines = [line.strip() for line in self.said.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith(("fatal:", "error:", "remote:"))]
        return (told or lines or ["nothing"])[-1][:300].rstrip(".")

    @property
    def in_the_way(self) -> str | None:
        """What to do about a lock of this clone that another git holds, or left when it was killed;
        None where there is none."""
        return self._lock("")

    @property
    def in_the_way_there(self) -> str | None:
        """The same of a lock of the repository that was pushed to."""
        return self._lock("remote:")

    def _lock(self, whose: str) -> str | None:
        where = "there" if whose else "here"
        for found in _LOCK.finditer(self.said):
            if (found[1] or "") == whose:
                return (
                    f"{found[2]} is in the way. If no other git works {where}, one that was killed "
                    "left it: remove it"
                )
        return None


class CannotWrite(InputError):
    """The disk is full, may not be written, or is broken.

    `changed` is a sentence on what was done by then. git alone does not know it: of a push it may
    be the last write, of what the server has already.
    """

    def __init__(self, folder: Path, reason: str, disks: str, changed: str = "") -> None:
        super().__init__(
            f"Cannot write to the git repository of {folder}: {reason}. "
            f"{changed}{' ' * bool(changed)}Free some space ({disks}), or fix the permissions or "
            "the disk, then run the same command again."
        )
        self.folder = folder
        self.reason = reason
        """What git says."""
        self.disks = disks
        """Which disks it wrote to, and how full they are."""
        self.changed = changed

    def but(self, changed: str) -> CannotWrite:
        """The same with what was done by then, unless that is told already."""
        return CannotWrite(self.folder, self.reason, self.disks, self.changed or changed)


def git(
    folder: Path,
    *arguments: str,
    content: bytes = b"",
    index: str | None = None,
    seconds: float = SECONDS,
) -> bytes:
    """What `git <arguments>` prints in `folder`, with `content` as its input; with `index` in place
    of the clone's own.

    Raises GitFailed when git refuses, CannotWrite where the disk is full, InputError where there
    is no git or it cannot read the clone, and ServiceError when it takes longer than `seconds`, or
    somebody ended it, which is no answer.
    """
    try:
        done = run_git(
            ["git", "--literal-pathspecs", "-c", "core.quotePath=false", *arguments],
            cwd=folder,
            input=content,
            env=_calm(os.environ) | ({"GIT_INDEX_FILE": index} if index else {}),
            timeout=seconds,
        )
    except FileNotFoundError as error:
        raise InputError("Expected git on PATH, but it is not there. Install git.") from error
    except subprocess.TimeoutExpired as error:
        raise ServiceError(
            f"Expected `git {arguments[0]}` to end within {seconds:g} s, but it did not. See that "
            "the GitOps repository answers, then run the same command again."
        ) from error
    if done.returncode == 0:
        return done.stdout
    if done.returncode < 0:
        raise ServiceError(
            f"Expected `git {' '.join(arguments)[:60]}` to end by itself, but signal "
            f"{-done.returncode} ({signal.Signals(-done.returncode).name}) ended it; Linux sends 9 "
            "when memory runs out. Run the same command again."
        )
    failure = GitFailed(without_credentials(done.stderr.decode(errors="replace")))
    if (trouble := _disk_trouble(failure.said)) is not None:
        disks = dict.fromkeys(disk_of(one) for one in (folder, *([Path(index)] if index else [])))
        raise CannotWrite(folder, trouble, "; ".join(disks))
    if (owned := _OWNED.search(failure.said)) is not None:
        # Of a repository on this machine that is pushed to as well as of the clone.
        safe = shlex.join(["git", "config", "--global", "--add", "safe.directory", owned[1]])
        raise InputError(
            f"Expected git to read the repository of {owned[1]}, but it says: {owned[0]}. If you "
            f"trust whoever owns it, say so with `{safe}`, and run the same command again."
        )
    if any(word in failure.said for word in _OF_THE_CLONE):
        raise InputError(
            f"Expected git to read the repository of {folder}, but it says: {failure.sentence}. "
            "Fix that, and run the same command again."
        )
    raise failure


def without_credentials(text: str) -> str:
    """`text` with the user and password of every address in it left out."""
    return _USER_INFO.sub(r"\1", text)


def _calm(environment: Mapping[str, str]) -> dict[str, str]:
    """git asks nobody for a password, speaks English and gives up on a dead network."""
    ours = {
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_HTTP_LOW_SPEED_LIMIT": "1",
        "GIT_HTTP_LOW_SPEED_TIME": "30",
    }
    return ours | git_environment(environment)


def _disk_trouble(said: str) -> str | None:
    """The line that says that this machine's disk is full, may not be written or is broken; the
    server's is its own."""
    words = (
        *("No space left on device", "Read-only file system", "Disk quota exceeded"),
        *("insufficient permission for adding", "couldn't write '", "unable to write"),
        *("Out of diskspace", "could not write", "failed to write", "cannot write"),
        *(
            "Input/output error",
            "Remote I/O error",
            "Structure needs cleaning",
            "Stale file handle",
        ),
        *("unable to create temporary file", ".lock': Permission denied"),
    )
    lines = [line.strip() for line in said.splitlines() if not line.startswith("remote:")]
    found = (line for line in lines if any(word in line for word in words))
    return next((line[:300].rstrip(".") for line in found), None)
