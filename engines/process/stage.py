"""A command that DVC runs as a stage ends with DVC, however that one ended.

DVC starts a stage's command through the user's shell and waits for it. Killed by itself (`kill`,
systemd, the kernel when memory runs out), it leaves the command running, which would go on to build
or measure with the device's lock. Nobody waits for its result by then.
"""

from __future__ import annotations

import hashlib
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from engines.errors import InputError

DVC_STAGE = "DVC_STAGE"
"""The variable in which DVC names the stage to its command (`dvc.env`)."""

CLEAN_UP_SECONDS = 10.0
"""How long a command may take to end by SIGTERM, which waits for what runs outside Python."""


def end_with_dvc() -> None:
    """Where this process is the command of a stage, end it when DVC or the shell between them is
    gone: by SIGTERM, and by SIGKILL where that takes too long. On kernels before 5.3, which cannot
    tell (pidfd_open(2)), it goes on."""
    if DVC_STAGE not in os.environ:
        return
    try:
        above = _above()
    except (ProcessLookupError, FileNotFoundError):
        above = []  # it ended just now
    except OSError:
        return
    Thread(target=_follow, args=(above,), daemon=True).start()


@contextmanager
def same_code() -> Iterator[None]:
    """Where this process is the command of a stage, raise InputError when the block has ended well
    and code that it ran by was changed meanwhile, as by `git pull`. DVC notes what a stage depends
    on only then: what the old code made would count as made by the new."""
    before = _code() if DVC_STAGE in os.environ else {}
    yield
    now = _code() if before else {}
    ran = {getattr(module, "__file__", None) for module in [*sys.modules.values()]}
    changed = [file for file in before if file in ran and now.get(file) != before[file]]
    if changed:
        raise InputError(
            f"Expected Jetrail's code to stay as it is until this stage ends, but {changed[0]} was "
            "changed meanwhile. What was made is of the code of before: run `dvc repro` again."
        )


def _code() -> dict[str, bytes]:
    """The files of our modules and a hash of each, as DVC goes by content and not by times."""
    root = Path(__file__).parents[2]
    return {
        str(path): hashlib.sha256(path.read_bytes()).digest()
        for package in ("engines", "pipeline", "release")
        for path in (root / package).rglob("[!.]*.py")  # Emacs' lock .#x.py leads nowhere
    }


def _follow(above: Sequence[int]) -> None:
    """Wait until one of the processes ends; with none, DVC is gone already."""
    if above:
        select.select(above, [], [])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(CLEAN_UP_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


def _above() -> list[int]:
    """Descriptors of DVC's process and of the shells between it and this one."""
    found, process = list[int](), os.getppid()
    # An orphan's new parent is in another session than ours.
    while os.getsid(process) == os.getsid(0):
        found.append(os.pidfd_open(process))
        if not _is_shell_with_command(process):
            return found
        process = _parent(process)
    return []


def _is_shell_with_command(process: int) -> bool:
    """`sh -c …`, as DVC starts it; most shells become the command themselves."""
    words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    return words[0].endswith(b"sh") and b"-c" in words


def _parent(process: int) -> int:
    # The name of a program may hold blanks and brackets.
    return int(
        Path(f"/proc/{process}/stat")
        .read_text(encoding="utf-8", errors="replace")
        .rpartition(")")[2]
        .split()[1]
    )
