"""How a step tells what it does meanwhile; what it ends with it returns, and `terminal` shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

Say = Callable[[str], None]
"""Takes a line of text. `release.terminal.line` prints it, a test collects it."""


def in_utc(at: datetime) -> str:
    """A time as people read it, whatever zone who told it was in."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"
