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
FACTORS = (0.4, 0.55, 0.7, 0.85)
"""Parts of the largest magnitude that are tried as a range."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often each value occurred: bin i counts from (i - BINS) * top / BINS on."""

    counts: NDArray[np.int64]
    """Shape (2 * BINS): the first half is below zero."""
    top: float
    """Upper end; a power of two, so that histograms of other tensors of the kind can be added."""
    largest: float
    """The largest magnitude."""
    lowest: float
    """The lowest value, or 0 where none is below."""

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
    return Histogram(counts=counts, top=top, largest=largest, lowest=lowest)


def add(one: Histogram, other: Histogram) -> Histogram:
    """Both histograms as one; exact, since bins merge by whole powers of two."""
    top = max(one.top, other.top)
    return Histogram(
        counts=_widened(one, top) + _widened(other, top),
        top=top,
        largest=max(one.largest, other.largest),
        lowest=min(one.lowest, other.lowest),
    )


def _widened(one: Histogram, top: float) -> NDArray[np.int64]:
    factor = min(round(top / one.top), BINS)
    merged = one.counts.reshape(-1, factor).sum(axis=1)
    missing = BINS - len(merged) // 2
    return np.pad(merged, (missing, missing))


def candidates(one: Histogram, percentile: float) -> dict[str, float]:
    """Ranges worth trying, by name: FACTORS of the largest magnitude, and the percentile.

    The first ones are moved to the nearest range whose grid meets the lowest value. SiLU never
    goes below -0.278 and most of a background lies there: where the grid misses it, all of that
    is off by the same amount, which adds up in the next convolution.
    """
    scaled = {f"{part} of the largest": part * one.largest for part in FACTORS}
    met = {name: max(_meeting(value, -one.lowest), 1e-6) for name, value in scaled.items()}
    return {**met, "percentile": threshold(one, "percentile", percentile)}


def _meeting(wanted: float, lowest: float) -> float:
    """The range near `wanted` of which `lowest`, a magnitude, is a whole number of steps."""
    steps = round(lowest * (LEVELS - 1) / wanted) if wanted > 0 else 0
    return lowest * (LEVELS - 1) / steps if steps > 0 else wanted


def threshold(one: Histogram, method: Method, percentile: float) -> float:
    """The magnitude that becomes 127; above 0. `percentile` is of 100."""
    if method == "minmax":
        found = one.largest
    elif method == "percentile":
        found = _percentile(one, percentile)
    else:
        found = _entropy(one)
    return max(found, 1e-6)


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
