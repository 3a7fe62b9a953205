"""What a machine lacks, in a sentence: a package, a permission, room on a disk, memory, threads.

Such errors may come from anywhere, a library's depths too, so they are told where commands end.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from engines.disks import BROKEN_ERRNOS, DISK_ERRNOS, ROOM, disk_of, disk_remedy, named_by
from engines.errors import lacks_memory, says_lack_of_memory, says_lack_of_threads
from engines.process.limited import limit_bytes

LARGEST_BYTES = 512 << 20
"""What a library may ask for at once: where less is left of a limit, memory is why it failed."""


def in_a_sentence(error: BaseException, program: str) -> str | None:
    """What to tell the user of `program`; None where the error is of another kind."""
    if lacks_memory(error):
        return (
            "Expected enough memory for this command, but the system gives no more "
            f"({_line_of_memory(error)}). Free memory, or raise the limit (`ulimit -v`, the "
            "container's), and run again."
        )
    if says_lack_of_threads(str(error)):
        return _of_little_memory(error) or (
            "Expected to begin another thread or process, but the system has none left "
            f"({_first_line(error)}). End other programs, or raise the limit (`ulimit -u`, the "
            "container's pids and memory), and run again."
        )
    if isinstance(error, ModuleNotFoundError):
        from engines.extras import missing_extra

        return missing_extra(error, program)
    if isinstance(error, UnicodeDecodeError):
        place = error.object[max(0, error.start - 30) : error.end + 30]
        return (
            f"Expected text in UTF-8, but a file holds other bytes: {place!r}. Save that file as "
            "UTF-8, and run again."
        )
    if isinstance(error, OSError):
        return _of_the_system(error) or _of_little_memory(error)
    if isinstance(error, RuntimeError) and "home directory" in str(error):
        return (
            f"Expected a home folder, but the system has none for user {os.getuid()} "
            f"({_first_line(error)}). Set HOME to a folder of yours, and run again."
        )
    return _of_little_memory(error)


def _of_little_memory(error: BaseException) -> str | None:
    """A library that got no memory may go on without a part of itself and fail elsewhere, with
    whatever error: so where little is left of a limit, that is what has to be said."""
    limit, taken = limit_bytes(), _address_space_bytes()
    if limit is None or limit - taken >= LARGEST_BYTES:
        return None
    return (
        f"Expected enough memory for this command, but it may take {limit >> 20} MiB only "
        f"(`ulimit -v`), took {taken >> 20}, and got an error where more was needed "
        f"({type(error).__name__}: {_first_line(error)}). Raise the limit and run again."
    )


def _address_space_bytes() -> int:
    """What this process took at most; none where Linux does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmPeak:"):
                return int(line.split()[1]) << 10
    return 0


def _of_the_system(error: OSError) -> str | None:
    names = (errno.ENAMETOOLONG, errno.ELOOP)
    kinds = PermissionError | IsADirectoryError | NotADirectoryError | FileExistsError
    if isinstance(error, kinds) or error.errno in names:
        what = "name" if error.errno in names else "kind, owner or permissions"
        return (
            f"Expected to be able to use {named_by(error) or 'a file'}, but the system says: "
            f"{error.strerror}. Fix its {what} and run again."
        )
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return (
            f"Expected to open another file, but the system says: {error.strerror}. Raise the "
            "limit (`ulimit -n`), or end other programs, and run again."
        )
    if error.errno in (errno.ENOLCK, errno.ENOSYS):
        return (
            "Expected a disk on which files can be locked, but the system says: "
            f"{error.strerror}. A network's disk needs its lock service (NFS: `rpc.statd`; Lustre: "
            "the mount option `flock`); start it, or work in a clone on a disk of this machine."
        )
    if error.errno == errno.ENOENT and "temporary directory" in (error.strerror or ""):
        return (
            f"Expected a folder for temporary files, but the system says: {error.strerror}. Free "
            "some space in one of them, or name another with TMPDIR, and run again."
        )
    if error.errno == errno.ENOENT and error.filename is not None:
        return (
            f"Expected {error.filename}, but it is not there, or not any more. Bring it back (`git "
            "status` shows what is gone), or install what it belongs to, and run again."
        )
    if error.errno not in DISK_ERRNOS:
        return None
    if (name := named_by(error)) is not None:
        path = Path(name)
        return (
            f"Cannot {'read or ' if error.errno in BROKEN_ERRNOS else ''}write {path}: "
            f"{error.strerror}. {disk_remedy(error, path)}, then run the same command again."
        )
    return _without_a_name(error)


def _without_a_name(error: OSError) -> str:
    """The system does not say which file: a temporary one, or the output."""
    # What is left of that in the buffer would be tried again, with a traceback, at the very end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EFBIG:
        return (
            f"Expected to write a file, but the system says: {error.strerror}. Raise the limit on "
            "the size of a file (`ulimit -f`), and run again."
        )
    folder = Path(tempfile.gettempdir())
    if shutil.disk_usage(folder).free < ROOM:
        return (
            f"Expected room for temporary files in {folder}, but the system says: "
            f"{error.strerror} ({disk_of(folder)}). Free some space there, or name a folder on "
            "another disk with TMPDIR, and run again."
        )
    if error.errno in BROKEN_ERRNOS:
        return (
            f"Expected to read and write files, but the system says: {error.strerror}. Look what "
            "is wrong with the disks (`dmesg` says which), or whether the terminal is gone, then "
            "run the same command again."
        )
    return (
        f"Expected to write the output, but the system says: {error.strerror}. What the command "
        "does is done as far as it had come; free some space where its output goes and run again."
    )


def _line_of_memory(error: BaseException) -> str:
    # NumPy's error begins with thirty lines of advice on how it may be installed.
    lines = (line.strip()[:200] for line in str(error).splitlines())
    return next(filter(says_lack_of_memory, lines), _first_line(error))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
