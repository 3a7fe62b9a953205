"""Git, asked for the commit that the code is at."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from pipeline.progress import note

NOT_CODE = (":(exclude)*dvc.lock", ":(exclude,glob)**/out/**", ":(exclude)release/")
"""What the pipeline itself writes: it must not make its own commit look dirty."""


def commit(root: Path) -> str:
    """Commit of the repository, with `-dirty` when the code differs from it; empty without git, or
    in a folder that is not a repository with a commit. A repository around it of which it is no
    part, as of a home folder, does not count."""
    head = _git(root, "rev-parse", "HEAD", told=True)
    if not head or not _git(root, "ls-tree", "--name-only", "HEAD"):
        return ""
    changes = _git(root, "status", "--porcelain", "--", ".", *NOT_CODE)
    return f"{head}-dirty" if changes else head


def in_git(root: Path) -> bool:
    """Whether a folder lies in a repository that git reads."""
    return _git(root, "rev-parse", "--is-inside-work-tree") == "true"


def knows(root: Path, folder: Path) -> bool:
    """Whether git has a file below `folder`, committed or added."""
    return bool(_git(root, "ls-files", "--", str(folder)))


def _git(root: Path, *arguments: str, told: bool = False) -> str:
    """What git prints; nothing where it refuses. `told`: why it does not read the repository is
    noted."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env=os.environ | {"LC_ALL": "C"},  # its words are looked at below
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    if told and "bad config" in done.stderr:
        note(
            f"Git does not read {root} ({done.stderr.strip().removeprefix('fatal: ')}), so this is "
            "built without a commit to lead back to. Fix that and build again."
        )
    if told and "dubious ownership" in done.stderr:
        note(
            f"Git does not read {root}, which another user owns, so this is built without a commit "
            f"to lead back to. Say that it is yours with `git config --global --add safe.directory "
            f"{shlex.quote(str(root))}` and build again."
        )
    return done.stdout.strip() if done.returncode == 0 else ""
