"""Files that are either whole or not there.

Everything that Jetrail writes goes through `atomic_path`: a temporary file in the same folder,
fsync, rename. A kill -9, a full disk or a power cut leaves the old file or none, never half of one.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.errors import InputError

TEMPORARY_PREFIX = ".jetrail-"
"""Start of every temporary name; `.gitignore` and `.dvcignore` leave such files out."""

DISK_ERRNOS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""The disk is full, or may not be written."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place when the block ends well.

    The temporary keeps the ending of `path`, for libraries that look at it. Raises InputError when
    the disk is full or the folder cannot be written.
    """
    folder = _temporary_folder(path)
    temporary = folder / path.name
    try:
        with _disk_errors(path):
            yield temporary
            _sync(temporary)
            temporary.replace(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that becomes `path`, which must not exist yet."""
    folder = _temporary_folder(path)
    temporary = folder / path.name
    try:
        with _disk_errors(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                # A link may point to what is not there, relative to its place under another name.
                if not file.is_symlink():
                    _sync(file)
            temporary.rename(path)
            _sync(path.parent)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomic(path: Path, content: bytes | str) -> None:
    """Write `content` (text as UTF-8) to `path` atomically."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, as 64 hex digits."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _temporary_folder(path: Path) -> Path:
    """A new folder beside `path`; a folder that cannot be written shows here first."""
    with _disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRNOS:
            raise
        raise InputError(
            f"Cannot write {path}: {error.strerror}. Nothing was changed. "
            "Free some space or fix the permissions of the folder, then run the same command again."
        ) from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
