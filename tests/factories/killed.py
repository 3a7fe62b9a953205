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

from tests.integration.test_kill import SITECUSTOMIZE

PATIENCE_S = 120


class Killed:
    """A process that does some work; `kill` ends it and all that it started."""

    def __init__(self, work: Callable[[], object], *, at_moment: int = 0) -> None:
        """`at_moment` kills it by itself, at that moment of writing files atomically."""
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be_the_process(work, at_moment)

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
            os.setsid()
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
