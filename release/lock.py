"""One command of `release` at a time in a repository."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from engines.config.workspace import Workspace
from engines.files import TEMPORARY_PREFIX


@contextmanager
def exclusive(workspace: Workspace) -> Iterator[None]:
    """Wait until no other `release` command works in this repository, then hold it off.

    The kernel frees the lock when the process ends, by kill -9 too.
    """
    path = workspace.root / f"{TEMPORARY_PREFIX}release.lock"
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)  # NFS locks no other for one alone
    except PermissionError:  # in a repository of several people it is that of whoever came first
        file = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
