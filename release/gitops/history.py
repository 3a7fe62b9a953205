"""Which commit gave a file what it holds, and who made it: the history of the branch itself.

Only first parents are followed: a file changed when the branch got the change, which for a merge
request is its merge and not the commit in it. Trailers tell more of a commit where it has them, and
nothing rests on them: people and merge buttons write commits too.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from engines.errors import InputError
from release.gitops.branch import File, Snapshot
from release.gitops.git import GitFailed, git

_FORMAT = "%x01%H%x00%ct%x00%an%x00%ae%x00%s%x00%(trailers:only,unfold)%x02"


@dataclass(frozen=True, kw_only=True)
class Commit:
    """One commit of the branch."""

    name: str
    at: datetime
    """When it was made, by its maker's clock, but never before a commit that it stands on."""
    clock: datetime
    """What its maker's clock said."""
    author: str
    email: str
    subject: str
    trailers: tuple[tuple[str, str], ...]

    @property
    def who(self) -> str:
        """Author as git writes one."""
        return f"{self.author} <{self.email}>"

    def trailer(self, key: str) -> str | None:
        """The first trailer of that name."""
        return next((value for name, value in self.trailers if name == key), None)


@dataclass(frozen=True, kw_only=True)
class FileCommit:
    """A commit that changed one file."""

    path: str
    commit: Commit
    file: File | None
    """What the file is from then on; None where the commit removed it."""


def changes(snapshot: Snapshot, *places: str) -> list[FileCommit]:
    """All changes of the files at or below `places`, the oldest first."""
    gitops = snapshot.gitops
    listed = git(
        *(gitops.folder, "log", "--first-parent", "-m", "--reverse", "--raw", "--no-abbrev", "-z"),
        *("--no-renames", "--no-show-signature", f"--format={_FORMAT}", snapshot.commit, "--"),
        *(gitops.prefix + place for place in places),
    )
    found: list[FileCommit] = []
    latest = datetime.fromtimestamp(0, timezone.utc)
    for part in listed.decode(errors="replace").split("\x01")[1:]:
        head, _, files = part.partition("\x02")
        commit = _commit(head, latest)
        latest = commit.at
        found += _files(commit, files, gitops.prefix)
    return found


def latest_change(snapshot: Snapshot, path: str) -> FileCommit | None:
    """The commit that gave `path` what it holds now."""
    found = changes(snapshot, path)
    return found[-1] if found else None


def latest_with(snapshot: Snapshot, path: str, key: str) -> Commit | None:
    """The latest commit with that trailer among those that gave a file what it holds, in merged
    branches too: a merge request's own commit has the trailer, and its merge has none."""
    place = snapshot.gitops.prefix + path
    found = _listed(snapshot, f"--grep=^{key}: ", snapshot.commit, "--", place)
    return _commit(found, datetime.fromtimestamp(0, timezone.utc)) if found else None


def merged(snapshot: Snapshot, merge: Commit, path: str) -> Commit | None:
    """The commit of the merged branch by which a file holds what it has since a merge, such as a
    merge request's own; None where it was settled in the merge, and for the first of a branch."""
    place = snapshot.gitops.prefix + path
    try:
        listed = _listed(snapshot, "--no-merges", merge.name, f"^{merge.name}^1", "--", place)
        if not listed:
            return None
        found = _commit(listed, datetime.fromtimestamp(0, timezone.utc))
        git(snapshot.gitops.folder, "diff", "--quiet", found.name, merge.name, "--", place)
    except GitFailed:
        return None
    return found


def was_ever_there(root: Path, path: str) -> bool:
    """Whether any commit that the clone knows, Fleet's branch among them, has or had the file of
    the Jetrail repository at `root`, wherever in it that lies."""
    top, places = _wherever(root, path)
    options = ("--all", "--full-history", "-1", "--format=%H", "HEAD")
    return bool(git(top, "log", *options, "--", *places))


def removed(root: Path, snapshot: Snapshot | None, folder: str, name: str) -> list[bytes]:
    """What each file called `name` held that a commit removed below `folder` of the Jetrail
    repository at `root`, as `git revert` does: of the commits that the clone, and Fleet's branch,
    stand on. None without git, or before the first commit."""
    commits = ["HEAD", *([snapshot.commit] if snapshot else [])]
    try:
        top, places = _wherever(root, folder)
        listed = git(
            *(top, "log", "--full-history", "-m", "--diff-filter=D", "--raw", "--no-abbrev", "-z"),
            *("--no-renames", "--no-show-signature", "--format=", *commits, "--", *places),
        )
    except (GitFailed, InputError):
        return []
    # `:<mode> <mode> <blob> <blob> D` and the path of each, NUL between them.
    parts = listed.decode(errors="replace").split("\0")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    blobs = {facts.split(" ")[2] for facts, path in pairs if path.endswith(f"/{name}")}
    return [git(top, "cat-file", "blob", blob) for blob in sorted(blobs)]


def _wherever(root: Path, path: str) -> tuple[Path, tuple[str, str]]:
    """The top of the clone, and where a path of the Jetrail repository may lie in a commit: a
    repository of Fleet's own has it at its top."""
    asked = (git(root, "rev-parse", f"--show-{one}") for one in ("toplevel", "prefix"))
    top, prefix = (one.decode().removesuffix("\n") for one in asked)
    return Path(top), (prefix + path, path)


def tip(snapshot: Snapshot) -> Commit:
    """The commit that the branch is at."""
    return _one(snapshot, snapshot.commit)


def below(snapshot: Snapshot, commit: Commit) -> Commit | None:
    """The commit that one stands on, its first parent; None for the first of the branch."""
    try:
        return _one(snapshot, f"{commit.name}^")
    except GitFailed:
        return None


def _one(snapshot: Snapshot, name: str) -> Commit:
    return _commit(_listed(snapshot, name, "--"), datetime.fromtimestamp(0, timezone.utc))


def _listed(snapshot: Snapshot, *arguments: str) -> str:
    """The first commit that `git log` lists, as `_FORMAT` has it; empty where it lists none."""
    options = ("-1", "--no-show-signature", f"--format={_FORMAT}")
    listed = git(snapshot.gitops.folder, "log", *options, *arguments)
    return listed.decode(errors="replace").lstrip("\x01").partition("\x02")[0]


def _commit(head: str, latest: datetime) -> Commit:
    name, seconds, author, email, subject, trailers = head.split("\0")
    pairs = (line.partition(": ") for line in trailers.splitlines() if ": " in line)
    clock = datetime.fromtimestamp(int(seconds), timezone.utc)
    return Commit(
        name=name,
        at=max(latest, clock),
        clock=clock,
        author=author,
        email=email,
        subject=subject,
        trailers=tuple((key, value) for key, _, value in pairs),
    )


def _files(commit: Commit, text: str, prefix: str) -> list[FileCommit]:
    """`:<mode> <mode> <blob> <blob> <letter>` and the path of each file, NUL between them."""
    parts = [part for part in text.split("\0") if part.strip()]
    found = []
    for facts, path in zip(parts[::2], parts[1::2], strict=True):
        _, mode, _, blob, _ = facts.strip().lstrip(":").split(" ")
        file = File(mode=mode, blob=blob) if blob.strip("0") else None
        found.append(FileCommit(path=path.removeprefix(prefix), commit=commit, file=file))
    return found
