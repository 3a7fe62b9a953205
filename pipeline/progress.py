"""What a step says while it works, on stderr; what it ends with is returned, for `terminal`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TypeVar

from engines.streams import one_line

Item = TypeVar("Item")


def note(text: str) -> None:
    """A line that stays: a warning, or what is waited for."""
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print(one_line(text), markup=False)


def track(
    items: Iterable[Item], description: str, *, total: int | None = None, what: str = "images"
) -> Iterator[Item]:
    """Pass `items` on, with a bar on a terminal and with a single line elsewhere.

    `total` is the number of items where they do not know it themselves, `what` they are.
    """
    from rich.console import Console

    count = len(items) if total is None and isinstance(items, Sized) else total
    console = Console(stderr=True)
    if not console.is_terminal:
        note(description if count is None else f"{description}: {count} {what}")
        yield from items
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        yield from progress.track(items, total=count, description=description)


@contextmanager
def spinner(description: str) -> Iterator[None]:
    """Show that something of unknown length runs; a single line where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(description):
            yield
    else:
        note(description)
        yield


@contextmanager
def steps_bar(description: str) -> Iterator[Callable[[str, int, int], None]]:
    """A bar that is told the phase, its finished steps and how many it has; a single line where
    there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        note(description)
        yield lambda phase, done, total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        task = progress.add_task(description, total=None)

        def tell(phase: str, done: int, total: int) -> None:
            progress.update(
                task, description=f"{description}: {phase}", completed=done, total=total
            )

        yield tell


@contextmanager
def seconds_bar(description: str, seconds: float) -> Iterator[Callable[[float, str], None]]:
    """A bar over a known time that is told the seconds that are over, and a note; a line for each
    time that it is told where there is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        note(f"{description}: {seconds:g} s")
        of = f"of {seconds:g} s"
        yield lambda done, more: note(f"{description}: {done:.1f} {of}, {more}")
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(description, total=seconds)

        def tell(done: float, note: str) -> None:
            progress.update(task, description=f"{description}, {note}", completed=done)

        yield tell
