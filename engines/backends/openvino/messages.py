"""OpenVINO's errors in our words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

from engines.errors import JetrailError, WrongEngine, lacks_memory, says_lack_of_threads


@contextmanager
def translated(kind: type[JetrailError], expected: str) -> Iterator[None]:
    """OpenVINO raises RuntimeError for everything; make it ours, with the first lines of it, or
    MemoryError or BlockingIOError where it got no memory or thread: then neither the file nor the
    engine is to blame."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        if lacks_memory(error):
            raise MemoryError(reason) from error
        if says_lack_of_threads(str(error)):
            why = f"{os.strerror(errno.EAGAIN)}: {reason}"  # which may be cut before it says so
            raise BlockingIOError(errno.EAGAIN, why) from error
        todo = (
            "Build it again with `pipeline build ENGINE --target TARGET`"
            if kind is WrongEngine
            else "Export the model again with `pipeline export MODEL`"
        )
        raise kind(f"{expected}, but it says: {reason}. {todo}.") from error
