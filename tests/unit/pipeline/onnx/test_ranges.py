"""Histograms that add up exactly, and the three ways to cut them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.onnx.ranges import BINS, add, histogram, threshold
from pipeline.records import Method

NORMAL = np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)
floats = arrays(np.float32, st.integers(1, 50), elements=st.floats(-1e4, 1e4, width=32))


@settings(max_examples=50, deadline=None)
@given(floats, floats)
def test_adding_is_counting_together(one: np.ndarray, other: np.ndarray) -> None:
    together = histogram(np.concatenate([one, other]))
    added = add(histogram(one), histogram(other))
    assert (added.top, added.largest) == (together.top, together.largest)
    assert added.counts.sum() == one.size + other.size
    assert np.array_equal(added.counts, together.counts)


def test_percentile_is_numpys_within_a_bin() -> None:
    found = histogram(NORMAL)
    expected = np.percentile(np.abs(NORMAL), 99.9)
    assert threshold(found, "percentile", 99.9) == pytest.approx(expected, abs=2 * found.top / BINS)


def test_minmax_is_the_largest_magnitude() -> None:
    assert threshold(histogram(np.float32([-3, 2])), "minmax", 99) == 3


def test_entropy_cuts_a_lone_outlier() -> None:
    found = histogram(np.append(NORMAL, np.float32(40)))
    assert 3 < threshold(found, "entropy", 99) < 20


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile"])
@pytest.mark.parametrize("values", [[0.0], [1e-30], [5.0], [0.0, 0.0, 1e30]])
def test_any_range_is_above_zero_and_within_the_values(method: Method, values: list[float]) -> None:
    found = threshold(histogram(np.float32(values)), method, 99)
    assert 0 < found <= max(1e-6, float(np.float32(max(values))))
