"""A bound on the memory that a file from elsewhere may take while it is read."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engines.errors import InputError, lacks_memory


@contextmanager
def bounded_memory(path: Path, more_bytes: int) -> Iterator[None]:
    """Let this process take no more than `more_bytes` beyond what it has (RLIMIT_DATA of
    setrlimit(2), which Linux counts since 4.7; elsewhere there is no bound).

    Raises InputError that names `path` where the block asks for more.
    """
    before = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _data_bytes() + more_bytes
    # An unlimited one is negative.
    lower = [one for one in (limit, *before) if one >= 0]
    _limit(min(lower), before[1])
    try:
        yield
    except (MemoryError, InputError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        _limit(*before)
        raise InputError(
            f"Expected {path} to be loaded within {more_bytes / (1 << 30):.1f} GiB of memory, but "
            "it takes more, or this machine has less. A checkpoint that asks for so much more than "
            "its size is not to be trusted; with a sound one, free memory and run again."
        ) from error
    finally:
        _limit(*before)


def _limit(soft: int, hard: int) -> None:
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """What Linux counts against the limit now; more than any limit where it does not say."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) << 10
    return 1 << 62
