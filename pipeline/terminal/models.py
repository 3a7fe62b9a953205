"""What `list`, `update-model` and `remove-model` print: lines that are never cut or broken."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console

from engines.config.workspace import root_if_elsewhere, where_to_run
from pipeline.intake.brought import Brought
from pipeline.repository.listing import ListedModel
from pipeline.terminal.added import of_another_size, print_sets
from pipeline.terminal.tables import print_line

_OTHER_PICTURES = (
    "Its accuracy is of other pictures now: it cannot be compared with that of before."
)
_KEPT = "Git and DVC's cache keep what they had of it."
_NOT_KEPT = (
    "Git shows nothing of it here: unless a commit has it, only what `add-model` was given brings "
    "it back."
)
_SAME_EVALUATION = "Its evaluation set is that of before: the accuracies can be compared."
_NOTHING_NEW = (
    "It has these weights already, so nothing has changed. Each training writes its best.pt into a "
    "folder of its own (runs/detect/train, train2 and so on): give that of the newest."
)
_SAME_PICTURES = (
    "Its data sets stay. Where the training saw pictures of the evaluation, the accuracy looks "
    "better than it is: give the training's data.yaml with --data then."
)


def print_models(models: Iterable[ListedModel], console: Console | None = None) -> None:
    """Name, version, input and classes; then each target with its engines' last verdicts; then the
    rings that run it."""
    console = console or Console()
    lines = [line for one in models for line in _lines(one)]
    if where := where_to_run("\n".join(lines)):
        lines.append(where)
    _print(lines or ["no model yet: bring one with `pipeline add-model`"], console)


def print_more_targets(name: str, targets: Sequence[str]) -> None:
    run = f"Next, on its device{root_if_elsewhere()}: dvc repro engines/targets"
    lines = [f"models/{name} has engines for {one}. {run}/{one}/dvc.yaml" for one in targets]
    _print(lines, Console())


def print_updated(
    name: str,
    before: tuple[str, str],
    now: tuple[str, str],
    imgsz: tuple[int, int],
    trained_at: tuple[int, int] | None,
    sets: Brought | None,
    same_evaluation: bool,
    console: Console | None = None,
) -> None:
    """What the model had and has: a version and the sha256 of the weights; sizes are height and
    width in pixels; `sets` are new data sets, None where those of before stay."""
    console = console or Console()
    if sets:
        print_sets(sets, console)
    told = _SAME_EVALUATION if same_evaluation else _OTHER_PICTURES
    pictures = [told] if sets else [_SAME_PICTURES] * (before[1] != now[1])
    words = [f"version {version}, weights {sha256[:12]}" for version, sha256 in (before, now)]
    if not sets and before == now:
        _print([f"models/{name}: {words[1]}, as before", _NOTHING_NEW], console)
        return
    lines = [
        *of_another_size(imgsz, trained_at),
        f"models/{name}: {words[1]}",
        f"  before: {words[0]}",
        *pictures,
        f"Next{root_if_elsewhere()}: dvc repro, then dvc metrics diff",
        "Commit all of it: then `git revert` and `pipeline pull` take it back.",
    ]
    _print(lines, console)


def print_removed(name: str, rings: Sequence[str], others: Sequence[str], *, kept: bool) -> None:
    """What went with the model; `rings` ran it, `others` are left, and git has it if `kept`."""
    gone = [f"Fleet takes it off the clusters of {', '.join(rings)}."] if rings else []
    then = "`dvc repro`" if others else "bring another with `pipeline add-model`"
    lines = [
        f"Removed models/{name}, its engines and what named it.",
        *gone,
        _KEPT if kept else _NOT_KEPT,
        f"Next{root_if_elsewhere()}: look at `git status`, commit, then {then}",
    ]
    _print(lines, Console())


def _print(lines: Iterable[str], console: Console) -> None:
    for line in lines:
        print_line(line, console)


def _lines(one: ListedModel) -> list[str]:
    head = one.name
    if one.config is not None:
        height, width = one.config.imgsz
        head += f"  version {one.config.version}, {height} x {width}, "
        head += f"{len(one.config.classes)} class(es)"
    wide = max(map(len, one.engines), default=0)
    return [
        head,
        *(
            f"  {target:{wide}}  "
            + "  ".join(f"{precision} {verdict or '-'}" for precision, verdict in rows.items())
            for target, rows in one.engines.items()
        ),
        *(f"  runs in  {ring}" for ring in one.rings),
        *(f"  {problem}" for problem in one.problems),
    ]
