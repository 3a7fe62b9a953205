"""How far an engine's raw output is from its ONNX file's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from engines.records.evaluation import OnnxShift
from pipeline.accuracy.onnx_shift import onnx_shift

LIMITS = np.array([0.25, 0.6], np.float32)


def output(*scores: tuple[float, float], box: float = 10.0) -> Any:
    """The raw output on one frame: two classes, and an anchor for each pair of scores."""
    boxes = np.full((1, 4, len(scores)), box, np.float32)
    return np.concatenate([boxes, np.array(scores, np.float32).T[None]], axis=1)


def shift(expected: Any, came: Any, sure: Any = 0.25) -> OnnxShift:
    return onnx_shift(expected, came, sure, onnx_map50_95_drop=0.003)


def test_the_same_output() -> None:
    same = output((0.9, 0.1), (0.3, 0.2))
    found = shift(same, same)
    assert (found.frames, found.objects, found.onnx_map50_95_drop) == (1, 2, 0.003)
    assert (found.scores_mean, found.scores_max) == (0, 0)
    assert (found.boxes_mean_px, found.boxes_max_px) == (0, 0)


def test_background_counts_for_nothing() -> None:
    expected, came = output((0.9, 0.1), (0.1, 0.2)), output((0.9, 0.2), (0.2, 0.1))
    came[0, :4, 1] = 300
    found = shift(expected, came)
    assert (found.objects, found.scores_max, found.boxes_max_px) == (1, 0, 0)


def test_what_is_lost_and_what_is_made_up_both_count() -> None:
    found = shift(output((0.8, 0), (0.1, 0)), output((0.1, 0), (0.5, 0), box=12.0))
    assert found.objects == 2
    assert found.scores_mean == pytest.approx((0.7 + 0.4) / 2)
    assert found.scores_max == pytest.approx(0.7)
    assert (found.boxes_mean_px, found.boxes_max_px) == (2, 2)


def test_each_class_has_its_own_threshold() -> None:
    expected, came = output((0.3, 0.5)), output((0.4, 0.1))
    assert shift(expected, came).objects == 2
    found = shift(expected, came, LIMITS)
    assert found.objects == 1
    assert found.scores_mean == pytest.approx(0.1)


def test_where_nothing_is_found_the_best_of_it_counts() -> None:
    found = shift(output((0.10, 0.01), (0.06, 0.02)), output((0.02, 0.01), (0.06, 0.02)))
    assert found.objects == 2
    assert found.scores_mean == pytest.approx(0.04)


def test_half_of_the_highest_is_the_least_that_counts_then() -> None:
    expected = output((0.125, 0), (0.0625, 0), (0.06, 0))
    assert shift(expected, expected).objects == 2


@pytest.mark.parametrize("sure", [0.3, 0.7, np.float32(0.7)])
def test_a_score_at_the_threshold_is_found(sure: Any) -> None:
    """A threshold is as float32 has it, like the scores."""
    both = output((0.9, 0), (float(np.float32(sure)), 0))
    assert shift(both, both, sure).objects == 2


def test_what_is_no_number_is_no_score() -> None:
    came = output((np.nan, 0.1), (np.inf, 0.1), (-np.inf, 0.1), box=np.nan)
    found = shift(output((0.9, 0.1), (0.8, 0.1), (0.7, 0.1)), came)
    assert found.scores_mean == pytest.approx(0.8)
    assert found.scores_max == pytest.approx(0.9)
    assert found.boxes_mean_px == 10
