"""Work in a process of its own: when the system ends that one for want of memory, we can say so."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, TypeVar

Argument = TypeVar("Argument")
Result = TypeVar("Result")

POLL_SECONDS = 0.1

_parent: Connection | None = None
"""In the child: where `tell` goes to."""


def run_in_child(
    work: Callable[[Argument], Result], argument: Argument, heard: Callable[..., object]
) -> Result:
    """Call `work(argument)` in a new Python process and give its result, or raise its exception.

    What the child says with `tell` is handed to `heard`. Raises BrokenProcessPool when the child
    is ended from outside, by the kernel's out-of-memory killer for example. `work`, argument and
    result must be picklable.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit locks and CUDA's state
    receiver, sender = context.Pipe(duplex=False)
    with ProcessPoolExecutor(
        1, mp_context=context, initializer=_remember, initargs=(sender,)
    ) as pool:
        future = pool.submit(work, argument)
        while not future.done():
            if receiver.poll(POLL_SECONDS):
                heard(*receiver.recv())
        return future.result()


def tell(*words: Any) -> None:
    """In a child: hand words to the parent's `heard`."""
    if _parent is not None:
        _parent.send(words)


def _remember(sender: Connection) -> None:
    global _parent
    _parent = sender
