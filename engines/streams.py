"""stdout and stderr as commands need them: whoever stops reading stops no work.

`release publish | head -1` must publish all of it: at the second line the pipe is closed, and an
error there would end the work half-way, without a word.
"""

from __future__ import annotations

import io
import os
import re
import sys
from typing import Any, TextIO

_DROPPED: dict[str, type[OSError]] = {"stdout": BrokenPipeError, "stderr": OSError}
"""Errors that end no work: of stderr all of them, since there is nowhere to tell them."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""In a name that somebody else gave, these would move the cursor, or write from right to left."""

_QUERY = re.compile(r"((?:https?://|url: /)[^\s?'\"]*)\?[^\s'\")]+")


def without_queries(text: str) -> str:
    """What a library for HTTP says, without the queries of addresses: tokens stand there, a login's
    and those by which a store of files signs."""
    return _QUERY.sub(r"\1", text)


def escaped(text: str) -> str:
    """`text` for a terminal, with control characters as Python writes them; line ends stay."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def one_line(text: str) -> str:
    """As `escaped`, with line ends as Python writes them, too: a name may hold one."""
    return escaped(text).replace("\n", "\\n")


def prepare() -> None:
    """Let what the terminal cannot show be written in escapes, and what nobody reads any more be
    dropped. Streams that are not the process's own, as in tests, stay as they are."""
    _fill_gaps()
    if not os.environ.get("COLUMNS", "1").strip("0"):
        del os.environ["COLUMNS"]  # a console without a size says 0, and Rich prints nothing then
    for name, dropped in _DROPPED.items():
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper):
            if stream.errors == "strict":
                stream.reconfigure(errors="backslashreplace")
            if stream is getattr(sys, f"__{name}__"):
                setattr(sys, name, _dropping(stream, dropped))


def _fill_gaps() -> None:
    """Open what was closed (`>&-`): the next file would get that number, and what a library in C
    prints would go into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest that is free


def _dropping(stream: io.TextIOWrapper, dropped: type[OSError]) -> TextIO:
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (OSError, ValueError):
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(_Dropping(descriptor, dropped)),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Dropping(io.FileIO):
    """A file that goes to nowhere once it cannot be written, as when its pipe's other end is
    closed."""

    def __init__(self, descriptor: int, dropped: type[OSError]) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._dropped = dropped

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except self._dropped:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())  # for the programs that are started, too
            os.close(nowhere)
            return super().write(data)
