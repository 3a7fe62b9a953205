"""One command of `release` at a time in a repository."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from engines.config.workspace import Workspace
from engines.files import TEMPORARY_PREFIX


@contextmanager
def exclusive(workspace: Workspace) -> Iterator[None]:
    """Wait until no other `release` command works in this repository, then hold it off.

    The kernel frees the lock when the process ends, by kill -9 too.
    """
    with (workspace.root / f"{TEMPORARY_PREFIX}release.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
