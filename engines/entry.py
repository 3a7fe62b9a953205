"""Where every command begins: from here on Ctrl-C and SIGTERM end it without a traceback.

Importing a command line takes a tenth of a second, in which Python's own answer to Ctrl-C would be
a traceback of whatever it was importing. So this module imports next to nothing itself.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib import import_module

OURS = ("engines", "pipeline", "release", "runtime")
_NOT_INSTALLED = (
    "error: Expected Jetrail to be installed, but {python} has no {package}. In the root of the "
    "clone run `make demo`, on a device what docs/jetson.md says under 2; then `. "
    ".venv/bin/activate`, and the command again."
)


def begin(command_line: str) -> None:
    """Import the module `command_line` and call its `main`.

    Until a command runs, and after it, SIGINT ends the process with 130 and SIGTERM with 143 at
    once: there is nothing to put in order. Where they are ignored, as under nohup, they stay so.

    Nothing of ours multiplies large matrices, so OpenBLAS, which NumPy loads, begins no threads:
    where it can have none (a limit on pids) it ends the process as Ctrl-C would, and each takes
    memory. Only PyTorch for ARM computes by it.
    """
    if os.uname().machine == "x86_64" or command_line != "pipeline.cli":
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _vanish)
    try:
        commands = import_module(command_line)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in OURS:
            raise
        print(_NOT_INSTALLED.format(package=error.name, python=sys.executable), file=sys.stderr)
        raise SystemExit(2) from None
    commands.main()


def _vanish(number: int, _: object) -> None:
    os._exit(128 + number)
