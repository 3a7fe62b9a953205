"""engines.files: whole or not there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest
from factories.unreadable import make_unreadable

from engines.disks import (
    DISK_ERRNOS,
)
from engines.errors import InputError
from engines.files import (
    TEMPORARY_PREFIX,
    YOUNG_SECONDS,
    atomic_folder,
    atomic_folders,
    atomic_path,
    collect_left_over,
    copy_file,
    in_place_of,
    listed,
    remove_folder,
    remove_in_place,
    sha256_file,
    temporary_folder,
    write_atomic,
    write_kept,
)


def test_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "verdict.json"
    write_atomic(target, "one")
    write_atomic(target, b"two")
    assert target.read_bytes() == b"two"
    assert list(target.parent.iterdir()) == [target]


def test_the_disk_has_the_file_before_its_name_and_then_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen = tmp_path / "engine.blob", []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append((name == tmp_path, target.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomic(target, "new")
    assert seen == [(False, False), (True, True)]


def test_a_folder_is_on_the_disk_file_by_file_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link in it is left as it is, wherever it leads."""
    target, seen = tmp_path / "model", []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        seen.append((Path(f"/proc/self/fd/{descriptor}").readlink().name, target.exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_folder(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "weights.pt").write_text("x")
        (folder / "model.yaml").write_text("x")
        (folder / "later").symlink_to("nowhere")
    assert sorted(seen[:-1]) == [("deep", False), ("model.yaml", False), ("weights.pt", False)]
    assert seen[-1] == (tmp_path.name, True)
    assert (target / "later").is_symlink()


def test_many_folders_are_on_the_disk_before_they_have_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, seen = tmp_path / "place", []

    def fsync(descriptor: int) -> None:
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        seen.append((name, sorted(path.name for path in place.iterdir())))

    monkeypatch.setattr(os, "sync", lambda: seen.append(("all", (place / "one").exists())))
    monkeypatch.setattr(os, "fsync", fsync)
    with atomic_folders(place) as new:
        for name in ("one", "two"):
            (new / name).mkdir()
    assert seen[0] == ("all", False)
    (name, there) = seen[-1]
    assert (name, there[-2:]) == ("place", ["one", "two"])


def test_the_temporary_keeps_the_ending(tmp_path: Path) -> None:
    """Some libraries add one of their own to a name that they do not know."""
    with atomic_path(tmp_path / "plot.svg") as temporary:
        assert temporary.suffix == ".svg"
        assert temporary.parent.parent == tmp_path
        assert temporary.parent.name.startswith(TEMPORARY_PREFIX)
        temporary.write_text("x")


@pytest.mark.parametrize("writing", [atomic_path, atomic_folder, atomic_folders])
@pytest.mark.parametrize(
    ("number", "ours"),
    [(code, True) for code in sorted(DISK_ERRNOS)] + [(errno.EINVAL, False), (errno.ENOENT, False)],
)
def test_what_users_can_put_right_is_said_in_a_sentence(
    tmp_path: Path, writing: Any, number: int, ours: bool
) -> None:
    """Any other error is one of ours, and stays what it is."""
    with pytest.raises(InputError if ours else OSError) as raised, writing(tmp_path / "out"):
        raise OSError(number, os.strerror(number))
    if ours:
        said = f"Cannot write {tmp_path / 'out'}: {os.strerror(number)}. It is left as it was."
        assert str(raised.value).startswith(said)
    assert list(tmp_path.rglob(f"{TEMPORARY_PREFIX}*")) == []


def test_what_is_made_beside_is_named_as_what_it_is_to_become(tmp_path: Path) -> None:
    said = f"Cannot write {tmp_path / 'data'}: "
    with (
        temporary_folder(tmp_path / "a") as beside,
        pytest.raises(InputError, match=re.escape(said)),
        atomic_folder(beside / "data"),
    ):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("writing", [atomic_path, atomic_folder, atomic_folders])
def test_a_file_that_is_read_meanwhile_and_may_not_be_is_not_what_cannot_be_written(
    tmp_path: Path, writing: Any
) -> None:
    theirs = tmp_path / "theirs.txt"
    with pytest.raises(PermissionError, match=re.escape(str(theirs))), writing(tmp_path / "a/out"):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(theirs))
    with pytest.raises(InputError, match="Cannot write"), writing(tmp_path / "a/out") as new:
        raise OSError(errno.ENOSPC, "No space", str(theirs), None, str(new / "b"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_stays(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Root's rename would take away /dev/null, which cannot be made here without root."""
    out = tmp_path / "out"
    make(out)
    kind = out.stat().st_mode
    with pytest.raises(InputError, match="Expected .*out to be a file, or nothing yet"):
        write_atomic(out, "x")
    assert out.stat().st_mode == kind
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("writing", [atomic_path, atomic_folder, atomic_folders])
@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.EIO, "Input/output error"), (errno.ENOSPC, "No space"), (errno.EINVAL, "")],
)
def test_a_folder_that_cannot_be_synced_has_the_new_name_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writing: Any, number: int, said: str
) -> None:
    """So it is not said that nothing was changed; and some file systems sync no folders at all."""
    real, place = os.fsync, tmp_path / "place"
    out = place if writing is atomic_folders else place / "out"

    def fsync(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").readlink() == place:
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)

    def write() -> None:
        with writing(out) as temporary:
            if writing is atomic_path:
                temporary.write_text("new")
            else:
                (temporary / "out").mkdir()

    if said:
        with pytest.raises(InputError, match=f"what was written there, whole.*{said}"):
            write()
    else:
        write()
    assert [path.name for path in place.iterdir()] == ["out"]


