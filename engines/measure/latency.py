"""Times of single calls as a distribution, with how sure its p99 is."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engines.records.benchmark import Latency

PARTS = 10
"""Of a measurement, whose medians say how far a median is chance."""


def latency(times_s: Sequence[float] | NDArray[np.float64]) -> Latency:
    """The distribution of single calls' times, which come in seconds. Raises ValueError on none."""
    in_order = np.asarray(times_s, np.float64) * 1e3
    times = np.sort(in_order)
    if not len(times):
        raise ValueError("expected at least one time, got none")
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    low, high = quantile_ranks(len(times), 0.99)
    return Latency(
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        p99_low_ms=float(times[low]),
        p99_high_ms=float(times[high]),
        mean_ms=float(times.mean()),
        min_ms=float(times[0]),
        max_ms=float(times[-1]),
        count=len(times),
        p50_noise_ms=_median_noise(in_order),
    )


def p99_interval_share(times: Sequence[float] | NDArray[np.float64]) -> float:
    """How wide the 95 % interval of the p99 of `times` is, as a part of the p99; in any unit."""
    in_order = np.sort(times)
    low, high = quantile_ranks(len(in_order), 0.99)
    return float((in_order[high] - in_order[low]) / np.percentile(in_order, 99))


def _median_noise(times: NDArray[np.float64]) -> float:
    """Half of the range of the medians of the tenths of `times`; 0 where a tenth is one time."""
    if len(times) < 2 * PARTS:
        return 0.0
    return float(np.ptp([np.median(part) for part in np.array_split(times, PARTS)])) / 2


def quantile_ranks(count: int, quantile: float, level: float = 0.95) -> tuple[int, int]:
    """Indices into `count` sorted values that enclose a quantile with a confidence of `level`.

    Free of any distribution: how many of the values lie below the quantile is binomial (David and
    Nagaraja, Order Statistics, 7.1). Where the upper index would lie beyond the largest value, it
    is the largest, and the confidence is less: for the p99 that is so below 368 values.
    """
    tail = (1 - level) / 2
    below = np.cumsum(_binomial(count, quantile))
    low = int(np.searchsorted(below, tail, side="right")) - 1
    high = int(np.searchsorted(below, 1 - tail, side="left"))
    return max(low, 0), min(high, count - 1)


def _binomial(count: int, chance: float) -> NDArray[np.float64]:
    """Probabilities of 0 to `count` successes in `count` trials."""
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    successes = np.arange(count + 1)
    choices = logs[-1] - logs - logs[::-1]
    weights = successes * math.log(chance) + (count - successes) * math.log1p(-chance)
    return np.asarray(np.exp(choices + weights))


def drift_share(times: Sequence[float] | NDArray[np.float64]) -> float:
    """How far the medians of the first and the last third of `times`, in the order in which they
    were taken, lie apart, as a part of the first. 0 for fewer than three times."""
    third = len(times) // 3
    if not third:
        return 0.0
    first, last = np.median(times[:third]), np.median(times[-third:])
    return float(abs(last - first) / first)
