"""Work in a process of its own: however that one ends, somebody is left to say so.

The child ends with its parent, also where the parent was killed, and is killed where the parent
stops waiting (Ctrl-C). So it leaves nothing behind that its parent would not have thrown away.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from threading import Thread
from typing import Any, TypeVar

from engines.errors import JetrailError
from engines.process.orphans import FOR_MEMORY
from engines.process.whole import undivided

Argument = TypeVar("Argument")
Result = TypeVar("Result")

LEAVE_SECONDS = 10.0
"""How long a child that has given its result may take to end by itself."""

_parent: Connection | None = None
"""In the child: where `tell` goes to."""


class ChildEnded(Exception):
    """The child ended without a result; the text says how."""

    def __init__(self, exitcode: int) -> None:
        super().__init__(_how(exitcode))
        self.killed = exitcode in FOR_MEMORY
        """Ended by somebody, as happens when memory runs out."""


def run_in_child(
    work: Callable[[Argument], Result], argument: Argument, heard: Callable[..., object]
) -> Result:
    """Call `work(argument)` in a new Python process and give its result.

    What the child says with `tell` is handed to `heard`. Raises what `work` raised where that is a
    JetrailError, an OSError, a MemoryError or a ModuleNotFoundError, and ChildEnded where the child
    gave no result: after any other exception, whose traceback it prints, or ended by a signal.
    `work`, argument and result must be picklable.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit locks and CUDA's state
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(sender, work, argument), daemon=True)
    try:
        resource_tracker.ensure_running()  # before: its start would let interrupts through again
        # The child inherits the mask: Ctrl-C is for its parent, which then ends it.
        with undivided(signal.SIGINT):
            child.start()
        sender.close()  # now the pipe ends when the child does
        result: Result = _outcome(receiver, child, heard)
        return result
    finally:
        _end(child)
        receiver.close()


def tell(*words: Any) -> None:
    """In a child: hand words to the parent's `heard`."""
    if _parent is not None:
        with suppress(OSError):  # the parent is gone, and this process soon too
            _parent.send((tell.__name__, words))


# --- in the parent -------------------------------------------------------------------------------


def _outcome(receiver: Connection, child: SpawnProcess, heard: Callable[..., object]) -> Any:
    while True:
        try:
            kind, content = receiver.recv()
        except (EOFError, OSError) as error:  # OSError: it ended in the middle of a message
            child.join()
            raise ChildEnded(child.exitcode or 0) from error
        if kind == "raise":
            raise content
        if kind == "return":
            child.join(LEAVE_SECONDS)
            return content
        heard(*content)


def _end(child: SpawnProcess) -> None:
    if child.pid is not None:
        child.kill()
        child.join()


def _how(exitcode: int) -> str:
    if exitcode in FOR_MEMORY:
        return f"it was killed (signal {-exitcode}), as happens when memory runs out"
    if exitcode < 0:
        return f"it ended by signal {-exitcode} ({signal.Signals(-exitcode).name})"
    return f"it ended with exit status {exitcode}, and what it said stands above"


# --- in the child --------------------------------------------------------------------------------


def _serve(sender: Connection, work: Callable[[Argument], Result], argument: Argument) -> None:
    global _parent
    _parent = sender
    Thread(target=_end_with_parent, daemon=True).start()
    try:
        outcome: tuple[str, Any] = ("return", work(argument))
    except (JetrailError, MemoryError, OSError, ModuleNotFoundError) as error:
        outcome = ("raise", error)
    sender.send(outcome)


def _end_with_parent() -> None:
    """Wait for the parent's end, by kill -9 for example; then nobody wants the work any more."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
