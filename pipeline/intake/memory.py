"""A bound on the memory that a file from elsewhere may take while it is read."""

from __future__ import annotations

import mmap
import resource
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from engines.errors import InputError, lacks_memory

_RESERVE = 16 << 20
"""Bytes that are given back first: where there is none left, Python cannot even raise the limit."""


class bounded_memory:  # noqa: N801  # a context manager, named as such
    """Let this process take no more than `more_bytes` beyond what it has (RLIMIT_DATA of
    setrlimit(2), which Linux counts since 4.7; elsewhere there is no bound).

    Raises InputError that names `path` where the block asks for more.
    """

    def __init__(self, path: Path, more_bytes: int) -> None:
        self._path, self._more = path, more_bytes

    def __enter__(self) -> None:
        private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS  # which the limit counts
        self._before = resource.getrlimit(resource.RLIMIT_DATA)
        self._reserve = mmap.mmap(-1, _RESERVE, flags=private)
        # An unlimited one is negative.
        lower = [one for one in (_data_bytes() + self._more, *self._before) if one >= 0]
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (min(lower), self._before[1]))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reserve.close()
        resource.setrlimit(resource.RLIMIT_DATA, self._before)
        if isinstance(error, MemoryError | InputError | RuntimeError) and lacks_memory(error):
            raise InputError(
                f"Expected {self._path} to be loaded within {self._more / (1 << 30):.1f} GiB of "
                "memory, but it takes more, or this machine has less. A checkpoint that asks for "
                "so much more than its size is not to be trusted; with a sound one, free memory "
                "and run again."
            ) from error


def _data_bytes() -> int:
    """What Linux counts against the limit now; more than any limit where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 1 << 62
