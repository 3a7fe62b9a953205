"""One build or measurement on a device at a time: two spoil each other's timings and memory."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.errors import Conflict

FILE = "jetrail-device.lock"


@contextmanager
def device_lock(work: str, folder: Path | None = None) -> Iterator[None]:
    """Hold this device for `work`, for example `pipeline build meter-fp16`.

    The lock's file lies in the system's folder for temporary files, so that clones and users share
    it; the kernel frees the lock when the process ends, by kill -9 too. So whatever else does the
    work must end with it (`engines.process.child`, `engines.process.orphans`). Raises Conflict
    (exit 7) with the holder's work and process when the device is taken.
    """
    path = (folder or Path(tempfile.gettempdir())) / FILE
    with open(path, "a+", opener=_shared) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise Conflict(
                f"Expected this device to be free for `{work}`, but {holder} holds it. Wait until "
                "that has ended, then run again; in GitLab give the jobs of one device a "
                "`resource_group`."
            ) from error
        file.truncate(0)
        file.write(f"`{work}` (process {os.getpid()} in {Path.cwd()})")
        file.flush()
        yield
        file.truncate(0)


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
