"""Times, and what the machine did while they were taken.

What is read of the machine is in `engines.machine.sensors`; when a measurement is INVALID, in
`engines.validity`.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from engines.machine.sensors import open_sensors
from engines.machine.sensors.jetson import read_power_mode
from engines.machine.sensors.processors import others_share, steal_share, wait_share
from engines.machine.sensors.reading import (
    Counters,
    Reading,
    count_all,
    read_all,
    read_memory_used_mib,
    rise,
)
from engines.records.benchmark import MODE_CHANGED, Latency, MachineState

ROOT = Path("/")
SAMPLE_SECONDS = 0.2

Named = TypeVar("Named", str, int)

# --- times -------------------------------------------------------------------------------------


def latency(times_s: Sequence[float] | NDArray[np.float64]) -> Latency:
    """The distribution of single calls' times, which come in seconds. Raises ValueError on none."""
    times = np.sort(np.asarray(times_s, np.float64)) * 1e3
    if not len(times):
        raise ValueError("expected at least one time, came none")
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
    )


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


# --- the machine -------------------------------------------------------------------------------


class StateSampler:
    """Watches the machine inside a `with` block; `state` then says what it did.

    Made before the warm-up, since finding the sensors and asking for the power mode (a program) let
    the GPU fall idle. Counters and power mode are read at both ends; clocks, temperatures, power
    and memory five times a second by a thread of its own, which is not started where there is
    nothing to read.
    """

    def __init__(
        self, root: Path = ROOT, *, cpus: Iterable[int] | None = None, gpu: bool = False
    ) -> None:
        """`cpus`: the processors to watch; those that this process may use, when not given. `gpu`:
        whether to watch the GPU too, which is idle where the engine does not run on it."""
        self._root = root
        self._gpu = gpu
        watched = os.sched_getaffinity(0) if cpus is None else cpus
        self._sensors = open_sensors(root, watched, gpu=gpu)
        self._power_modes = [self._power_mode()]
        self._samples: list[tuple[float, Reading]] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._begin = time.perf_counter()
        self._start = count_all(self._sensors)
        self._sample()
        if self._samples[0][1] != Reading():
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._sample()
        self._end = count_all(self._sensors)
        self._seconds = time.perf_counter() - self._begin
        self._power_modes.append(self._power_mode())
        for sensor in self._sensors:
            sensor.close()

    def state(self, drift: float) -> MachineState:
        """What the machine did in the block; `drift` is the `drift_share` of the times."""
        start, end, readings = self._start, self._end, self.readings()
        clocks = [value for one in readings for value in one.clocks_mhz]
        # The card's own count holds what happens between two readings.
        power_w = _counted_power_w(start, end, self._seconds) or mean_power_w(readings)
        return MachineState(
            steal_share=steal_share(start, end),
            others_share=others_share(start, end),
            run_queue_wait_share=wait_share(start, end),
            drift_share=drift,
            clock_min_mhz=lowest(clocks),
            clock_max_mhz=highest(clocks),
            throttle_events=rise(start.throttles, end.throttles),
            temperature_max_c=hottest_c(readings),
            gpu_temperature_max_c=highest(one.gpu_temperature_c for one in readings),
            gpu_clock_min_mhz=lowest(one.gpu_clock_mhz for one in readings),
            gpu_clock_max_mhz=highest(one.gpu_clock_mhz for one in readings),
            memory_clock_min_mhz=lowest(one.memory_clock_mhz for one in readings),
            memory_clock_max_mhz=highest(one.memory_clock_mhz for one in readings),
            power_mean_w=power_w,
            power_max_w=highest([power_w, *(one.power_w for one in readings)]),
            over_current_events=rise(start.over_currents, end.over_currents),
            throttle_reasons=_union(one.throttle_reasons for one in readings),
            gpu_memory_max_mib=highest(one.gpu_memory_mib for one in readings),
            other_gpu_processes=_union(one.other_gpu_processes for one in readings),
            power_mode=_one_after_the_other(self._power_modes),
        )

    def readings(self, start: float = -math.inf, end: float = math.inf) -> list[Reading]:
        """What was read from `start` until before `end`, in time.perf_counter's seconds."""
        return [reading for when, reading in self._samples if start <= when < end]

    def _power_mode(self) -> str | None:
        return read_power_mode(self._root) if self._gpu else None

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self._samples.append((time.perf_counter(), read_all(self._sensors)))


