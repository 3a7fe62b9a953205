"""The clone itself: where it stands, and brought to a commit of the branch as `git pull` would."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from engines.errors import InputError, ServiceError
from release.gitops.branch import Snapshot
from release.gitops.git import CannotWrite, GitFailed, git

PULL = "`git pull`"
REBASE = "`git pull --rebase --autostash`"
"""Without the last word git does nothing while anything lies changed."""
MOST = 3
"""Files that are named."""


def bring_here(snapshot: Snapshot) -> str | None:
    """Bring the clone to the commit where it stands on the branch and lacks only what is there;
    None where it stands there now, else what to do. What lies changed in it stays, and where git
    would have to touch that, nothing is done. Raises InputError where the disk is full."""
    folder, branch = snapshot.gitops.folder, snapshot.gitops.branch
    if snapshot.left_at() is None or head(folder) == snapshot.commit:
        return None  # of a repository of Fleet's own this is no clone
    try:
        here = git(folder, "symbolic-ref", "--short", "HEAD").decode().strip()
    except GitFailed:
        here = ""  # as in a job of CI, whose clone nobody uses any more
    if here != branch:
        # `git pull` there brings another branch; both refuse what a command wrote and then pushed.
        stands = f"on the branch {here}" if here else "on no branch"
        return f"it stands {stands}; {way_to(snapshot, f'`git checkout {branch}`, then {PULL}')}"
    try:
        if pull(snapshot) != PULL:
            return way_to(snapshot)  # git has two histories to merge, which is people's to do
        _fast_forward(folder, snapshot.commit)
    except GitFailed as error:
        if not error.in_the_way:
            return way_to(snapshot)
        # `git pull` alone refuses what a merge wrote that was killed half-way.
        return f"{error.in_the_way}, then run the same command again, or {PULL}"
    except CannotWrite as error:
        raise InputError(
            f"{snapshot.gitops.shown} has the commit, but this clone cannot be brought to it: "
            f"{error.reason}. Its files are as they were. Free some space ({error.disks}), or fix "
            "the permissions, then run the same command again, or `git pull`."
        ) from error
    return None


def pull(snapshot: Snapshot) -> str:
    """The command that brings what the branch has to the clone. Where that has commits of its own,
    `git pull` alone asks how to reconcile them, and does nothing; a merge would be what moved the
    rings, by its time and author."""
    try:
        git(snapshot.gitops.folder, "merge-base", "--is-ancestor", "HEAD", snapshot.commit)
    except GitFailed:
        return REBASE
    return PULL


def head(folder: Path) -> str | None:
    """The commit that the clone stands on; None before its first."""
    try:
        return git(folder, "rev-parse", "--verify", "--quiet", "HEAD").decode().strip()
    except GitFailed:
        return None


def is_behind(folder: Path, commit: str) -> bool:
    """Whether the clone stands on less than `commit`, which it may lack; not behind one that its
    origin does not know either. Raises ServiceError where that does not answer."""
    here = head(folder)
    if here in (None, commit) or not _bring(folder, commit):
        return False
    try:
        git(folder, "merge-base", "--is-ancestor", str(here), commit)
    except GitFailed:
        return False
    return True


def _bring(folder: Path, commit: str) -> bool:
    """Fetch a commit where the clone lacks it; whether it has it then."""
    with suppress(GitFailed):
        git(folder, "cat-file", "-e", f"{commit}^{{commit}}")
        return True
    options = ("--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules")
    try:
        git(folder, "fetch", "--quiet", "--no-tags", *options, "origin", commit)
    except GitFailed as error:
        # It was never pushed, or this clone has no origin.
        if any(word in error.said for word in ("not our ref", "does not appear to be a git")):
            return False
        raise ServiceError(
            f"Expected commit {commit[:12]} of origin, to see whether this clone is an older one, "
            f"but git says: {error.sentence}. See that you may read it, then run the same command "
            "again."
        ) from error
    return True


def way_to(snapshot: Snapshot, then: str | None = None) -> str:
    """What to do about files that are changed here and that the branch changes too, whoever changed
    them: this very command, which pushed them then, or a git that was killed and may have written
    half of one. What brings the branch here comes `then`, or where there are none: `pull`, unless
    it is given."""
    folder, then = snapshot.gitops.folder, then or pull(snapshot)
    try:
        left, base, rebases = snapshot.left_at(), "HEAD", then == REBASE
        if rebases and left is not None:
            base = left.commit  # what only the clone's commits changed is in nobody's way
            then += _where_it_stops(snapshot, base)
        touched = _touched(folder)
        found = sorted(_differing(folder, snapshot.commit, base) & touched.keys())
        there = {one for one in found if _is_as_in(folder, snapshot.commit, one)}
        if rebases:  # git puts those aside, and back where they change nothing; but no new file
            found = [one for one in found if one not in there or touched[one][0] in "?!"]
    except GitFailed as error:
        return f"git says: {error.sentence}; put that right (`git fsck` says more), then {then}"
    if not found:
        return then
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    new = [name for name in found if touched[name][0] in "?!A"]
    known = [name for name in found if name not in new]
    staged = any(touched[name][0] not in " ?!" for name in found)  # `git checkout` keeps that
    away = ["`git reset`"] if staged else []
    away += [f"`git checkout -- {shlex.join(known)}`"] if known else []
    away += [f"`rm {shlex.join(new)}`"] if new else []
    names, clear = f"{shlex.join(found[:MOST])}{more}", ", ".join(away)
    if there.issuperset(found):
        lie = "is" if len(found) == 1 else "are"
        return f"{names} {lie} on the branch by now; {clear}, then {then}"
    return (
        f"{names} changed here, and the branch changes it too. Where nobody needs that (see `git "
        f"diff`), {clear}, then {then}"
    )


def _where_it_stops(snapshot: Snapshot, base: str) -> str:
    """What to do at a record, or a ring's file, that the clone's own commits and the branch have
    otherwise than each other, as where it was committed before `release push` wrote into it."""
    folder, tip = snapshot.gitops.folder, snapshot.commit
    both = _differing(folder, base) & _differing(folder, tip, base) & _differing(folder, tip)
    names = [name for name in sorted(both) if name.startswith(f"{snapshot.gitops.prefix}release/")]
    if not names:
        return ""
    files = shlex.join(names)
    return (
        f"; where that stops at a conflict, `git checkout --ours -- {files}` and `git add {files}` "
        "take what the branch has, then `git rebase --continue`"
    )


def _fast_forward(folder: Path, commit: str) -> None:
    ours = _untouched(folder, commit)
    try:
        try:
            _merge(folder, commit)
        except GitFailed:
            written = _written_before(folder, commit)
            if not written:
                raise
            # Staged, they are not in git's way; taken away first, they would be gone where this is
            # killed then, and with them what the same command reads when it runs again.
            git(folder, "update-index", "--add", "-z", "--stdin", content=_listed(written))
            _merge(folder, commit)
    except CannotWrite:
        # git leaves the files that it had written by then, and would refuse to write them again.
        _restore(folder, ours)
        raise


def _merge(folder: Path, commit: str) -> None:
    # Without maintenance, which leaves a lock behind when it is killed.
    git(folder, "-c", "maintenance.auto=false", "merge", "--ff-only", "--quiet", commit)


def _untouched(folder: Path, commit: str) -> set[str]:
    """The files that `commit` has otherwise than the clone's own one, and that nobody changed."""
    return _differing(folder, commit) - set(_touched(folder))


