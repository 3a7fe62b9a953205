"""Signed histograms of activations from one pass over the calibration images, and the ranges that
they offer; `range_search` chooses among these.

ONNX Runtime's own collectors keep every activation of a run in memory, take one pass a method, and
search the entropy threshold in Python loops; docs/quantization.md has the times. This holds one
histogram a tensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.records import Method

BINS = 4096
"""Bins on each side of zero; at least half of them lie below the largest magnitude."""
LEVELS = 128
"""Magnitudes that a symmetric int8 can tell apart."""
PARTS = (0.75, 0.87, 1.15, 1.3)
"""Parts of a range that are tried in its place."""
CUTS = np.linspace(0.2, 1.0, 81)
"""Parts of the largest magnitude of which `mse` takes the best."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often each value occurred: bin i counts from (i - BINS) * top / BINS on."""

    counts: NDArray[np.int64]
    """Shape (2 * BINS): the first half is below zero."""
    top: float
    """Upper end; a power of two, so that histograms of other tensors of the kind can be added."""
    largest: float
    """The largest magnitude."""

    @property
    def magnitudes(self) -> NDArray[np.int64]:
        """Counts of the magnitudes, shape (BINS)."""
        return np.asarray(self.counts[BINS:] + self.counts[:BINS][::-1])


def histogram(values: NDArray[np.float32]) -> Histogram:
    """The histogram of `values`, of any shape."""
    flat = values.ravel()
    lowest, highest = float(flat.min(initial=0.0)), float(flat.max(initial=0.0))
    largest = max(-lowest, highest)
    # Above the largest, so that no value lies on the upper end and would move when bins merge.
    top = float(2.0 ** (np.floor(np.log2(max(largest, 1e-6))) + 1))
    bins = np.floor(flat * np.float32(BINS / top)).astype(np.int32) + BINS
    counts = np.bincount(bins, minlength=2 * BINS)
    return Histogram(counts=counts, top=top, largest=largest)


def add(one: Histogram, other: Histogram) -> Histogram:
    """Both histograms as one; exact, since bins merge by whole powers of two."""
    top = max(one.top, other.top)
    return Histogram(
        counts=_widened(one, top) + _widened(other, top),
        top=top,
        largest=max(one.largest, other.largest),
    )


def _widened(one: Histogram, top: float) -> NDArray[np.int64]:
    factor = min(round(top / one.top), BINS)
    merged = one.counts.reshape(-1, factor).sum(axis=1)
    missing = BINS - len(merged) // 2
    return np.pad(merged, (missing, missing))


def near(value: float) -> dict[str, float]:
    """Ranges worth trying beside one that stands, by name."""
    return {f"{part}": part * value for part in PARTS}


def threshold(one: Histogram, method: Method, percentile: float) -> float:
    """The magnitude that becomes 127; above 0. `percentile` is of 100."""
    if method == "minmax":
        found = one.largest
    elif method == "mse":
        found = _least_squares(one)
    elif method == "percentile":
        found = _percentile(one, percentile)
    else:
        found = _entropy(one)
    return max(found, 1e-6)


def _least_squares(one: Histogram) -> float:
    """The range with the smallest squared error, of rounding and of what is cut off together.

    From the signed histogram, so it knows how far the grid lies from where most values are: SiLU
    never goes below -0.278, most of a background lies there, and where the grid misses it, all of
    that is off by the same amount, which adds up in the next convolution.
    """
    used = np.flatnonzero(one.counts)
    values = (used - BINS + 0.5) * one.top / BINS
    counts = one.counts[used].astype(np.float64)
    cuts = CUTS * one.largest
    return float(min(cuts, key=lambda cut: _squared_error(values, counts, cut / (LEVELS - 1))))


def _squared_error(values: NDArray[np.float64], counts: NDArray[np.float64], scale: float) -> float:
    if scale <= 0:
        return float("inf")
    levels = np.rint(values / scale).clip(1 - LEVELS, LEVELS - 1)
    return float(((levels * scale - values) ** 2 * counts).sum())


def _percentile(one: Histogram, percentile: float) -> float:
    parts = np.cumsum(one.magnitudes) / max(int(one.counts.sum()), 1)
    index = int(np.searchsorted(parts, percentile / 100))
    return min((index + 1) * one.top / BINS, one.largest)


def _entropy(one: Histogram) -> float:
    """TensorRT's method: the cut whose quantized distribution loses the least information.

    See Migacz, 8-bit Inference with TensorRT (GTC 2017). Zeros are left out as there.
    """
    counts = one.magnitudes.astype(np.float64)
    counts[0] = counts[1]  # the peak at zero says nothing of where to cut
    used = int(np.ceil(one.largest / one.top * BINS))
    cuts = np.unique(np.linspace(LEVELS, max(used, LEVELS), 192).astype(int))
    best = min(cuts, key=lambda cut: _divergence(counts, int(cut)))
    return min(float(best) * one.top / BINS, one.largest)


def _divergence(counts: NDArray[np.float64], cut: int) -> float:
    """Kullback-Leibler divergence of the first `cut` bins in LEVELS levels from all bins."""
    kept = counts[:cut]
    reference = kept.copy()
    reference[-1] += counts[cut:].sum()
    starts = np.linspace(0, cut, LEVELS, endpoint=False).astype(int)
    widths = np.add.reduceat((kept > 0).astype(np.float64), starts)
    levels = np.add.reduceat(kept, starts) / np.maximum(widths, 1)
    quantized = np.repeat(levels, np.diff(np.append(starts, cut))) * (kept > 0)
    total, quantized_total = reference.sum(), quantized.sum()
    if not total or not quantized_total:
        return float("inf")
    p, q = reference / total, quantized / quantized_total
    inside = p > 0
    return float(np.sum(p[inside] * np.log(p[inside] / np.maximum(q[inside], 1e-9))))