def worst_of(states: Sequence[MachineState]) -> MachineState:
    """The worst that the machine did during any of several measurements, of which there is one."""
    return MachineState(
        steal_share=highest(one.steal_share for one in states),
        others_share=highest(one.others_share for one in states),
        run_queue_wait_share=highest(one.run_queue_wait_share for one in states),
        drift_share=max(one.drift_share for one in states),
        clock_min_mhz=lowest(one.clock_min_mhz for one in states),
        clock_max_mhz=highest(one.clock_max_mhz for one in states),
        throttle_events=_total(one.throttle_events for one in states),
        temperature_max_c=highest(one.temperature_max_c for one in states),
        gpu_temperature_max_c=highest(one.gpu_temperature_max_c for one in states),
        gpu_clock_min_mhz=lowest(one.gpu_clock_min_mhz for one in states),
        gpu_clock_max_mhz=highest(one.gpu_clock_max_mhz for one in states),
        memory_clock_min_mhz=lowest(one.memory_clock_min_mhz for one in states),
        memory_clock_max_mhz=highest(one.memory_clock_max_mhz for one in states),
        power_mean_w=highest(one.power_mean_w for one in states),
        power_max_w=highest(one.power_max_w for one in states),
        over_current_events=_total(one.over_current_events for one in states),
        throttle_reasons=_union(one.throttle_reasons for one in states),
        gpu_memory_max_mib=highest(one.gpu_memory_max_mib for one in states),
        other_gpu_processes=_union(one.other_gpu_processes for one in states),
        power_mode=_one_after_the_other(one.power_mode for one in states),
    )


def lowest(values: Iterable[float | None]) -> float | None:
    """The lowest of those that are known."""
    return min((value for value in values if value is not None), default=None)


def highest(values: Iterable[float | None]) -> float | None:
    """The highest of those that are known."""
    return max((value for value in values if value is not None), default=None)


def hottest_c(readings: Iterable[Reading]) -> float | None:
    """The highest temperature that any sensor said."""
    return highest(value for one in readings for value in one.temperatures_c)


def mean_power_w(readings: Iterable[Reading]) -> float | None:
    """Mean of the power at the moments of reading, which are evenly apart."""
    watts = [one.power_w for one in readings if one.power_w is not None]
    return float(np.mean(watts)) if watts else None


def peak_memory_mib(root: Path = ROOT) -> float:
    """The largest resident memory that this process has had so far, in MiB."""
    for line in (root / "proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"expected VmHWM in {root}/proc/self/status, came none")


def used_memory_mib(root: Path = ROOT) -> float | None:
    """What all programs have taken of the machine's memory, in MiB."""
    return read_memory_used_mib(root)


def memory_peak_mib(state: MachineState, used_before: float | None, root: Path = ROOT) -> float:
    """The most memory that this process took, in MiB: resident, and where GPU and processors share
    one memory, at least what the machine's used memory rose by since `used_before`.

    CUDA's memory is not resident, so that on such a machine the resident memory misses the engine.
    `used_before`: `used_memory_mib` before the engine was loaded; None where the GPU has memory of
    its own, which is not counted here. Read five times a second, while `state` was watched.
    """
    risen = None
    if used_before is not None and state.gpu_memory_max_mib is not None:
        risen = state.gpu_memory_max_mib - used_before
    return max(peak_memory_mib(root), risen or 0)


def _counted_power_w(start: Counters, end: Counters, seconds: float) -> float | None:
    if start.energy_mj is None or end.energy_mj is None or end.energy_mj <= start.energy_mj:
        return None
    return (end.energy_mj - start.energy_mj) / 1e3 / seconds


def _one_after_the_other(modes: Iterable[str | None]) -> str | None:
    """The mode; several of them when somebody changed it meanwhile."""
    return MODE_CHANGED.join(dict.fromkeys(mode for mode in modes if mode)) or None


def _total(events: Iterable[int | None]) -> int | None:
    counted = [value for value in events if value is not None]
    return sum(counted) if counted else None


def _union(parts: Iterable[Iterable[Named]]) -> tuple[Named, ...]:
    return tuple(sorted({one for part in parts for one in part}))
