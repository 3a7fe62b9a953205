"""One command at a time that changes models, targets or their rows."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from engines.config.workspace import Workspace


@contextmanager
def one_at_a_time(workspace: Workspace) -> Iterator[None]:
    """Wait until no other command changes models, targets or their rows here, then hold it off:
    an edit of a file that another edits too would be lost.

    The kernel frees the lock when the process ends, by kill -9 too.
    """
    folder = os.open(workspace.root, os.O_RDONLY)  # the folder itself: no file is left behind
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)
