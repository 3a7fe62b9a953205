"""A soak: whole frames at batch 1 without a pause, and how they fare as the device gets hot."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engines.measure.latency import latency
from engines.measure.sampler import StateSampler, hottest_c, lowest, mean_power_w
from engines.records.benchmark import Latency, MachineState, Soak, SoakWindow

WINDOW_SECONDS = 30.0
WINDOWS = 10
"""A short soak has at least so many windows."""
HOT_SHARE = 1 / 3
"""The end of the soak, where the device is as hot as it gets."""

Tell = Callable[[float, Latency], None]
"""Told at each window's end how many seconds are over, and the window's times."""


@dataclass(frozen=True, kw_only=True)
class Frames:
    """When each frame began, and how long it took, in seconds; at least one."""

    begun: float
    """time.perf_counter at the start of the soak."""
    starts: NDArray[np.float64]
    """Since the start of the soak, rising."""
    times: NDArray[np.float64]
    seconds: float
    """How long the soak was to be."""

    def between(self, start: float, end: float) -> NDArray[np.float64]:
        """Times of the frames that began from `start` until before `end`."""
        low, high = np.searchsorted(self.starts, [start, end])
        return self.times[low:high]


def window_seconds(seconds: float) -> float:
    """How long a window of a soak of `seconds` is."""
    return min(WINDOW_SECONDS, seconds / WINDOWS)


def run_frames(frame: Callable[[], object], seconds: float, tell: Tell) -> Frames:
    """Run frames for `seconds`, one at least, and keep when they began and how long they took."""
    starts, times = array("d"), array("d")  # an hour holds some 200 000 of them
    step, told = window_seconds(seconds), 0
    next_window, begun = step, time.perf_counter()
    now = begun
    while now - begun < seconds:
        frame()
        done = time.perf_counter()
        starts.append(now - begun)
        times.append(done - now)
        now = done
        if now - begun >= next_window:
            tell(now - begun, latency(times[told:]))
            told, next_window = len(times), next_window + step
            now = time.perf_counter()
    return Frames(begun=begun, starts=np.array(starts), times=np.array(times), seconds=seconds)


def windows(frames: Frames, sampler: StateSampler) -> tuple[SoakWindow, ...]:
    """The soak in stretches; one in which no frame began is left out."""
    step = window_seconds(frames.seconds)
    edges = [step * number for number in range(math.ceil(frames.seconds / step))] + [math.inf]
    pairs = pairwise(edges)
    return tuple(_window(frames, sampler, *pair) for pair in pairs if len(frames.between(*pair)))


def _window(frames: Frames, sampler: StateSampler, start: float, end: float) -> SoakWindow:
    times = latency(frames.between(start, end))
    readings = sampler.readings(frames.begun + start, frames.begun + end)
    return SoakWindow(
        start_s=start,
        p50_ms=times.p50_ms,
        p99_ms=times.p99_ms,
        count=times.count,
        gpu_clock_min_mhz=lowest(one.gpu_clock_mhz for one in readings),
        temperature_max_c=hottest_c(readings),
        power_mean_w=mean_power_w(readings),
    )


def soak(frames: Frames, sampler: StateSampler, state: MachineState) -> Soak:
    """The record of a soak; `state` is what the machine did during all of it."""
    hot = frames.between((1 - HOT_SHARE) * frames.seconds, np.inf)
    return Soak(
        minutes=frames.seconds / 60,
        windows=windows(frames, sampler),
        # Where one frame takes longer than a third of the soak, the last one is what there is.
        hot=latency(hot if len(hot) else frames.times[-1:]),
        throttle_events=state.throttle_events,
        over_current_events=state.over_current_events,
        throttle_reasons=state.throttle_reasons,
    )