def test_a_folder_that_does_not_get_its_name_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        if self.name == "two":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    said = f"Cannot write {tmp_path / 'two'}: No space left on device. It is left as it was."
    with (
        pytest.raises(InputError, match=re.escape(said)),
        atomic_folders(tmp_path) as new,
    ):
        for name in ("one", "two"):
            (new / name).mkdir()
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_place_that_takes_no_folder_is_named_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def mkdtemp(**_: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tempfile.mkdtemp", mkdtemp)
    with (
        pytest.raises(InputError, match=re.escape(f"Cannot write {tmp_path}: No space")),
        atomic_folders(tmp_path),
    ):
        pass


def test_what_is_no_temporary_folder_is_not_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{TEMPORARY_PREFIX}file").write_text("somebody's")
    (tmp_path / "folder").mkdir()
    left = tmp_path / f"{TEMPORARY_PREFIX}left"
    left.mkdir()
    monkeypatch.setattr(time, "time", lambda: left.stat().st_mtime + YOUNG_SECONDS - 1)
    collect_left_over(tmp_path)
    assert left.is_dir()
    monkeypatch.setattr(time, "time", lambda: 1e12)
    collect_left_over(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{TEMPORARY_PREFIX}file", "folder"]


def test_one_that_is_young_hides_no_other(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{TEMPORARY_PREFIX}{name}").mkdir()
    young, *old = tmp_path.glob("*")  # in the order in which they will be looked at
    for folder in old:
        os.utime(folder, (0, 0))
    collect_left_over(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_how_long_one_is_young(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = tmp_path / f"{TEMPORARY_PREFIX}left"
    left.mkdir()
    os.utime(left, (1000, 1000))
    for age, there in ((YOUNG_SECONDS - 1, True), (YOUNG_SECONDS, False)):
        monkeypatch.setattr(time, "time", lambda age=age: 1000 + age)
        collect_left_over(tmp_path)
        assert left.exists() == there


def test_one_that_is_locked_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = [tmp_path / f"{TEMPORARY_PREFIX}{name}" for name in "abc"]
    for folder in folders:
        folder.mkdir()
    lock = os.open(folders[1], os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_SH)
    monkeypatch.setattr(time, "time", lambda: 1e12)
    collect_left_over(tmp_path)
    os.close(lock)
    assert list(tmp_path.iterdir()) == [folders[1]]


def test_a_link_and_a_mode_of_people_are_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    real.write_text("old")
    real.chmod(0o640)
    link.symlink_to(real)
    write_kept(link, b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert real.stat().st_mode & 0o777 == 0o640
    write_kept(tmp_path / "other.yaml", b"one more")
    assert (tmp_path / "other.yaml").read_text() == "one more"


def test_a_file_of_a_colleague_stays_the_colleague_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its group, where only that is ours to give, and an ACL, which is an extended attribute."""
    asked: list[tuple[int, int]] = []
    acl: dict[str, bytes] = {}

    def chown(_: Path, owner: int, group: int) -> None:
        asked.append((owner, group))
        raise PermissionError

    monkeypatch.setattr(os, "chown", chown)

    def setxattr(_: Path, name: str, value: bytes) -> None:
        if name == "security.selinux":
            raise PermissionError
        acl[name] = value

    names = ["security.selinux", "system.posix_acl_access"]
    monkeypatch.setattr(os, "listxattr", lambda _: names)
    monkeypatch.setattr(os, "getxattr", lambda _, name: name.encode())
    monkeypatch.setattr(os, "setxattr", setxattr)
    path = tmp_path / "params.yaml"
    write_kept(path, b"new")
    assert (asked, acl) == ([], {})
    write_kept(path, b"newer")
    has = path.stat()
    assert asked == [(-1, has.st_gid), (has.st_uid, -1)]
    assert acl == {"system.posix_acl_access": b"system.posix_acl_access"}
    assert path.read_bytes() == b"newer"


def test_a_folder_is_removed_with_all_that_it_holds(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "file").write_text("x")
    remove_folder(folder)
    remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_removed_where_it_stands(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "model", tmp_path / "elsewhere"
    (folder / "data" / "empty").mkdir(parents=True)
    (folder / "data" / "file").write_text("x")
    elsewhere.mkdir()
    (elsewhere / "theirs").write_text("x")
    (folder / "data" / "link").symlink_to(elsewhere)
    (folder / "nowhere").symlink_to(tmp_path / "nowhere")
    remove_in_place(folder, "model.yaml")
    remove_in_place(folder, "model.yaml")
    assert list(tmp_path.iterdir()) == [elsewhere]
    assert (elsewhere / "theirs").is_file()
    (tmp_path / "linked").symlink_to(elsewhere)
    remove_in_place(tmp_path / "linked", "theirs")
    assert list(tmp_path.iterdir()) == [elsewhere]
    assert (elsewhere / "theirs").is_file()


def test_what_cannot_be_removed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("model.yaml", "a", "b"):
        (folder / name).write_text("x")
    real = Path.unlink

    def unlink(path: Path, **how: Any) -> None:
        if path.name != "model.yaml":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        real(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(InputError, match=r"A part of .*model is left\. Fix the owner"):
            remove_in_place(folder, "model.yaml")
    assert sorted(path.name for path in folder.iterdir()) == ["a", "b"]
    remove_in_place(folder, "model.yaml")
    assert not folder.exists()


def test_a_failing_block_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "engine.blob"
    write_atomic(target, "old")
    with pytest.raises(RuntimeError, match="half way"), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError("half way")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_failing_folder_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "model") as folder:
        (folder / "weights.pt").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_kill_in_the_middle_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "engine.blob"
    write_atomic(target, "old")
    script = (
        "import os, signal, sys; from pathlib import Path; from engines.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as path:\n"
        "    path.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(target)], check=False)
    assert done.returncode == -9
    assert target.read_text() == "old"


def test_a_folder_that_cannot_be_written_is_an_input_error(tmp_path: Path) -> None:
    full = Path("/dev/full")
    with (
        pytest.raises(InputError, match="No space left.*Free some space"),
        atomic_path(tmp_path / "engine.blob") as temporary,
    ):
        with full.open("wb", buffering=0) as file:
            file.write(b"x")
        temporary.write_text("never")
    assert list(tmp_path.iterdir()) == []


def test_sha256_is_of_the_whole_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000
    path = tmp_path / "big"
    path.write_bytes(content)
    assert sha256_file(path) == hashlib.sha256(content).hexdigest()


def test_what_a_killed_command_left_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = tmp_path / ".jetrail-killed"
    left.mkdir()
    (left / "half").write_text("x")
    write_atomic(tmp_path / "file", "x")
    assert left.is_dir()  # young: perhaps its maker has only just made it
    later = time.time() + 1000
    monkeypatch.setattr(time, "time", lambda: later)
    with atomic_path(tmp_path / "other") as used:
        used.write_text("x")
        write_atomic(tmp_path / "file", "y")
        assert used.is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "other"]


def test_what_a_killed_command_left_among_temporary_files_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / ".jetrail-left"
    (left / "site").mkdir(parents=True)
    os.utime(left, (0, 0))
    with temporary_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_folders_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    place = tmp_path / "place"
    with pytest.raises(RuntimeError), atomic_folders(place) as new:
        (new / "one").mkdir()
        (new / "one" / "file").write_text("half")
        raise RuntimeError
    assert list(place.iterdir()) == []
    with atomic_folders(place) as new:
        for name in ("one", "two"):
            (new / name).mkdir()
            (new / name / "file").write_text(name)
        assert not (place / "one").exists()
    assert {path.name for path in place.iterdir()} == {"one", "two"}
    assert (place / "two" / "file").read_text() == "two"


@pytest.mark.parametrize("below", ["file", "file/further"])
def test_a_file_in_the_place_of_a_folder_is_said(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=f"Expected .*{below} to be a folder"):
        write_atomic(tmp_path / below / "new.json", b"{}")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    "pattern", ["*", "*.json", "*/a.json", "a*/*", "*/b/*.json", "**/*", "**/a*"]
)
def test_what_is_listed_is_what_a_glob_finds(tmp_path: Path, pattern: str) -> None:
    for name in ("a.json", "a/a.json", "a/b/c.json", "b/a.json", ".hidden/a.json"):
        write_atomic(tmp_path / name, "")
    assert listed(tmp_path, pattern) == sorted(tmp_path.glob(pattern))
    assert listed(tmp_path / "none", pattern) == []


@pytest.mark.parametrize("pattern", ["*/*.json", "**/*.json"])
def test_a_folder_that_cannot_be_read_is_not_one_that_holds_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    write_atomic(tmp_path / "a" / "a.json", "")
    make_unreadable(monkeypatch, tmp_path / "a")
    with pytest.raises(PermissionError, match=re.escape(str(tmp_path / "a"))):
        listed(tmp_path, pattern)
    with pytest.raises(InputError, match=f"Cannot remove {tmp_path}/a: Permission denied"):
        remove_in_place(tmp_path)


def test_a_folder_is_replaced_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 between two renames left neither, and the old one under a hidden name."""
    path, new = tmp_path / "data", tmp_path / "new"
    for folder in (path, new):
        folder.mkdir()
        (folder / folder.name).touch()
    monkeypatch.setattr(Path, "rename", pytest.fail)
    with in_place_of(path, new):
        assert [one.name for one in path.iterdir()] == ["new"]
    with pytest.raises(KeyboardInterrupt), in_place_of(path, new):
        assert [one.name for one in path.iterdir()] == ["data"]
        raise KeyboardInterrupt
    assert [one.name for one in path.iterdir()] == ["new"]


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_is_replaced_where_two_cannot_change_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr("engines.files._exchange", lambda *_: False)
    path, new = tmp_path / "data", tmp_path / "new"
    for folder in (path, new)[not there :]:
        folder.mkdir()
        (folder / folder.name).touch()
    with pytest.raises(KeyboardInterrupt), in_place_of(path, new):
        assert [one.name for one in path.iterdir()] == ["new"]
        raise KeyboardInterrupt
    assert path.exists() == there
    assert [one.name for one in new.iterdir()] == ["new"]


def test_less_than_a_file_has_is_no_digest_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a part would be written down as the file's."""
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(3 << 20))
    real = Path.open

    def cut(self: Path, mode: str = "r") -> IO[Any]:
        file: IO[Any] = real(self, mode)
        read, ends = file.read, iter([1 << 20, 0])
        monkeypatch.setattr(file, "read", lambda _: read(next(ends)), raising=False)
        return file

    monkeypatch.setattr(Path, "open", cut)
    with pytest.raises(OSError, match="1048576 bytes came of 3145728") as caught:
        sha256_file(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))


def test_less_than_a_file_has_is_no_copy_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(bytes(3 << 20))
    real, ends = os.sendfile, iter([1 << 20, 0])
    monkeypatch.setattr(
        os, "sendfile", lambda out, source, at, _: real(out, source, at, next(ends))
    )
    with pytest.raises(OSError, match="1048576 bytes came of 3145728"):
        copy_file(path, tmp_path / "b.png")
