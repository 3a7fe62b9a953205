"""Calls that are measured: warmed up, in windows, and the quiet ones kept as rounds."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.measure.gpu import GpuNeighbours
from engines.measure.latency import drift_share
from engines.measure.memory import memory_peak_mib
from engines.measure.neighbours import Limits, Neighbours
from engines.measure.sampler import StateSampler
from engines.measure.windows import Wanted, Watches, run_windows
from pipeline.latency.harness.patience import Patience
from pipeline.latency.harness.plan import BenchmarkPlan
from pipeline.latency.measurement import Extra, WindowCounts

LEAST_ROUNDS = 300
"""From 299 rounds on, the largest one is above the true p99 with 95 % certainty: 1 - 0.99^299."""

LEAST_WARM_UP = 3


def measure_calls(
    benchmark: Any,
    plan: BenchmarkPlan,
    used_before: float | None,
    patience: Patience,
    call: Callable[[], object],
    *,
    part: Callable[[], float],
    sure: bool = False,
) -> NDArray[np.float64]:
    """Warm up for the plan's time, then call until its time was quiet, 300 times at least, and the
    calls do not drift; where it has to be `sure`, until the p99 is known as well as the plan wants
    it, from calm windows if there are such.

    Returns what the `part` took in each call that counts, in seconds.
    """
    sampler = StateSampler(gpu=plan.gpu)
    pace = warm_up(call, plan.warmup_seconds)
    wanted = patience.wanted(plan, LEAST_ROUNDS, pace)
    if sure:
        wanted = replace(wanted, p99_interval_share=plan.p99_interval_share, calm=True)
    extra, parts = run_quiet(benchmark, call, wanted, plan.limits, sampler, used_before, part=part)
    patience.saw(extra)
    extra.put(benchmark.extra_info)
    return parts


def hand_in(benchmark: Any, times: NDArray[np.float64]) -> None:
    """Let pytest-benchmark have times, in seconds, as rounds of this measurement."""
    benchmark.pedantic(lambda: None, rounds=1)
    benchmark.stats.stats.data[:] = times.tolist()


def run_quiet(
    benchmark: Any,
    call: Callable[[], object],
    wanted: Wanted,
    limits: Limits,
    sampler: StateSampler,
    used_before: float | None,
    *,
    part: Callable[[], float] | None = None,
    settling_calls: int = 1,
) -> tuple[Extra, NDArray[np.float64]]:
    """Call in windows (see `run_windows`), and let pytest-benchmark have the calls that count as
    its rounds. Returns what the `part` took in each of them, in seconds, too."""
    gpu = GpuNeighbours(sampler.read, limits.clock_share)
    neighbours = Neighbours(limits, os.sched_getaffinity(0))
    watch = Watches(neighbours, gpu) if sampler.gpu else neighbours
    with sampler:
        measure = partial(run_windows, part=part, settling_calls=settling_calls)
        windows = benchmark.pedantic(measure, args=(call, wanted, watch), rounds=1)
    times = windows.times()
    benchmark.stats.stats.data[:] = times.tolist()
    state = sampler.state(drift_share(times), gpu.quiet if windows.enough else ())
    extra = Extra(
        machine=state,
        windows=WindowCounts.of(windows),
        memory_peak_mib=memory_peak_mib(state, used_before),
    )
    return extra, windows.parts()


def warm_up(call: Callable[[], object], seconds: float) -> float:
    """Call until the time is over, three times at least; returns how many calls fit into a second,
    if all were as the fastest one: the first may take a hundred times as long."""
    times: list[float] = []
    while sum(times) < seconds or len(times) < LEAST_WARM_UP:
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return 1 / max(min(times), 1e-9)
