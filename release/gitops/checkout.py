"""What a clone has at one of its own commits, without a network and without touching the clone."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from release.gitops.git import GitFailed, git


def commit_of(root: Path, revision: str) -> str | None:
    """The commit that `revision` means, or None where it means none, or there is no repository."""
    try:
        found = git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    except GitFailed:
        return None
    return found.decode().strip()


def differs(root: Path, commit: str, place: str, other: str | None = None) -> bool:
    """Whether files below `place` are not as in `commit`: those of the clone, new ones too, or with
    `other` those of that commit."""
    revisions = [commit, other] if other else [commit]
    if git(root, "diff", "--name-only", "--no-renames", *revisions, "--", place):
        return True
    return not other and bool(git(root, "ls-files", "--others", "--exclude-standard", "--", place))


def last_change(root: Path, commit: str, place: str) -> str | None:
    """The commit at or before `commit` that changed `place`."""
    found = git(root, "rev-list", "--max-count=1", commit, "--", place).decode().strip()
    return found or None


def lay_out(root: Path, commit: str, place: str, folder: Path) -> None:
    """Write what `commit` has below `place` into `folder`; nothing where it has nothing there.
    Links and whatever leads out of the folder are left out."""
    prefix = git(root, "rev-parse", "--show-prefix").decode().strip()
    try:
        packed = git(root, "archive", "--format=tar", f"{commit}:{prefix}", place)
    except GitFailed as error:
        if "did not match any files" in error.said or "not a valid object" in error.said:
            return
        raise
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        for member in archive:
            target = folder / member.name
            if member.isfile() and target.resolve().is_relative_to(folder.resolve()):
                content = archive.extractfile(member)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read() if content else b"")
