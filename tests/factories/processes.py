"""Other processes, as a test looks at them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_SECONDS = 300.0
"""For what takes a moment on an idle machine, and ten times as long on one that others use too."""


def until(condition: Callable[[], bool]) -> bool:
    """Whether it comes true at last."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def runs(process: int) -> bool:
    """Whether a process is there and does not only wait until its parent looks (a zombie)."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"
