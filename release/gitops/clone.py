"""The clone itself, brought to a commit of the branch as `git pull` would, or left as it is."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from engines.errors import InputError
from release.gitops.branch import Snapshot
from release.gitops.git import CannotWrite, GitFailed, git

PULL = "`git pull`"


def bring_here(snapshot: Snapshot) -> str | None:
    """Bring the clone to the commit where it stands on the branch and lacks only what is there;
    None where it stands there now, else what to do. What lies changed in it stays, and where git
    would have to touch that, nothing is done. Raises InputError where the disk is full."""
    folder, branch = snapshot.gitops.folder, snapshot.gitops.branch
    try:
        here = git(folder, "symbolic-ref", "--short", "HEAD").decode().strip()
        if here == branch:
            _fast_forward(folder, snapshot.commit)
    except GitFailed as error:
        return f"{error.in_the_way}, then `git pull`" if error.in_the_way else PULL
    except CannotWrite as error:
        raise InputError(
            f"{snapshot.gitops.shown} has the commit, but this clone cannot be brought to it: "
            f"{error.reason}. Its files are as they were. Free some space ({error.disks}), then "
            "run the same command again, or `git pull`."
        ) from error
    return None if here == branch else PULL


def _fast_forward(folder: Path, commit: str) -> None:
    ours = _untouched(folder, commit)
    try:
        git(folder, "merge", "--ff-only", "--quiet", commit)
    except CannotWrite:
        # git leaves the files that it had written by then, and would refuse to write them again.
        _restore(folder, ours)
        raise


def _untouched(folder: Path, commit: str) -> set[str]:
    """The files that `commit` has otherwise than the clone's own one, and that nobody changed."""
    differ = _names(git(folder, "diff", "--name-only", "--no-renames", "-z", "HEAD", commit))
    told = git(folder, "status", "--porcelain", "-z", "--no-renames", "-uall", "--ignored")
    return set(differ) - {entry[3:] for entry in _names(told)}


def _restore(folder: Path, names: Iterable[str]) -> None:
    names = set(names)
    with suppress(GitFailed, CannotWrite):
        tracked = names.intersection(_names(git(folder, "ls-files", "-z")))
        for name in names - tracked:
            (folder / name).unlink(missing_ok=True)
        wanted = "".join(f"{name}\0" for name in tracked).encode(errors="surrogateescape")
        git(folder, "checkout-index", "--force", "-z", "--stdin", content=wanted)


def _names(told: bytes) -> list[str]:
    return [one for one in told.decode(errors="surrogateescape").split("\0") if one]
