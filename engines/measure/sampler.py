"""The machine, watched while a block runs.

What is read of the machine is in `engines.machine.sensors`; when a measurement is INVALID, in
`pipeline.latency.validity`.
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
from typing_extensions import Self

from engines.machine import ROOT
from engines.machine.sensors import open_sensors
from engines.machine.sensors.jetson import read_power_mode
from engines.machine.sensors.processors import others_share, steal_share, wait_share
from engines.machine.sensors.quota import read_quota
from engines.machine.sensors.reading import Counters, Reading, count_all, read_all, rise
from engines.records.benchmark import MODE_CHANGED, MachineState

SAMPLE_SECONDS = 0.2

Named = TypeVar("Named", str, int)


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
        self.gpu = gpu
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

    def read(self) -> Reading:
        """What the sensors say at this moment."""
        return read_all(self._sensors)

    def state(self, drift: float, gpu: Sequence[Reading] = ()) -> MachineState:
        """What the machine did in the block; `drift` is the `drift_share` of the times.

        `gpu`: where only a part of the block counts, what was read in it; the GPU's clocks and
        other programs are taken from there.
        """
        start, end, readings = self._start, self._end, self.readings()
        counted = gpu or readings
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
            quota_processors=read_quota(self._root),
            quota_throttles=rise(start.quota_throttles, end.quota_throttles),
            temperature_max_c=hottest_c(readings),
            gpu_temperature_max_c=highest(one.gpu_temperature_c for one in readings),
            gpu_clock_min_mhz=lowest(one.gpu_clock_mhz for one in counted),
            gpu_clock_max_mhz=highest(one.gpu_clock_mhz for one in counted),
            memory_clock_min_mhz=lowest(one.memory_clock_mhz for one in counted),
            memory_clock_max_mhz=highest(one.memory_clock_mhz for one in counted),
            power_mean_w=power_w,
            power_max_w=highest([power_w, *(one.power_w for one in readings)]),
            over_current_events=rise(start.over_currents, end.over_currents),
            throttle_reasons=_union(one.throttle_reasons for one in readings),
            gpu_memory_max_mib=highest(one.gpu_memory_mib for one in readings),
            other_gpu_processes=_union(one.other_gpu_processes for one in counted),
            power_mode=_one_after_the_other(self._power_modes),
        )

    def readings(self, start: float = -math.inf, end: float = math.inf) -> list[Reading]:
        """What was read from `start` until before `end`, in time.perf_counter's seconds."""
        return [reading for when, reading in self._samples if start <= when < end]

    def _power_mode(self) -> str | None:
        return read_power_mode(self._root) if self.gpu else None

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self._samples.append((time.perf_counter(), self.read()))


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
        quota_processors=lowest(one.quota_processors for one in states),
        quota_throttles=_total(one.quota_throttles for one in states),
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
