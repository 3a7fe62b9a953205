"""A command under a limit on its memory ends with a sentence, also where a library just dies.

Libraries in C++ that get no memory often end the process by a signal, without a word. So where the
address space is limited (`ulimit -v`, systemd's LimitAS=), the command runs in a fork, and the
process that was started is left to say what happened.
"""

from __future__ import annotations

import mmap
import os
import resource
import signal
from contextlib import suppress
from typing import Any

from engines.errors import InputError
from engines.process.stage import end_with_dvc
from engines.process.whole import undivided

ENDED_BY_A_LIBRARY = (1, 127)
"""How libraries end a process that gets no memory: OpenBLAS with 1, the C library, where there is
none for a thread, with 127. A command that ends with either says so first (`will_end_with`)."""

CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)

_RESERVE_BYTES = 16 << 20
_reserve: mmap.mmap | None = None
_to_started: int | None = None
"""In a fork: the end of a pipe into which it says how it will end."""


def limit_bytes() -> int | None:
    """What this process may take of its address space; None where there is no limit."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def run_in_a_fork() -> int | None:
    """Go on in a fork where memory is limited: there, and where it is not, this gives None. In the
    process that was started it waits, and gives the fork's exit status.

    Raises InputError where the fork crashed, or a library ended it. Call it before other threads
    run.
    """
    global _reserve, _to_started
    if (limit := limit_bytes()) is None:
        return None
    started = os.getpid()
    reader, writer = os.pipe()
    with undivided():  # until there is somebody to hand signals on to
        if (worker := os.fork()) == 0:
            _end_with(started)
            os.close(reader)
            _to_started = writer
            with suppress(OSError):
                flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
                _reserve = mmap.mmap(-1, _RESERVE_BYTES, flags=flags)
            return None
        os.close(writer)
        before = _hand_on_to(worker)
    code = os.waitstatus_to_exitcode(_wait(worker, before))
    if code in ENDED_BY_A_LIBRARY or -code in CRASHES:
        if said := os.read(reader, 1):
            return said[0]  # its own, or it crashed while its libraries were taken down
        how = f"exit status {code}" if code > 0 else signal.Signals(-code).name
        raise InputError(
            f"Expected enough memory for this command, which may take {limit >> 20} MiB only "
            f"(`ulimit -v`), but it crashed ({how}), as libraries do that get no more. Raise the "
            "limit and run again."
        )
    return code if code >= 0 else 128 - code


def give_back() -> None:
    """Free what was set aside for this: where no memory is left at all, not even a sentence can be
    put together."""
    if _reserve is not None:
        _reserve.close()


def will_end_with(code: int) -> None:
    """Tell the process that waits how this one will end, once all is done and said."""
    if _to_started is not None:
        with suppress(OSError):
            os.write(_to_started, bytes([code]))


def _end_with(started: int) -> None:
    """End this process when the one that was started ends, by kill -9 too."""
    import ctypes  # not before it is needed: this module is imported for --help too

    from engines.process.orphans import PR_SET_PDEATHSIG

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != started:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)


def _hand_on_to(worker: int) -> dict[signal.Signals, Any]:
    """Hand SIGTERM and SIGHUP on; Ctrl-C goes to both anyway. Gives what was done before."""

    def hand_on(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.kill(worker, number)

    return {
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
        signal.SIGHUP: signal.signal(signal.SIGHUP, hand_on),
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
    }


def _wait(worker: int, before: dict[signal.Signals, Any]) -> int:
    end_with_dvc()
    try:
        return os.waitpid(worker, 0)[1]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
