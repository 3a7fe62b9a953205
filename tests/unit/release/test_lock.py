"""release.lock: one command at a time, whoever made the lock's file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from engines.config.workspace import Workspace
from release.lock import exclusive


@pytest.mark.parametrize("writable", [True, False], ids=["own", "of another user"])
def test_it_is_opened_for_writing_where_it_may_be(
    writable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS wants it; and what another user made may only be read. Root, as whom tests may run, would
    not notice."""
    taken: list[int] = []
    flock, opened = fcntl.flock, os.open

    def noting(file: int, kind: int) -> None:
        taken.append(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE)
        flock(file, kind)

    def refusing(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise PermissionError
        return opened(path, flags, mode)

    (tmp_path / ".jetrail-release.lock").touch()
    monkeypatch.setattr(fcntl, "flock", noting)
    if not writable:
        monkeypatch.setattr(os, "open", refusing)
    with exclusive(Workspace(root=tmp_path)):
        assert taken == [os.O_RDWR if writable else os.O_RDONLY]
