"""Histograms that add up exactly, and the three ways to cut them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.onnx.ranges import BINS, FACTORS, LEVELS, add, candidates, histogram, threshold
from pipeline.records import Method

NORMAL = np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)
# A subnormal number divided by a wide range may become 0, in the bin beside its own.
FLOATS = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
floats = arrays(np.float32, st.integers(1, 50), elements=FLOATS)


@settings(max_examples=50, deadline=None)
@given(floats, floats)
def test_adding_is_counting_together(one: np.ndarray, other: np.ndarray) -> None:
    together = histogram(np.concatenate([one, other]))
    added = add(histogram(one), histogram(other))
    assert (added.top, added.largest) == (together.top, together.largest)
    assert added.lowest == together.lowest == min(0.0, one.min(), other.min())
    assert added.counts.sum() == one.size + other.size
    assert np.array_equal(added.counts, together.counts)


@settings(max_examples=50, deadline=None)
@given(floats)
def test_signs_are_kept_apart(values: np.ndarray) -> None:
    values = np.round(values, 3)  # float32 has no half of its smallest value
    found = histogram(values)
    assert found.counts[:BINS].sum() == (values < 0).sum()
    assert np.array_equal(histogram(-values).magnitudes.sum(), found.magnitudes.sum())
    assert (found.lowest, found.largest) == (min(0.0, values.min()), np.abs(values).max())


@pytest.mark.parametrize("largest", [1.0, 2.0, 0.25])
def test_a_power_of_two_is_counted_in_its_own_bin_after_adding(largest: float) -> None:
    values = np.float32([largest, -largest])
    wide = np.float32([100])
    added, together = add(histogram(values), histogram(wide)), histogram(np.append(values, wide))
    assert np.array_equal(added.counts, together.counts)


def test_the_grid_of_a_candidate_meets_the_lowest_value() -> None:
    silu = NORMAL * 4 / (1 + np.exp(-4 * NORMAL))
    found = histogram(silu.astype(np.float32))
    offered = candidates(found, 99.9)
    assert len(offered) == len(FACTORS) + 1
    for part in FACTORS:
        value = offered[f"{part} of the largest"]
        steps = -found.lowest * (LEVELS - 1) / value
        assert steps == pytest.approx(round(steps), abs=1e-9)
        assert value == pytest.approx(part * found.largest, rel=0.5 / (round(steps) - 0.5))


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
