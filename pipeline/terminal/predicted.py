"""What `predict` prints: a line for each picture, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text


def print_predicted(
    drawn: Mapping[Path, Mapping[str, int]], out: Path, console: Console | None = None
) -> None:
    """Each picture with the objects found in it, by class."""
    console = console or Console()
    for path, counts in drawn.items():
        objects = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
        console.print(Text(f"{path}: {objects}"), soft_wrap=True)
    console.print(Text(f"{len(drawn)} picture(s) drawn into {out}"), soft_wrap=True)
