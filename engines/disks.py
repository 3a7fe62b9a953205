"""What is wrong with a disk, in words: full, read-only, over its quota, broken or gone."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import tempfile
from pathlib import Path
from traceback import walk_tb

DISK_ERRNOS = frozenset(
    {
        *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM),
        errno.EFBIG,
        *(errno.EIO, errno.EREMOTEIO, errno.EUCLEAN, errno.EBADMSG, errno.ESTALE, errno.ENODEV),
    }
)
"""The disk is full, may not be written, takes no file of that size, or is broken or gone."""

BROKEN_ERRNOS = DISK_ERRNOS - {
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EFBIG)
}
"""Of these, the ones of a disk that is broken or gone; reading meets them too."""

_OF_WRITING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})

ROOM = 1 << 20
"""Bytes: a disk with less is a full one."""


def named_by(error: OSError) -> str | None:
    """The file that an error is about; of a copy or a move to a full disk, where to. Of one that is
    open already the system names none: then the one that the code had open in which a broken disk
    was met, or a permission that went."""
    if error.errno in _OF_WRITING and isinstance(error.filename2, str | bytes | os.PathLike):
        return os.fsdecode(error.filename2)
    if isinstance(error.filename, str | bytes | os.PathLike):
        return os.fsdecode(error.filename)
    if error.errno not in BROKEN_ERRNOS | {errno.EACCES, errno.EPERM}:
        return None
    frames = reversed([*walk_tb(error.__traceback__)])
    values = (value for frame, _ in frames for value in frame.f_locals.values())
    names = (getattr(one, "name", None) for one in values if isinstance(one, io.IOBase))
    return next((name for name in names if isinstance(name, str)), None)


def disk_remedy(error: OSError, path: Path) -> str:
    """What to do about one of DISK_ERRNOS where `path` was to be written."""
    if error.errno == errno.EFBIG:
        return (
            "Raise the limit on the size of a file (`ulimit -f`), or use a file system that takes "
            f"larger ones ({disk_of(path)})"
        )
    if error.errno in BROKEN_ERRNOS:
        return f"Look what is wrong with the disk (`dmesg` says more; {disk_of(path)})"
    if error.errno == errno.EROFS:
        return f"Mount the disk so that it can be written ({disk_of(path)}), or use another one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return "Fix the owner or the permissions of the folder"
    return f"Free some space there ({disk_of(path)})"


def says_full_disk(said: str) -> bool:
    """Whether a program that ended badly says that a disk of this machine is full, or its quota."""
    error = disk_error(said, Path())
    return error is not None and error.errno in (errno.ENOSPC, errno.EDQUOT)


def disk_error(said: str, path: Path) -> OSError | None:
    """What a program that ended badly says of a disk of this machine; at `path` where it names no
    file."""
    # Of a permission or a device that lacks, programs speak for other reasons too.
    other = {errno.EACCES, errno.EPERM, errno.ENODEV}
    for number in sorted(DISK_ERRNOS - other):
        if found := re.search(
            rf"{re.escape(os.strerror(number))}(: '(.+?)')?", said, re.IGNORECASE
        ):
            return OSError(number, os.strerror(number), found[2] or str(path))
    return None


def is_of_temporary_files(error: BaseException) -> bool:
    """Whether the full disk is one that holds temporary files, and nothing of the folder here."""
    folder = Path(tempfile.gettempdir())
    return (
        isinstance(error, OSError)
        and error.errno in DISK_ERRNOS
        and shutil.disk_usage(folder).free < ROOM
        and folder.stat().st_dev != Path.cwd().stat().st_dev
    )


def disk_of(path: Path) -> str:
    """In words: where the disk that holds `path` is mounted, how much of it is free, and whether
    its inodes are used up, which the system calls no space either."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        free, files = shutil.disk_usage(place), os.statvfs(place)
        while not place.is_mount():
            place = place.parent
    except OSError:
        return "of a disk that does not say how full it is"
    # Some file systems count no files: btrfs has 0 of 0.
    no_inode = files.f_files > 0 and files.f_favail == 0
    lacks = ", but takes no more files (`df -i`): delete some" if no_inode else ""
    return f"the disk at {place} has {free.free >> 20} of {free.total >> 20} MiB free{lacks}"
