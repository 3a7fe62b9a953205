"""What `predict` prints: a line for each picture, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from engines.config.names import shown
from pipeline.terminal.tables import print_line


def print_predicted(
    drawn: Mapping[Path, Mapping[str, int]], out: Path, console: Console | None = None
) -> None:
    """Each picture with the objects found in it, by class."""
    console = console or Console()
    for path, counts in drawn.items():
        objects = ", ".join(f"{shown(name)} ({count})" for name, count in counts.items())
        print_line(f"{path}: {objects or 'nothing'}", console)
    print_line(f"{len(drawn)} picture(s) drawn into {out}", console)
