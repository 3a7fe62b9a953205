"""One build or measurement on a device at a time: two spoil each other's timings and memory."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from engines.errors import Conflict

FILE = "jetrail-device.lock"
POLL_SECONDS = 0.2


@contextmanager
def device_lock(
    work: str,
    folder: Path | None = None,
    *,
    wait_seconds: float = 0,
    waiting: Callable[[str], object] = lambda holder: None,
) -> Iterator[None]:
    """Hold this device for `work`, for example `pipeline build meter-fp16`.

    Where another holds it, waits for `wait_seconds` at most; `waiting` is told who holds it, once
    for each holder. The lock's file lies in the system's folder for temporary files, so that clones
    and users share it; the kernel frees the lock when the process ends, by kill -9 too. So whatever
    else does the work must end with it (`engines.process.child`, `engines.process.orphans`).
    Raises Conflict (exit 7) with the holder's work and process when the device stays taken.
    """
    path = (folder or Path(tempfile.gettempdir())) / FILE
    # `surrogateescape`: the holder's folder may have a name that is no text.
    with open(path, "a+", opener=_shared, encoding="utf-8", errors="surrogateescape") as file:
        _take(file, work, wait_seconds, waiting)
        file.truncate(0)
        file.write(f"`{work}` (process {os.getpid()} in {Path.cwd()})")
        file.flush()
        yield
        file.truncate(0)


def _take(file: TextIO, work: str, wait_seconds: float, waiting: Callable[[str], object]) -> None:
    deadline, told = time.monotonic() + wait_seconds, ""
    while not _free(file):
        holder = _holder(file)
        if time.monotonic() >= deadline:
            raise _taken(work, holder, wait_seconds)
        if holder != told:
            waiting(holder)
            told = holder
        time.sleep(POLL_SECONDS)


def _free(file: TextIO) -> bool:
    """Whether the lock is ours now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or "another process"


def _taken(work: str, holder: str, waited_seconds: float) -> Conflict:
    after = f" after {waited_seconds:g} s" if waited_seconds else ""
    return Conflict(
        f"Expected this device to be free for `{work}`, but {holder} still holds it{after}. Wait "
        "until that has ended, then run again; in GitLab give the jobs of one device a "
        "`resource_group`."
    )


def _shared(path: str, flags: int) -> int:
    """Open a file that every user of the device may lock."""
    try:
        # Without O_CREAT: in /tmp the kernel refuses it on a file of another user
        # (fs.protected_regular), even where the file may be written.
        return os.open(path, flags & ~os.O_CREAT)
    except FileNotFoundError:
        descriptor = os.open(path, flags, 0o666)
        os.fchmod(descriptor, 0o666)  # the umask took what others need
        return descriptor
