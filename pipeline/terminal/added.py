"""What `add-model` and `add-target` print: what was added, what was left out and what is next."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from engines.config.names import shown
from engines.config.workspace import root_if_elsewhere
from pipeline.accuracy.worth import ENOUGH_PICTURES, worth
from pipeline.intake.brought import Brought
from pipeline.terminal.tables import print_line


def print_sets(sets: Brought, console: Console | None = None) -> None:
    """A line for each set, then what is missing and what the evaluation will be worth."""
    console = console or Console()
    table = Table(title="Data sets", title_justify="left")
    table.add_column("set")
    table.add_column("from")
    for column in ("pictures", "objects", "background", "equal rows", "no area"):
        table.add_column(column, justify="right")
    for purpose, one in sets.facts.items():
        counts = (one.pictures, sum(one.objects), one.background, one.equal, one.empty)
        table.add_row(purpose, sets.split.sources[purpose], *map(str, counts))
    console.print(table)
    for sentence in _sentences(sets):
        print_line(f"  {sentence}", console)


def print_next_of_model(
    name: str,
    targets: Sequence[str],
    imgsz: tuple[int, int],
    trained_at: tuple[int, int] | None,
    console: Console | None = None,
) -> None:
    """Where the model is and what is next; sizes are height and width in pixels."""
    console = console or Console()
    for text in of_another_size(imgsz, trained_at):
        _line(console, text)
    _line(console, f"Added models/{name}, with engines for {', '.join(targets)}.")
    _line(console, f"Next{root_if_elsewhere()}: dvc repro")


def of_another_size(imgsz: tuple[int, int], trained_at: tuple[int, int] | None) -> list[str]:
    """What is to be said of a checkpoint that was trained at another size than it will run at."""
    if trained_at in (None, imgsz):
        return []
    return [
        f"Note: the checkpoint was trained at {trained_at[0]} x {trained_at[1]} pixels and "
        f"will run at {imgsz[0]} x {imgsz[1]}. The accuracy in verify.json says what it costs."
    ]


def print_next_of_target(name: str, source: str, console: Console | None = None) -> None:
    """Where the row of the target is and what is next."""
    for text in (
        f"Added engines/targets/{name} with the row of {source}.",
        f"Its clusters have the label `device: {name}`. Next: adapt its params.yaml (device, "
        f"budgets, runner_tag), then on that device run{root_if_elsewhere()}",
        f"  dvc repro engines/targets/{name}/dvc.yaml",
        f"or let its GitLab runner do so: name {name} in the CI/CD variable DEVICE_RUNNERS. Then",
        f"  release publish --target {name}",
    ):
        _line(console or Console(), text)


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _sentences(sets: Brought) -> list[str]:
    facts, split = sets.facts, sets.split
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
    seen = [
        f"{purpose}: {count} picture(s) are in train too; training saw them, so the accuracy will "
        "look better than it is."
        for purpose, count in split.seen.items()
        if count
    ]
    few = [
        f"{purpose}: only {one.pictures} picture(s) (better {ENOUGH_PICTURES} or more) for the "
        "ranges of INT8; what it loses may come from that."
        for purpose, one in facts.items()
        if purpose == "calibration" and one.pictures < ENOUGH_PICTURES
    ]
    evaluation = facts["evaluation"]
    objects = dict(zip(sets.classes, evaluation.objects, strict=True))
    missed = [
        f"evaluation: the checkpoint was trained without the objects of {shown(name)} (`classes`); "
        f"its {objects[name]} count as missed, as they do in `yolo val`."
        for name in sets.left_out
        if objects[name]
    ]
    return [
        *([f"{dropped} label row(s) dropped: equal to another, or without area."] * bool(dropped)),
        *missing,
        *copies,
        *seen,
        *missed,
        *few,
        *worth(evaluation.pictures, objects),
    ]
