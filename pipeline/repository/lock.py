"""One command at a time that changes which models there are."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from engines.config.workspace import Workspace
from engines.files import TEMPORARY_PREFIX


@contextmanager
def one_at_a_time(workspace: Workspace) -> Iterator[None]:
    """Wait until no other command adds, updates or removes a model here, then hold it off.

    The kernel frees the lock when the process ends, by kill -9 too.
    """
    with (workspace.root / f"{TEMPORARY_PREFIX}models.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
