"""Files that are either whole or not there.

Everything that Jetrail writes goes through `atomic_path`: a temporary file in the same folder,
fsync, rename. A kill -9, a full disk or a power cut leaves the old file or none, never half of one.
"""

from __future__ import annotations

import errno
import fcntl
import fnmatch
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engines.disks import DISK_ERRNOS, disk_remedy, named_by
from engines.errors import InputError

TEMPORARY_PREFIX = ".jetrail-"
"""Start of every temporary name; `.gitignore` and `.dvcignore` leave such files out."""

YOUNG_SECONDS = 60.0
"""A temporary folder of this age has its lock, if anybody uses it."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well.

    The temporary keeps the ending of `path`, for libraries that look at it. Raises InputError when
    the disk is full, the folder cannot be written, or `path` is no file: root's rename would take
    /dev/null away from all that runs.
    """
    with _temporary_folder(path) as folder, _disk_errors(path):
        if path.exists() and not path.is_file():
            raise InputError(
                f"Expected {path} to be a file, or nothing yet, but it is a folder or a device. "
                "Name another place."
            )
        temporary = folder / path.name
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    _sync_names(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that becomes `path`, which must not exist yet."""
    with _temporary_folder(path) as folder, _disk_errors(path):
        temporary = folder / path.name
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            # A link may point to what is not there, relative to its place under another name.
            if not file.is_symlink():
                _sync(file)
        temporary.rename(path)
    _sync_names(path.parent)


@contextmanager
def atomic_folders(place: Path) -> Iterator[Path]:
    """Yield a temporary folder whose sub-folders become folders of `place`, each whole or not at
    all; none of their names may be there yet. The disk is synced once for all of them: for each
    file of 10,000 folders it would take minutes."""
    with _temporary_folder(place, place) as folder:
        temporary = folder / "new"
        with _disk_errors(place):
            temporary.mkdir()
            yield temporary
            os.sync()
        for one in sorted(temporary.iterdir()):
            with _disk_errors(place / one.name):
                one.rename(place / one.name)
    _sync_names(place)


def remove_folder(path: Path) -> None:
    """Remove a folder at once, if it is there: killed half-way, it is gone under its name."""
    if path.is_dir():
        with _temporary_folder(path) as folder:
            path.rename(folder / path.name)


def remove_in_place(folder: Path, first: str | None = None) -> None:
    """Remove a folder where it stands, if it is there, and `first` in it before all else: without
    that it counts for nothing. Killed half-way, what is left has its name, so that people see it
    and the same command removes it; under a hidden name gigabytes would lie there unseen.

    Raises InputError where something cannot be removed.
    """
    if not (folder.is_dir() or folder.is_symlink()):
        return
    try:
        if folder.is_symlink():
            folder.unlink()
            return
        if first:
            (folder / first).unlink(missing_ok=True)
        for place, names, files in os.walk(folder, topdown=False, onerror=raise_unless_gone):
            for name in files:
                (Path(place) / name).unlink(missing_ok=True)
            for path in (Path(place) / name for name in names):
                path.unlink() if path.is_symlink() else path.rmdir()
        folder.rmdir()
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        raise InputError(
            f"Cannot remove {error.filename or folder}: {error.strerror}. A part of {folder} is "
            f"left. {disk_remedy(error, folder)}, then run the same command again."
        ) from error


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` atomically."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_changed(path: Path, content: bytes | str) -> None:
    """`write_atomic`, but nothing where it is there already: who may only read it needs no more."""
    data = content.encode() if isinstance(content, str) else content
    if not path.is_file() or path.read_bytes() != data:
        write_atomic(path, data)


def write_kept(path: Path, content: bytes) -> None:
    """Write a file that people own, atomically: a link stays a link to the file that is written,
    and that keeps its mode, and its owner, group and ACL where the system lets us."""
    real = path.resolve()
    with atomic_path(real) as temporary:
        temporary.write_bytes(content)
        if real.exists():
            _keep_owner(real, temporary)
            shutil.copymode(real, temporary)


def _keep_owner(old: Path, new: Path) -> None:
    """As of a colleague's file, or one that root edits in a container. Of others only root may give
    a file away, and a user only to groups of his own."""
    has = old.stat()
    for owner, group in ((-1, has.st_gid), (has.st_uid, -1)):
        with suppress(OSError):
            os.chown(new, owner, group)
    with suppress(OSError, AttributeError):  # a file system or a macOS without them
        for name in os.listxattr(old):  # an ACL is one
            with suppress(OSError):  # a label of SELinux, which only root may give
                os.setxattr(new, name, os.getxattr(old, name))


@contextmanager
def back_on_failure(path: Path) -> Iterator[None]:
    """Put a file that the block replaces back, or take it away where none was, when it fails."""
    with _temporary_folder(path) as folder:
        old = folder / path.name
        if os.path.lexists(path):
            # A copy, since another program may write into the file; of a link, the link.
            shutil.copy2(path, old, follow_symlinks=False)
        try:
            yield
        except BaseException:  # Ctrl-C too
            if os.path.lexists(old):
                old.replace(path)
            else:
                path.unlink(missing_ok=True)
            raise


@contextmanager
def in_place_of(path: Path, new: Path) -> Iterator[None]:
    """Put the folder `new` in the place of `path`, which need not be there; when the block fails,
    what was there comes back. Both on one file system. Killed in the middle, one of the two is
    there, but for file systems on which two folders cannot change places at once."""
    with _temporary_folder(path) as folder:
        old, at_once = folder / path.name, False
        try:
            at_once = os.path.lexists(path) and _exchange(path, new)
            if not at_once:
                if os.path.lexists(path):
                    path.rename(old)
                new.rename(path)
            yield
        except BaseException:  # Ctrl-C too
            if at_once:
                _exchange(path, new)
            elif os.path.lexists(path) and not os.path.lexists(new):
                path.rename(new)
            if os.path.lexists(old):
                old.rename(path)
            raise


def _exchange(one: Path, other: Path) -> bool:
    """Let two folders change places (renameat2(2), which Python lacks); whether it was done."""
    import ctypes  # not before it is needed: this module is imported for --help too

    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        call = ctypes.CDLL(None).renameat2
    except AttributeError:  # a C library of before 2018
        return False
    return bool(call(here, os.fsencode(one), here, os.fsencode(other), exchange) == 0)


@contextmanager
def temporary_folder(beside: Path | None = None) -> Iterator[Path]:
    """A new folder in the system's folder for temporary files, or beside a path, for as long as the
    block runs; those of processes that were killed, which may hold gigabytes or a password, go
    too."""
    place = beside.parent if beside else Path(tempfile.gettempdir())
    with _temporary_folder(beside or place, place) as folder:
        yield folder


def listed(folder: Path, pattern: str) -> list[Path]:
    """What `Path.glob` finds, sorted; a leading `**` stands for all folders below. A folder that
    may not be read, or is on a broken disk, is an error here and not one that holds nothing."""
    part, _, rest = pattern.partition("/")
    if part == "**":
        walk = os.walk(folder, onerror=raise_unless_gone)
        return sorted(
            Path(top, name)
            for top, folders, files in walk
            for name in fnmatch.filter((*folders, *files), rest)
        )
    try:
        found = sorted(one for one in folder.iterdir() if fnmatch.fnmatchcase(one.name, part))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for one in found for path in listed(one, rest)] if rest else found


def raise_unless_gone(error: OSError) -> None:
    """For `os.walk`, which by itself passes over what it cannot read."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits.

    Raises OSError, as of a disk that fails, where less of it comes than it has.
    """
    return _hashed(path, hashlib.sha256())


def md5_file(path: Path) -> str:
    """As `sha256_file`, the MD5 as 32 hex digits: the name that DVC has for a file, no proof."""
    return _hashed(path, hashlib.md5(usedforsecurity=False))


def _hashed(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as file:
        got = 0
        while block := file.read(1 << 20):
            digest.update(block)
            got += len(block)
        _check_whole(path, got, os.fstat(file.fileno()).st_size)
    return digest.hexdigest()


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content.

    Raises OSError, as of a disk that fails, where less of it comes than it has.
    """
    shutil.copyfile(source, target)
    _check_whole(source, target.stat().st_size, source.stat().st_size)


def _check_whole(path: Path, got: int, has: int) -> None:
    if got < has:
        raise OSError(errno.EIO, f"{got} bytes came of {has}", str(path))


@contextmanager
def _temporary_folder(path: Path, parent: Path | None = None) -> Iterator[Path]:
    """A new folder in `parent` (default: beside `path`), locked while it is used, which goes in the
    end; a folder that cannot be written shows here first. Those of processes that were killed go
    too."""
    parent = parent or path.parent
    with _disk_errors(path):
        _make_folder(parent)
        collect_left_over(parent)
        folder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=parent))
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: then nobody collects there
            fcntl.flock(lock, fcntl.LOCK_SH)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise InputError(
            f"Expected {folder} to be a folder, or nothing yet, but it is a file or lies below "
            "one. Name another place, or move the file away."
        ) from error


