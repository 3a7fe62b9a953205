"""Plots of a run, whatever its classes are called."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import pytest
from factories.records import benchmark, evaluation

from engines.records.evaluation import ClassAccuracy
from release.registry.plots import MOST_CLASSES, accuracy_figure, write_plots


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


def test_a_class_whose_name_no_font_has_stands_there_by_its_number(tmp_path: Path) -> None:
    """Matplotlib draws a box for each such letter: nobody knows which bar is of which class."""
    one = ClassAccuracy(map50_95=0.5, map50=0.7, objects=3)
    names = ["Schraube", "安全帽", "gänse", "🔩"]
    judged = evaluation().model_copy(update={"per_class": dict.fromkeys(names, one)})
    write_plots(benchmark(), judged, tmp_path)
    axes = accuracy_figure(judged).axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["Schraube", "#1", "gänse", "#3"]
    assert "classes.txt" in axes.get_xlabel()
    assert (tmp_path / "classes.txt").read_text("utf-8") == "#1  安全帽\n#3  🔩\n"


def test_names_that_can_be_drawn_need_no_legend(tmp_path: Path) -> None:
    one = ClassAccuracy(map50_95=0.5, map50=0.7, objects=3)
    names = ["casque de sécurité", "каска", "κράνος", "a\nb"]
    judged = evaluation().model_copy(update={"per_class": dict.fromkeys(names, one)})
    write_plots(benchmark(), judged, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"latency.png", "accuracy.png"}
    assert accuracy_figure(judged).axes[0].get_xlabel() == ""


def test_a_picture_of_some_of_the_classes_says_so() -> None:
    few, many = (ClassAccuracy(map50_95=0.5, map50=0.7, objects=one) for one in (3, 4))
    classes = {str(index): many if index >= 25 else few for index in range(65)}
    judged = evaluation().model_copy(update={"per_class": classes})
    axes = accuracy_figure(judged).axes[0]
    assert axes.get_xlabel() == "the 40 of 65 classes with most objects"
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == [str(index) for index in range(25, 65)]
