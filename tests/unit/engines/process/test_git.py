"""Git that is ended in the middle leaves no lock in the way of people's own git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from engines.process.git import git_environment, run_git

WORKS = """#!/bin/sh
trap 'rm lock; exit 143' TERM
touch lock
while :; do sleep 0.05; done
"""
"""As git does while it holds its index."""


def test_git_that_takes_too_long_takes_its_lock_away(tmp_path: Path) -> None:
    git = tmp_path / "git"
    git.write_text(WORKS)
    git.chmod(0o755)
    with pytest.raises(subprocess.TimeoutExpired):
        run_git([str(git)], env=os.environ, cwd=tmp_path, timeout=0.5)
    assert not (tmp_path / "lock").exists()


def test_git_that_does_not_end_by_sigterm_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.process.git.LEAVE_SECONDS", 0.1)
    words = ["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"]
    with pytest.raises(subprocess.TimeoutExpired):
        run_git(words, env=os.environ, cwd=tmp_path, timeout=0.2)


def test_to_look_takes_no_lock(tmp_path: Path) -> None:
    """Of a file that was touched `git status` would write into the index that it is unchanged."""
    for words in (["init", "--quiet"], ["add", "."]):
        (tmp_path / "a").touch()
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    os.utime(tmp_path / "a", (1, 1))
    before = (tmp_path / ".git" / "index").read_bytes()
    assert run_git(["git", "status"], env=git_environment(), cwd=tmp_path).returncode == 0
    assert (tmp_path / ".git" / "index").read_bytes() == before
