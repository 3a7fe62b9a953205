"""Plots of a run, whatever its classes are called."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import pytest
from factories.records import benchmark, evaluation

from engines.records.evaluation import ClassAccuracy
from release.registry.plots import MOST_CLASSES, accuracy_figure, write_plots


@pytest.mark.filterwarnings("ignore:Glyph .* missing")
def test_classes_of_any_name(tmp_path: Path) -> None:
    names = ["$\\frac{x}$", "$", "a\nb", "<b>", "🔩", "x" * 500, "\x1b[31m", *map(str, range(60))]
    one = ClassAccuracy(map50_95=0.5, map50=0.7, objects=3)
    judged = evaluation().model_copy(update={"per_class": dict.fromkeys(names, one)})
    assert len(names) > MOST_CLASSES
    write_plots(benchmark(), judged, tmp_path)
    for file in ("latency.png", "accuracy.png"):
        assert cv2.imread(str(tmp_path / file)) is not None


@pytest.mark.parametrize(
    ("count", "length"), [(2, 24), (3, 24), (4, 24), (10, 8), (12, 6), (30, 2)]
)
def test_names_below_the_bars_do_not_run_into_each_other(count: int, length: int) -> None:
    one = ClassAccuracy(map50_95=0.5, map50=0.7, objects=3)
    names = [f"{number:02}".ljust(length, "m") for number in range(count)]
    judged = evaluation().model_copy(update={"per_class": dict.fromkeys(names, one)})
    figure = accuracy_figure(judged)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_xticklabels()]
    assert len(boxes) == count
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
