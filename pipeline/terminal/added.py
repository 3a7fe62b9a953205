"""What `add-model` prints: what went into each set, what was left out and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.accuracy.worth import worth
from pipeline.intake.sets import SetFacts
from pipeline.intake.split import Split


def print_sets(
    split: Split,
    facts: Mapping[str, SetFacts],
    classes: Sequence[str],
    console: Console | None = None,
) -> None:
    """A line for each set, then what is missing and what the evaluation will be worth."""
    console = console or Console()
    table = Table(title="Data sets", title_justify="left")
    table.add_column("set")
    table.add_column("from")
    for column in ("pictures", "objects", "background", "equal rows", "no area"):
        table.add_column(column, justify="right")
    for purpose, one in facts.items():
        counts = (one.pictures, sum(one.objects), one.background, one.equal, one.empty)
        table.add_row(purpose, split.sources[purpose], *map(str, counts))
    console.print(table)
    for sentence in _sentences(split, facts, classes):
        console.print(f"  {escape(sentence)}", soft_wrap=True, highlight=False)


def _sentences(split: Split, facts: Mapping[str, SetFacts], classes: Sequence[str]) -> list[str]:
    dropped = sum(one.equal + one.empty for one in facts.values())
    missing = [
        f"{purpose}: {count} picture(s) have no label file in {folder}; they count as background."
        for purpose, one in facts.items()
        for folder, count in one.unlabelled.items()
    ]
    copies = [
        f"{name}: {count} picture(s) left out, since equal ones are in it."
        for name, count in split.copies.items()
        if count
    ]
    evaluation = facts["evaluation"]
    objects = dict(zip(classes, evaluation.objects, strict=True))
    return [
        *([f"{dropped} label row(s) dropped: equal to another, or without area."] * bool(dropped)),
        *missing,
        *copies,
        *worth(evaluation.pictures, objects),
    ]