def _written_before(folder: Path, commit: str) -> set[str]:
    """The files that a merge wrote that was killed then, or that a command wrote and then pushed:
    changed, and what `commit` has, staged too if they are. None where any other one is in the way,
    since that is somebody's."""
    touched = _touched(folder)
    found = {name for name in _differing(folder, commit) if name in touched}
    ours = all(
        (touched[name][0] in " ?" or touched[name][1] == " ") and _is_as_in(folder, commit, name)
        for name in found
    )
    return found if ours else set()


def _differing(folder: Path, commit: str, other: str = "HEAD") -> set[str]:
    return set(_names(git(folder, "diff", "--name-only", "--no-renames", "-z", other, commit)))


def _touched(folder: Path) -> dict[str, str]:
    """What is changed, new or ignored in the clone, with the two letters of `git status`."""
    told = git(folder, "status", "--porcelain", "-z", "--no-renames", "-uall", "--ignored")
    return {entry[3:]: entry[:2] for entry in _names(told)}


def _is_as_in(folder: Path, commit: str, name: str) -> bool:
    path = folder / name
    if path.is_symlink() or not path.is_file():
        return False
    try:
        wanted = git(folder, "rev-parse", "--verify", "--quiet", f"{commit}:{name}")
    except GitFailed:
        return False
    return git(folder, "hash-object", "--", name) == wanted


def _restore(folder: Path, names: Iterable[str]) -> None:
    names = set(names)
    with suppress(GitFailed, CannotWrite):
        tracked = names.intersection(_names(git(folder, "ls-files", "-z")))
        for name in names - tracked:
            (folder / name).unlink(missing_ok=True)
        git(folder, "checkout-index", "--force", "-z", "--stdin", content=_listed(tracked))


def _listed(names: Iterable[str]) -> bytes:
    """For git's `-z --stdin`."""
    return "".join(f"{name}\0" for name in names).encode(errors="surrogateescape")


def _names(told: bytes) -> list[str]:
    return [one for one in told.decode(errors="surrogateescape").split("\0") if one]
