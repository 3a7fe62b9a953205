"""Ranges of activations from one pass over the calibration images, by three methods.

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
"""Bins of a histogram; at least half of them lie below the largest value."""
LEVELS = 128
"""Magnitudes that a symmetric int8 can tell apart."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often each magnitude occurred: bin i counts from i * top / BINS on."""

    counts: NDArray[np.int64]
    top: float
    """Upper end; a power of two, so that histograms of other tensors of the kind can be added."""
    largest: float


def histogram(values: NDArray[np.float32]) -> Histogram:
    """The histogram of the magnitudes of `values`, of any shape."""
    magnitudes = np.abs(values).ravel()
    largest = float(magnitudes.max(initial=0.0))
    top = float(2.0 ** np.ceil(np.log2(max(largest, 1e-6))))
    bins = (magnitudes * np.float32(BINS / top)).astype(np.int32)
    counts = np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
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
    return np.pad(merged, (0, BINS - len(merged)))


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
    parts = np.cumsum(one.counts) / max(int(one.counts.sum()), 1)
    index = int(np.searchsorted(parts, percentile / 100))
    return min((index + 1) * one.top / BINS, one.largest)


def _entropy(one: Histogram) -> float:
    """TensorRT's method: the cut whose quantized distribution loses the least information.

    See Migacz, 8-bit Inference with TensorRT (GTC 2017). Zeros are left out as there.
    """
    counts = one.counts.astype(np.float64)
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
