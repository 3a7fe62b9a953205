"""Work that is done to its end once it is begun: Ctrl-C and SIGTERM wait for it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def undivided(*numbers: signal.Signals) -> Iterator[None]:
    """Hold signals back until the block is over, from programs that it starts too; they come then.

    For what cannot be taken back and takes seconds. Call it in the main thread, where no other
    thread of this process takes the signals instead.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers or (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
