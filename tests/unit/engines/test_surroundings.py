"""What a machine lacks is said in a sentence, wherever the error comes from."""

from __future__ import annotations

import errno
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from engines import surroundings
from engines.backends.openvino.messages import translated
from engines.disks import BROKEN_ERRNOS, disk_of
from engines.errors import InputError, WrongEngine
from engines.files import atomic_path
from engines.surroundings import in_a_sentence


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."),
        ImportError("libx.so: failed to map segment from shared object"),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_no_more_memory(error: Exception) -> None:
    assert "enough memory" in str(in_a_sentence(error, "pipeline"))


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("can't start new thread"),
        OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)),
    ],
)
def test_no_more_threads(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many run, or there is no memory for a stack."""
    assert "`ulimit -u`" in str(in_a_sentence(error, "pipeline"))
    monkeypatch.setattr(surroundings, "limit_bytes", lambda: 300 << 20)
    assert "enough memory" in str(in_a_sentence(error, "pipeline"))


def test_a_pipe_that_is_full_is_no_lack_of_threads() -> None:
    error = BlockingIOError(errno.EAGAIN, "write could not complete without blocking")
    assert in_a_sentence(error, "pipeline") is None


def test_an_engine_is_not_to_blame_for_a_thread_that_could_not_begin() -> None:
    said = f"Exception from {'core.cpp ' * 99}: Resource temporarily unavailable"
    with (
        pytest.raises(BlockingIOError) as got,
        translated(WrongEngine, "Expected an engine that OpenVINO can load"),
    ):
        raise RuntimeError(said)
    assert "`ulimit -u`" in str(in_a_sentence(got.value, "pipeline"))


def test_memory_that_lacked_below_another_error() -> None:
    error = ValueError("cannot be read")
    error.__cause__ = MemoryError()
    assert "enough memory" in str(in_a_sentence(error, "pipeline"))


def test_the_line_that_says_so_is_shown() -> None:
    """NumPy's error begins with advice on how to install it."""
    line = "numpy.so: failed to map segment from shared object"
    sentence = in_a_sentence(ImportError(f"\n\nPLEASE READ THIS!\n\n  {line}\n"), "release")
    assert f"({line})" in str(sentence)


def test_a_full_disk_is_named(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "gone" / "x"))
    said = str(in_a_sentence(error, "pipeline"))
    assert str(tmp_path / "gone" / "x") in said
    assert disk_of(tmp_path) in said


def test_a_full_disk_of_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(surroundings, "ROOM", 1 << 62)
    said = str(in_a_sentence(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "pipeline"))
    assert f"temporary files in {tmp_path}" in said
    assert "TMPDIR" in said


def test_no_folder_for_temporary_files() -> None:
    error = FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")
    assert "['/tmp']" in str(in_a_sentence(error, "pipeline"))


def test_a_file_that_is_gone() -> None:
    """Whatever the repository brings may be taken away, before or while a command runs."""
    error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "release/x.yaml")
    assert "Expected release/x.yaml, but it is not there" in str(in_a_sentence(error, "pipeline"))


@pytest.mark.parametrize("error", [ValueError("x"), FileNotFoundError("x")])
def test_other_errors_are_not_ours(error: Exception) -> None:
    assert in_a_sentence(error, "pipeline") is None


def test_where_a_disk_is_and_what_is_free(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path)
    said = disk_of(tmp_path / "not" / "there")
    total = free.f_blocks * free.f_frsize >> 20
    mount = next(one for one in (tmp_path, *tmp_path.parents) if one.is_mount())
    assert said.startswith(f"the disk at {mount} has ")
    assert said.endswith(f" of {total} MiB free")


def test_a_file_where_a_folder_is_to_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(FileExistsError) as raised:
        (tmp_path / "out").mkdir()
    said = in_a_sentence(raised.value, "release") or ""
    assert f"use {tmp_path / 'out'}, but the system says: File exists. Fix its kind" in said


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="too long") as raised:
        (tmp_path / ("x" * 300)).write_bytes(b"")
    said = str(in_a_sentence(raised.value, "pipeline"))
    assert "File name too long. Fix its name and run again." in said


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EFBIG, "Raise the limit on the size of a file (`ulimit -f`)"),
        (errno.EIO, "Look what is wrong with the disk (`dmesg` says more"),
        (errno.ESTALE, "Look what is wrong with the disk (`dmesg` says more"),
        (errno.EROFS, "Mount the disk so that it can be written"),
        (errno.ENOSPC, "Free some space"),
    ],
)
def test_what_to_do_about_a_disk(tmp_path: Path, number: int, remedy: str) -> None:
    error = OSError(number, os.strerror(number), str(tmp_path / "file"))
    said = str(in_a_sentence(error, "pipeline"))
    cannot = "Cannot read or write" if number in BROKEN_ERRNOS else "Cannot write"
    assert f"{cannot} {tmp_path}/file: {os.strerror(number)}. {remedy}" in said
    with pytest.raises(InputError, match=re.escape(remedy)):
        write_with(tmp_path, error)


def test_a_disk_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing tells which file it was; it need not have been the output, and is no lack of room."""
    monkeypatch.setattr(os, "dup2", lambda *_: None)
    for number in (errno.EIO, errno.EUCLEAN, errno.EREMOTEIO):
        said = str(in_a_sentence(OSError(number, os.strerror(number)), "pipeline"))
        assert said.startswith("Expected to read and write files, but the system says: ")
        assert "`dmesg`" in said
        assert "free some space" not in said


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS])
def test_a_disk_without_locks(number: int) -> None:
    """NFS without its lock service, and Lustre without the mount option."""
    said = str(in_a_sentence(OSError(number, os.strerror(number)), "release"))
    assert f"files can be locked, but the system says: {os.strerror(number)}" in said


def write_with(folder: Path, error: OSError) -> None:
    with atomic_path(folder / "written"):
        raise error


def test_a_file_that_is_larger_than_it_may_be(tmp_path: Path) -> None:
    """`ulimit -f`, or 4 GiB on a memory card; what libraries write, too."""
    script = (
        "from pathlib import Path\nimport sys\nfrom engines.cli import reports_errors\n"
        "@reports_errors\ndef work():\n    open(sys.argv[1], 'wb', 0).write(bytes(9000))\n"
        "    open(sys.argv[1], 'ab', 0).write(bytes(9000))\nwork()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "file")],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "error: Expected to write a file, but the system says: File too large" in done.stderr


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_no_more_open_files(number: int) -> None:
    assert "`ulimit -n`" in str(in_a_sentence(OSError(number, os.strerror(number)), "release"))


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(UnicodeDecodeError) as got:
        b"name: caf\xe9\n".decode()
    said = str(in_a_sentence(got.value, "release"))
    assert "Expected text in UTF-8, but a file holds other bytes: b'name: caf\\xe9" in said


def test_a_user_without_a_home() -> None:
    """A user that /etc/passwd does not have, as in a container, and HOME not set: MLflow asks."""
    error = RuntimeError("Could not determine home directory.")
    assert "Set HOME to a folder of yours" in str(in_a_sentence(error, "release"))
