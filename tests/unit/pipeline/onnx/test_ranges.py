"""Histograms that add up exactly, and the four ways to cut them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.onnx.ranges import BINS, CUTS, LEVELS, add, histogram, near, threshold
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
    assert added.counts.sum() == one.size + other.size
    assert np.array_equal(added.counts, together.counts)


@settings(max_examples=50, deadline=None)
@given(floats)
def test_signs_are_kept_apart(values: np.ndarray) -> None:
    values = np.round(values, 3)  # float32 has no half of its smallest value
    found = histogram(values)
    assert found.counts[:BINS].sum() == (values < 0).sum()
    assert np.array_equal(histogram(-values).magnitudes.sum(), found.magnitudes.sum())
    assert found.largest == np.abs(values).max()


@pytest.mark.parametrize("largest", [1.0, 2.0, 0.25])
def test_a_power_of_two_is_counted_in_its_own_bin_after_adding(largest: float) -> None:
    values = np.float32([largest, -largest])
    wide = np.float32([100])
    added, together = add(histogram(values), histogram(wide)), histogram(np.append(values, wide))
    assert np.array_equal(added.counts, together.counts)


def silu(values: np.ndarray) -> np.ndarray:
    return (values / (1 + np.exp(-values))).astype(np.float32)


def squared_error(values: np.ndarray, cut: float) -> float:
    scale = cut / (LEVELS - 1)
    rounded = np.rint(values / scale).clip(1 - LEVELS, LEVELS - 1) * scale
    return float(((rounded - values) ** 2).sum())


@pytest.mark.parametrize("values", [NORMAL, silu(4 * NORMAL), NORMAL**3, np.abs(NORMAL)])
def test_the_smallest_squared_error(values: np.ndarray) -> None:
    found = threshold(histogram(values), "mse", 99)
    least = min(squared_error(values, part * np.abs(values).max()) for part in CUTS)
    assert squared_error(values, found) <= 1.02 * least


def on_bins(values: np.ndarray) -> np.ndarray:
    """Each value at the middle of its bin, where the histogram loses nothing of it."""
    top = histogram(values).top
    return ((np.floor(values * BINS / top) + 0.5) * top / BINS).astype(np.float32)


@pytest.mark.parametrize("values", [NORMAL[:5000], silu(4 * NORMAL[:5000]), NORMAL[:5000] ** 3])
def test_the_smallest_squared_error_to_the_bin(values: np.ndarray) -> None:
    values = on_bins(values)
    found = histogram(values)
    errors = {cut: squared_error(values, cut) for cut in CUTS * found.largest}
    assert threshold(found, "mse", 99) == pytest.approx(min(errors, key=lambda cut: errors[cut]))


def divergence(counts: np.ndarray, cut: int) -> float:
    """Migacz' KL divergence of a cut at so many bins, written out."""
    kept = counts[:cut].astype(float)
    reference = kept.copy()
    reference[-1] += counts[cut:].sum()
    quantized = np.zeros(cut)
    for level in range(LEVELS):
        low, high = int(level * cut / LEVELS), int((level + 1) * cut / LEVELS)
        filled = kept[low:high] > 0
        if filled.any():
            quantized[low:high][filled] = kept[low:high].sum() / filled.sum()
    p, q = reference / reference.sum(), quantized / quantized.sum()
    return sum(a * np.log(a / max(b, 1e-9)) for a, b in zip(p, q, strict=True) if a > 0)


@pytest.mark.parametrize("values", [NORMAL[:9000], silu(4 * NORMAL[:9000]), NORMAL[:9000] ** 3])
def test_entropy_is_the_least_divergence(values: np.ndarray) -> None:
    found = histogram(values)
    counts = found.magnitudes.astype(float)
    counts[0] = counts[1]
    used = int(np.ceil(found.largest / found.top * BINS))
    tried = {cut: divergence(counts, cut) for cut in np.linspace(LEVELS, used, 192).astype(int)}
    best = min(tried, key=lambda cut: tried[cut])
    assert threshold(found, "entropy", 99) == min(best * found.top / BINS, found.largest)


def test_the_sign_counts_for_the_squared_error() -> None:
    """Where most values are: a grid may meet -0.278 and miss 0.278 by no less, so only ever one
    of the two is cut by it."""
    background = np.append(silu(4 * NORMAL)[:1000], np.full(100_000, -0.278, np.float32))
    found = threshold(histogram(background), "mse", 99)
    steps = 0.278 * (LEVELS - 1) / found
    assert steps == pytest.approx(round(steps), abs=0.1)


def test_a_symmetric_int8_tells_so_many_magnitudes_apart() -> None:
    assert np.iinfo(np.int8).max + 1 == LEVELS


def test_ranges_near_one_that_stands() -> None:
    assert near(2.0) == {"0.75": 1.5, "0.87": 1.74, "1.15": 2.3, "1.3": 2.6}


def test_percentile_is_numpys_within_a_bin() -> None:
    found = histogram(NORMAL)
    expected = np.percentile(np.abs(NORMAL), 99.9)
    assert threshold(found, "percentile", 99.9) == pytest.approx(expected, abs=2 * found.top / BINS)


def test_percentile_is_the_upper_edge_of_the_bin_that_holds_it() -> None:
    values = ((np.arange(1000) + 0.5) / 1000).astype(np.float32)
    assert threshold(histogram(values), "percentile", 50) == 2046 / BINS


def test_minmax_is_the_largest_magnitude() -> None:
    assert threshold(histogram(np.float32([-3, 2])), "minmax", 99) == 3


def test_entropy_cuts_a_lone_outlier() -> None:
    found = histogram(np.append(NORMAL, np.float32(40)))
    assert 3 < threshold(found, "entropy", 99) < 20


@pytest.mark.parametrize("method", ["minmax", "entropy", "percentile", "mse"])
@pytest.mark.parametrize("values", [[0.0], [1e-30], [5.0], [0.0, 0.0, 1e30]])
def test_any_range_is_above_zero_and_within_the_values(method: Method, values: list[float]) -> None:
    found = threshold(histogram(np.float32(values)), method, 99)
    assert 0 < found <= max(1e-6, float(np.float32(max(values))))
