"""Work that is killed with -9 in the middle, in a process of its own.

The process is a fork, so that nothing is imported anew each time: a kill costs what the work costs.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 120

SITECUSTOMIZE = '''
"""Counts the moments of atomic writing, and kills the process group at the one in KILL_AT.

Only the command itself counts, not its children, and only files under a temporary name.
"""
import os, pathlib, signal

moments = 0

def moment(path):
    global moments
    if ".jetrail-" not in str(path) or os.getpid() != os.getpgrp():
        return
    moments += 1
    if os.environ.get("KILL_AT") == str(moments):
        os.killpg(0, signal.SIGKILL)

real_fsync, real_replace, real_write = os.fsync, os.replace, pathlib.Path.write_bytes

def fsync(file):
    moment(os.readlink(f"/proc/self/fd/{file}"))
    real_fsync(file)

def replace(source, target, **kwargs):
    moment(source)
    real_replace(source, target, **kwargs)
    moment(source)

def write_bytes(self, data):
    real_write(self, data[: len(data) // 2])
    moment(self)
    return real_write(self, data)

os.fsync, os.replace, pathlib.Path.write_bytes = fsync, replace, write_bytes
'''


class Killed:
    """A process that does some work; `kill` ends it and all that it started."""

    def __init__(self, work: Callable[[], object], *, at_moment: int = 0) -> None:
        """`at_moment` kills it by itself, at that moment of writing files atomically."""
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_process(work, at_moment)
        with suppress(PermissionError, ProcessLookupError):  # where it was faster itself
            os.setpgid(self.pid, self.pid)

    def kill(self) -> None:
        """Now, whatever it does."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        """Until it ended; its exit status, or minus the signal's number."""
        end = time.monotonic() + PATIENCE_S
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() > end:
                self.kill()
                raise AssertionError(f"the work did not end within {PATIENCE_S} s")
            time.sleep(0.005)

    def kill_after(self, seconds: float) -> int:
        timer = threading.Timer(seconds, self.kill)
        timer.start()
        status = self.wait()
        timer.cancel()
        return status

    @staticmethod
    def _be_the_process(work: Callable[[], object], at_moment: int) -> None:
        code = 1
        try:
            os.setpgid(0, 0)
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            if at_moment:
                os.environ["KILL_AT"] = str(at_moment)
                exec(compile(SITECUSTOMIZE, str(Path(__file__)), "exec"), {})
            work()
            code = 0
        finally:
            os._exit(code)
