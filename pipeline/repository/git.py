"""Git, asked for the commit that the code is at."""

from __future__ import annotations

import subprocess
from pathlib import Path

NOT_CODE = (":(exclude)*dvc.lock", ":(exclude,glob)**/out/**", ":(exclude)release/")
"""What the pipeline itself writes: it must not make its own commit look dirty."""


def commit(root: Path) -> str:
    """Commit of the repository, with `-dirty` when the code differs from it; empty without git, or
    in a folder that is not a repository with a commit."""
    head = _git(root, "rev-parse", "HEAD")
    if not head:
        return ""
    changes = _git(root, "status", "--porcelain", "--", ".", *NOT_CODE)
    return f"{head}-dirty" if changes else head


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
