"""The figures of `compare.py`: ours against theirs, the limit, and how they are printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from engines.records.verdict import Rule


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table. `ours` and `theirs` hold a value a round, taken in turns, so that the
    machine's moods fall on both; what is compared is the ratio round by round."""

    key: str
    """The part of the comparison that it belongs to, as in `--only`."""
    name: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...] = ()
    """Empty where `ours` is judged by itself."""
    limit: float | None = None
    """Of the ratio, or of `ours` where there is nothing to divide by."""
    rule: Rule = "at most"
    notes: tuple[str, ...] = ()
    """What exactly was measured, and what a reader should know."""
    raw: dict[str, Any] = field(default_factory=dict)
    """Samples behind the values, for the JSON."""

    @property
    def ratios(self) -> list[float]:
        """Ours divided by theirs, round by round; empty without `theirs`."""
        return [one / other for one, other in zip(self.ours, self.theirs, strict=bool(self.theirs))]

    @property
    def judged(self) -> float:
        """What the limit is for."""
        return median(self.ratios or self.ours)

    @property
    def met(self) -> bool | None:
        """Whether the limit is kept; None where there is no limit."""
        if self.limit is None:
            return None
        return self.judged <= self.limit if self.rule == "at most" else self.judged >= self.limit

    def as_json(self) -> dict[str, Any]:
        """All of it, with what follows from it."""
        return {**asdict(self), "ratios": self.ratios, "judged": self.judged, "met": self.met}


def print_figures(figures: Sequence[Figure], console: Console) -> None:
    """A table of 80 columns, then the notes."""
    table = Table(
        title="Jetrail (ours) beside its peers (theirs)",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("figure", no_wrap=True)
    for column in ("ours", "theirs", "ratio (range)", "limit"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("met")
    for one in figures:
        table.add_row(
            one.name,
            _value(one.ours, one.unit),
            _value(one.theirs, one.unit),
            _ratio(one.ratios),
            _limit(one),
            _met(one.met),
        )
    console.print(table)
    for note in dict.fromkeys(note for one in figures for note in one.notes):
        console.print(f"- {note}", markup=False, highlight=False)


def _value(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    return f"{median(values):.3g} {unit}" if unit else f"{median(values):+.4f}"


def _ratio(ratios: Sequence[float]) -> str:
    if not ratios:
        return ""
    return f"{median(ratios):.3f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _limit(figure: Figure) -> str:
    if figure.limit is None:
        return ""
    return f"{'≤' if figure.rule == 'at most' else '≥'} {figure.limit:g}"


def _met(met: bool | None) -> str:
    return {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[met]
