"""engines.disks: what is wrong with a disk, in words."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.disks import (
    disk_error,
    disk_of,
    is_of_temporary_files,
    named_by,
    says_full_disk,
)
from engines.files import (
    atomic_path,
)


def test_a_disk_is_named_by_its_mount_with_what_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a file in a folder that is not there yet."""
    (tmp_path / "mount" / "models").mkdir(parents=True)
    asked = []

    def usage(path: Path) -> Any:
        asked.append(path)
        return SimpleNamespace(total=10 << 20, free=(4 << 20) - 1)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    monkeypatch.setattr(Path, "is_mount", lambda path: path.name in ("", "mount"))
    mount = tmp_path / "mount"
    said = disk_of(mount / "models" / "new" / "engine.blob")
    assert said == f"the disk at {mount} has 3 of 10 MiB free"
    assert asked == [mount / "models"]


@pytest.mark.parametrize(("inodes", "said"), [(20_000, True), (0, False)])
def test_a_disk_that_takes_no_more_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inodes: int, said: bool
) -> None:
    """It has room, and the system says "No space left"; btrfs counts no inodes."""
    counted = SimpleNamespace(f_files=inodes, f_favail=0)
    monkeypatch.setattr(os, "statvfs", lambda _: counted)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, free=1))
    assert ("takes no more files (`df -i`): delete some" in disk_of(tmp_path)) is said


@pytest.mark.parametrize(("free", "full"), [((1 << 20) - 1, True), (1 << 20, False)])
def test_a_disk_of_temporary_files_with_less_than_a_mebibyte_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, full: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc")  # any other file system
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    assert is_of_temporary_files(OSError(errno.ENOSPC, "full")) is full
    assert not is_of_temporary_files(ValueError("full"))


def test_a_full_disk_is_where_a_copy_goes_to() -> None:
    """The system names where it comes from first, a disk with room."""
    assert named_by(OSError(errno.ENOSPC, "full", "/from", None, "/to")) == "/to"
    assert named_by(OSError(errno.EIO, "broken", "/from", None, "/to")) == "/from"


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES])
def test_a_broken_disk_is_told_of_the_file_that_was_read(tmp_path: Path, number: int) -> None:
    """The system names no file that is open already; NFS takes a permission while one is read."""
    broken = tmp_path / "label.txt"
    with broken.open("w") as file, pytest.raises(OSError, match="error|denied") as raised:  # noqa: F841
        raise OSError(number, os.strerror(number))
    assert named_by(raised.value) == str(broken)
    with pytest.raises(OSError, match="error|denied"), atomic_path(tmp_path / "out" / "new"):
        raise raised.value


@pytest.mark.parametrize(
    ("said", "number", "name"),
    [
        ("E   OSError: [Errno 5] Input/output error: '/a/b.png'", errno.EIO, "/a/b.png"),
        ("E   OSError: [Errno 122] Disk quota exceeded", errno.EDQUOT, "here"),
        ('level=fatal msg="write /x: no space left on device"', errno.ENOSPC, "here"),
        ("RuntimeError: Permission denied by the driver", None, None),
    ],
)
def test_what_another_program_says_of_a_disk(
    said: str, number: int | None, name: str | None
) -> None:
    error = disk_error(said, Path("here"))
    assert (error and error.errno, error and error.filename) == (number, name)
    assert says_full_disk(said) == (number in (errno.EDQUOT, errno.ENOSPC))
