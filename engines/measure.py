"""Times, and what the machine did while they were taken.

Everything is read from files below a root that tests replace with a tree of their own; what cannot
be read is None, which is not a reason to distrust a measurement.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from engines.config import BenchmarkRow
from engines.records import Latency, MachineState

ROOT = Path("/")
SAMPLE_SECONDS = 0.2
TICKS = 8
"""Columns of /proc/stat that add up to all of a processor's time: user to steal (proc(5)); the two
guest columns after them are contained in user and nice."""
STEAL = 7
BUSY = (0, 1, 2, 5, 6)
"""user, nice, system, irq and softirq: a processor worked."""

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

    Counters are read at both ends. Clocks and temperatures are read five times a second by a thread
    of its own, which is not started where there are none.
    """

    def __init__(self, root: Path = ROOT, *, cpus: Iterable[int] | None = None) -> None:
        """`cpus`: the processors to watch; those that this process may use, when not given."""
        self._root = root
        self._cpus = sorted(os.sched_getaffinity(0) if cpus is None else cpus)
        self._clocks = self._files("cpufreq/scaling_cur_freq")
        self._throttles = self._files("thermal_throttle/*_throttle_count")
        self._zones = sorted(root.glob("sys/class/thermal/thermal_zone*/temp"))
        self._mhz: list[float] = []
        self._celsius: list[float] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._start = self._counters()
        self._sample()
        if self._clocks or self._zones:
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
        self._end = self._counters()

    def state(self, drift: float) -> MachineState:
        """What the machine did in the block; `drift` is the `drift_share` of the times."""
        return MachineState(
            steal_share=_steal_share(self._start.ticks, self._end.ticks),
            others_share=_others_share(self._start, self._end),
            run_queue_wait_share=_wait_share(self._start.threads, self._end.threads),
            drift_share=drift,
            clock_min_mhz=min(self._mhz, default=None),
            clock_max_mhz=max(self._mhz, default=None),
            throttle_events=_events(self._start.throttles, self._end.throttles),
            temperature_max_c=max(self._celsius, default=None),
        )

    def _files(self, pattern: str) -> list[Path]:
        folder = self._root / "sys/devices/system/cpu"
        return [path for cpu in self._cpus for path in sorted(folder.glob(f"cpu{cpu}/{pattern}"))]

    def _counters(self) -> _Counters:
        return _Counters(
            ticks=_read_ticks(self._root, self._cpus),
            own=_read_own_ticks(self._root),
            threads=_read_threads(self._root),
            throttles=_read_numbers(self._throttles),
        )

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            self._sample()

    def _sample(self) -> None:
        self._mhz += [khz / 1e3 for khz in _read_numbers(self._clocks)]
        self._celsius += [milli / 1e3 for milli in _read_numbers(self._zones)]


def invalid_reasons(state: MachineState, row: BenchmarkRow) -> tuple[str, ...]:
    """Why a measurement cannot be trusted, each with what to do; none when it can."""
    shares = (
        (
            state.steal_share,
            row.max_steal_share,
            "of the processors' time was taken by the hypervisor",
            "Measure when the host is less loaded, or on a machine of its own.",
        ),
        (
            state.others_share,
            row.max_others_share,
            "of the processors' time was used by other programs",
            "Stop other programs on this machine and measure again.",
        ),
        (
            state.run_queue_wait_share,
            row.max_run_queue_wait_share,
            "of the measuring threads' time was spent waiting for a processor",
            "Stop other programs on this machine and measure again.",
        ),
        (
            state.drift_share,
            row.max_drift_share,
            "lies between the medians of the first and the last third of the times",
            "Let the machine settle (clock, temperature, other programs) and measure again.",
        ),
    )
    reasons = [
        f"{share:.1%} {what}; the limit is {limit:.1%}. {todo}"
        for share, limit, what, todo in shares
        if share is not None and share > limit
    ]
    if state.throttle_events:
        reasons.append(
            f"The processors' throttle counters rose by {state.throttle_events}; the limit is 0. "
            "Cool the machine and measure again."
        )
    hottest = state.temperature_max_c
    if hottest is not None and hottest > row.max_temperature_c:
        reasons.append(
            f"The machine reached {hottest:.0f} °C; the limit is {row.max_temperature_c:.0f} °C. "
            "Cool it and measure again."
        )
    return tuple(reasons)


def peak_memory_mib(root: Path = ROOT) -> float:
    """The largest resident memory that this process has had so far, in MiB."""
    for line in (root / "proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"expected VmHWM in {root}/proc/self/status, came none")


# --- reading -----------------------------------------------------------------------------------

Threads = dict[str, tuple[int, int]]
"""Thread id to nanoseconds on a processor, and nanoseconds ready but waiting for one."""


class _Counters:
    def __init__(
        self,
        *,
        ticks: NDArray[np.int64],
        own: int | None,
        threads: Threads,
        throttles: list[float],
    ) -> None:
        self.ticks = ticks
        self.own = own
        self.threads = threads
        self.throttles = throttles


def _read_ticks(root: Path, cpus: Sequence[int]) -> NDArray[np.int64]:
    """Time of the processors by kind, shape (8,), in ticks; empty where it cannot be read."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    rows = [
        [int(field) for field in line.split()[1 : 1 + TICKS]]
        for line in _read_text(root / "proc/stat").splitlines()
        if line.split()[:1] and line.split()[0] in wanted
    ]
    return np.array(rows, np.int64).sum(axis=0) if rows else np.zeros(0, np.int64)


def _read_own_ticks(root: Path) -> int | None:
    """Ticks that this process used in user and kernel mode: fields 14 and 15 of proc(5)'s stat, of
    which the second, the name, may hold spaces."""
    fields = _read_text(root / "proc/self/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if len(fields) > 12 else None


def _read_threads(root: Path) -> Threads:
    found = {}
    for path in root.glob("proc/self/task/*/schedstat"):
        fields = _read_text(path).split()
        if len(fields) >= 2:
            found[path.parent.name] = (int(fields[0]), int(fields[1]))
    return found


def _read_numbers(paths: Iterable[Path]) -> list[float]:
    texts = (_read_text(path).strip() for path in paths)
    return [float(text) for text in texts if text.lstrip("-").isdigit()]


def _read_text(path: Path) -> str:
    """The content, or nothing: a thread may end, and a sensor may refuse, while we read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def _steal_share(start: NDArray[np.int64], end: NDArray[np.int64]) -> float | None:
    if len(start) <= STEAL or len(end) <= STEAL:
        return None
    passed = end - start
    return float(passed[STEAL] / passed.sum()) if passed.sum() > 0 else None


def _others_share(start: _Counters, end: _Counters) -> float | None:
    if start.own is None or end.own is None or len(start.ticks) <= STEAL:
        return None
    passed = end.ticks - start.ticks
    used = int(passed[list(BUSY)].sum()) - (end.own - start.own)
    return max(0.0, float(used / passed.sum())) if passed.sum() > 0 else None


def _wait_share(start: Threads, end: Threads) -> float | None:
    run = sum(value[0] - start.get(thread, (0, 0))[0] for thread, value in end.items())
    wait = sum(value[1] - start.get(thread, (0, 0))[1] for thread, value in end.items())
    return wait / (run + wait) if run > 0 else None


def _events(start: list[float], end: list[float]) -> int | None:
    return int(sum(end) - sum(start)) if start and len(start) == len(end) else None
