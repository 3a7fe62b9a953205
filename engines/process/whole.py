"""Work that is done to its end once it is begun: Ctrl-C, SIGTERM and SIGHUP wait for it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What ends a command in order (`engines.cli`)."""


@contextmanager
def undivided(*numbers: signal.Signals) -> Iterator[None]:
    """Hold signals back until the block is over, from programs that it starts too; they come then.

    Call it where no other thread of this process takes the signals instead; else `done_first`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers or ENDINGS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def done_first(too_late: Callable[[], object]) -> Iterator[None]:
    """As `undivided`, also where another thread takes the signals, such as one of NumPy or PyTorch.
    For what cannot be taken back and takes seconds. Call it in the main thread.

    `too_late` says that all is done, before a signal that came meanwhile ends the process.
    """
    came: list[int] = []
    handlers: dict[int, Any] = {}
    with undivided():
        for number in ENDINGS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                handlers[number] = signal.signal(number, lambda got, _: came.append(got))
        try:
            yield
            if came or signal.sigpending() & handlers.keys():
                too_late()
        finally:
            for one, handler in handlers.items():
                signal.signal(one, handler)
    for one in dict.fromkeys(came):
        signal.raise_signal(one)
