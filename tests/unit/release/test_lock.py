"""release.lock: one command at a time, whoever made the lock's file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from engines.config.workspace import Workspace
from release.lock import exclusive


def test_a_file_that_another_user_made_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be read and not written; root, as whom tests may run, would not notice."""
    taken: list[int] = []
    flock = fcntl.flock

    def noting(file: int, kind: int) -> None:
        taken.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE)
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", noting)
    with exclusive(Workspace(root=tmp_path)):
        assert taken == [os.O_RDONLY]
