"""Tables and lines of which nothing is cut or broken: names and budgets are copied from them."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from engines.streams import one_line


def fits(table: Table, console: Console) -> bool:
    """Whether every cell of `table` has its room on the console without a break."""
    return _width(table, console) <= console.width


def print_whole(table: Table, console: Console) -> None:
    """Print `table` with no cell broken, in lines longer than the console where it must be."""
    if not fits(table, console):
        table.width = _width(table, console)
    console.print(table, crop=False)


def print_line(text: str, console: Console) -> None:
    """Print `text` as it is, in one line however long, but for what would move the cursor."""
    console.print(Text(one_line(text)), soft_wrap=True)


def print_marked(text: str, console: Console) -> None:
    """As `print_line`, of text with Rich's markup in it."""
    console.print(text, soft_wrap=True, highlight=False)


def _width(table: Table, console: Console) -> int:
    """The characters of a line where no cell is broken."""
    endless = console.options.update(width=10_000)
    return Measurement.get(console, endless, table).maximum
