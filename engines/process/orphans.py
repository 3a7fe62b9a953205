"""Programs that end with the process that started them, however that one ended.

The kernel frees the device's lock when its holder is killed. A measurement that went on without its
parent would spoil the next one, which has the lock by then. `engines.process.child` does the same
for work that is Python in this package, and `engines.process.stage` for the commands that DVC runs.

Run as a program, this asks the kernel for the signal (PR_SET_PDEATHSIG in prctl(2), which outlives
the exec) and becomes the command. Not `preexec_fn`, which may deadlock where other threads run.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
NOT_STARTED = 126
"""Exit status when the command cannot be started, as a shell has it."""
FOR_MEMORY = (-signal.SIGKILL, -signal.SIGTERM)
"""Exit statuses of a program that somebody ended: Linux does it by 9 where memory runs out, and
earlyoom by 15 shortly before that."""
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""For a Python that is started with `-m` or `-c`: from 3.11 on it takes no file of the current
folder, somebody's random.py, for a module that it imports."""


def ends_with_us(command: Sequence[str], by: signal.Signals = signal.SIGKILL) -> list[str]:
    """The command so that it ends when this process does, `by` this signal. Start it from the main
    thread: the kernel means the end of the thread that started it."""
    # -I and -S: nothing of the user's or of site-packages is loaded before the command.
    ours = (str(Path(__file__)), str(os.getpid()), str(int(by)))
    return [sys.executable, "-I", "-S", *ours, *command]


def _become(parent: int, by: int, command: list[str]) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, by)
    if os.getppid() != parent:  # it ended before the kernel was asked
        os.kill(os.getpid(), signal.SIGKILL)
    if command[0] == sys.executable:
        os.environ.update(SAFE_PATH)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        print(error.strerror, file=sys.stderr)
        sys.exit(NOT_STARTED)


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
