"""The pictures of a run, as MLflow shows them: latency and accuracy per class.

Matplotlib's own font has no Chinese, Japanese or Korean letters and no emoji, and draws boxes for
them. A class of such a name stands there by its number, and `classes.txt` says which one that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from engines.config.names import shown
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_CLASSES = 40
"""More bars than these cannot be read; the classes with most objects are shown."""
LONGEST_LABEL = 24
LEGEND = "classes.txt"


def write_plots(benchmark: Benchmark, evaluation: Evaluation, folder: Path) -> None:
    """Write `latency.png` and `accuracy.png` into `folder`, which is there, and the names of the
    classes where a picture cannot show them all."""
    _latency(benchmark).savefig(folder / "latency.png")
    accuracy_figure(evaluation).savefig(folder / "accuracy.png")
    numbers = _numbers(evaluation.per_class)
    if numbers:
        lines = [f"{number}  {shown(name)}\n" for name, number in numbers.items()]
        (folder / LEGEND).write_text("".join(lines), encoding="utf-8")


def _latency(benchmark: Benchmark) -> Figure:
    """Percentiles of inference and whole frame for each batch."""
    figure, axes = _figure(f"{benchmark.engine} on {benchmark.target}: latency")
    rows = [
        (f"{name}, batch {batch}", latency)
        for name, batches in (("inference", benchmark.inference), ("frame", benchmark.frame))
        for batch, latency in batches.items()
    ]
    for shift, quantile in enumerate(("p50_ms", "p95_ms", "p99_ms")):
        values = [getattr(latency, quantile) for _, latency in rows]
        places = [place + (shift - 1) * 0.27 for place in range(len(rows))]
        bars = axes.bar(places, values, width=0.25, label=quantile.removesuffix("_ms"))
        axes.bar_label(bars, fmt="%.1f", fontsize=8)
    axes.set_xticks(range(len(rows)), [label for label, _ in rows])
    axes.set_ylabel("ms a call")
    figure.legend(loc="outside right upper")
    return figure


def accuracy_figure(evaluation: Evaluation) -> Figure:
    """mAP50-95 of each class, with the mean over all as a line."""
    figure, axes = _figure(f"{evaluation.engine} on {evaluation.target}: accuracy")
    chosen = sorted(evaluation.per_class, key=lambda name: -evaluation.per_class[name].objects)
    chosen = chosen[:MOST_CLASSES]
    most = [item for item in evaluation.per_class.items() if item[0] in chosen]
    axes.bar(range(len(most)), [one.map50_95 or 0.0 for _, one in most])
    numbers = _numbers(evaluation.per_class)
    names = [numbers.get(name) or shown(name, LONGEST_LABEL) for name, _ in most]
    # A class may be called "$": not to be read as a formula.
    axes.set_xticks(range(len(most)), names, parse_math=False)
    axes.axhline(
        evaluation.map50_95, color="black", linewidth=1, label=f"all: {evaluation.map50_95:.3f}"
    )
    axes.set_ylim(0, 1)
    axes.set_ylabel("mAP50-95")
    count = len(evaluation.per_class)
    which = f"the {len(most)} of {count} classes with most objects" if len(most) < count else ""
    where = f"#: number of a class; its name is in {LEGEND}" if numbers.keys() & chosen else ""
    axes.set_xlabel("; ".join(filter(None, (which, where))))
    figure.legend(loc="outside right upper")
    figure.draw_without_rendering()
    places = [label.get_window_extent() for label in axes.get_xticklabels()]
    if any(left.x1 + 4 > right.x0 for left, right in pairwise(places)):
        axes.tick_params(axis="x", labelrotation=90)
    return figure


def _numbers(classes: Iterable[str]) -> dict[str, str]:
    """Of the classes whose names cannot be drawn: name to number, by the order of the model's."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    # More than one where somebody's matplotlibrc names them, for just such letters.
    families = FontProperties().get_family()
    fonts = [get_font(findfont(FontProperties(family=[one]))) for one in families]
    letters = set[int]().union(*(font.get_charmap() for font in fonts))
    return {
        name: f"#{number}"
        for number, name in enumerate(classes)
        if not letters.issuperset(map(ord, shown(name)))
    }


def _figure(title: str) -> tuple[Figure, Axes]:
    # Without pyplot, which keeps every figure alive and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    return figure, axes