def collect_left_over(parent: Path) -> None:
    """Remove the temporary folders in `parent` whose process ended without doing so, by kill -9 for
    example: the kernel has freed their locks. Young ones may not be locked yet, and stay."""
    for folder in parent.glob(f"{TEMPORARY_PREFIX}*"):
        with suppress(OSError):
            if not folder.is_dir() or time.time() - folder.stat().st_mtime < YOUNG_SECONDS:
                continue
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRNOS or _names_another_place(error, path):
            raise
        # What is made in a temporary folder is to take the place of what has its name beside that.
        parts = [one for one in path.parts if not one.startswith(TEMPORARY_PREFIX)]
        raise InputError(
            f"Cannot write {Path(*parts)}: {error.strerror}. It is left as it was. "
            f"{disk_remedy(error, path)}, then run the same command again."
        ) from error


def _names_another_place(error: OSError, path: Path) -> bool:
    """Whether the system names files, and none of them where `path` is: one that is read, as a
    label that another user owns."""
    given = (named_by(error), error.filename2)
    names = [os.fsdecode(one) for one in given if isinstance(one, str | bytes | os.PathLike)]
    return bool(names) and not any(
        Path(os.path.realpath(name)).is_relative_to(os.path.realpath(path.parent)) for name in names
    )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_NO_SYNC_OF_FOLDERS = (errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems say that keep no names to be synced, such as a virtual machine's share."""


def _sync_names(folder: Path) -> None:
    """Let new names in a folder outlast a power cut. Raises InputError where that is not sure: they
    are there by now, and whole."""
    try:
        _sync(folder)
    except OSError as error:
        if error.errno in _NO_SYNC_OF_FOLDERS:
            return
        if error.errno not in DISK_ERRNOS:
            raise
        raise InputError(
            f"Expected {folder} to outlast a power cut with what was written there, whole, just "
            f"now, but the system says: {error.strerror}. {disk_remedy(error, folder)}, and run "
            "the same command again if a file is missing afterwards."
        ) from error
