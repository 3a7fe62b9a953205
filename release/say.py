"""How a step tells what it does meanwhile; what it ends with it returns, and `terminal` shows."""

from __future__ import annotations

from collections.abc import Callable

Say = Callable[[str], None]
"""Takes a line of text. `release.terminal.line` prints it, a test collects it."""
