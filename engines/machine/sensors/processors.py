"""The processors, from /proc and /sys: who used their time, clocks, temperatures, throttling."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.machine.sensors.quota import read_quota_throttles
from engines.machine.sensors.reading import (
    Counters,
    Events,
    Reading,
    Threads,
    find,
    read_events,
    read_numbers,
    read_text,
)

TICKS = 8
"""Columns of /proc/stat that add up to all of a processor's time: user to steal (proc(5)); the two
guest columns after them are contained in user and nice."""
STEAL = 7
BUSY = (0, 1, 2, 5, 6)
"""user, nice, system, irq and softirq: a processor worked."""

COLDEST_C = -50.0
"""A thermal zone of a Jetson that is switched off says -256 °C."""


class ProcessorSensor:
    """The processors `cpus`, and the thermal zones of the machine."""

    def __init__(self, root: Path, cpus: Iterable[int]) -> None:
        self._root = root
        self._cpus = sorted(cpus)
        self._clocks = self._files("cpufreq/scaling_cur_freq")
        self._throttles = self._files("thermal_throttle/*_throttle_count")
        self._zones = find(root, "sys/class/thermal/thermal_zone*/temp")

    def read(self) -> Reading:
        """Clocks come in kHz, temperatures in thousandths of a degree."""
        celsius = (milli / 1e3 for milli in read_numbers(self._zones))
        return Reading(
            clocks_mhz=tuple(khz / 1e3 for khz in read_numbers(self._clocks)),
            temperatures_c=tuple(value for value in celsius if value > COLDEST_C),
        )

    def count(self) -> Counters:
        """Ticks, nanoseconds and throttle events since the machine started."""
        return Counters(
            ticks=_read_ticks(self._root, self._cpus),
            own_ticks=_read_own_ticks(self._root),
            threads=_read_threads(self._root),
            throttles=read_events(self._throttles),
            quota_throttles=read_quota_throttles(self._root),
        )

    def close(self) -> None:
        """Nothing is held."""

    def _files(self, pattern: str) -> list[Path]:
        folder = self._root / "sys/devices/system/cpu"
        return [path for cpu in self._cpus for path in sorted(folder.glob(f"cpu{cpu}/{pattern}"))]


def steal_share(start: Counters, end: Counters) -> float | None:
    """Part of the processors' time that the hypervisor gave to others."""
    passed = _passed(start, end)
    return None if passed is None else float(passed[STEAL] / passed.sum())


def others_share(start: Counters, end: Counters) -> float | None:
    """Part of the processors' time that other programs used: all work less our own."""
    passed = _passed(start, end)
    if passed is None or start.own_ticks is None or end.own_ticks is None:
        return None
    used = int(passed[list(BUSY)].sum()) - (end.own_ticks - start.own_ticks)
    return max(0.0, float(used / passed.sum()))


def wait_share(start: Counters, end: Counters) -> float | None:
    """Part of our threads' time that they were ready but waited for a processor."""
    begin, threads = start.threads or {}, end.threads or {}
    run = sum(value[0] - begin.get(thread, (0, 0))[0] for thread, value in threads.items())
    wait = sum(value[1] - begin.get(thread, (0, 0))[1] for thread, value in threads.items())
    return wait / (run + wait) if run > 0 else None


def _passed(start: Counters, end: Counters) -> NDArray[np.int64] | None:
    """Ticks between the two, shape (8,); None where they cannot be read or none passed."""
    if start.ticks is None or end.ticks is None:
        return None
    passed = end.ticks - start.ticks
    return passed if passed.sum() > 0 else None


def _read_ticks(root: Path, cpus: Sequence[int]) -> NDArray[np.int64] | None:
    wanted = {f"cpu{cpu}" for cpu in cpus}
    rows = [
        [int(field) for field in line.split()[1 : 1 + TICKS]]
        for line in read_text(root / "proc/stat").splitlines()
        if line.split()[:1] and line.split()[0] in wanted
    ]
    return np.array(rows, np.int64).sum(axis=0) if rows and len(rows[0]) == TICKS else None


def _read_own_ticks(root: Path) -> int | None:
    """Ticks that this process used in user and kernel mode: fields 14 and 15 of proc(5)'s stat, of
    which the second, the name, may hold spaces."""
    fields = read_text(root / "proc/self/stat").rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]) if len(fields) > 12 else None


def read_other_threads(root: Path) -> Events:
    """Nanoseconds on a processor of each thread of other programs, by process and thread. In a
    container only the container's own are seen."""
    # With `os` and not with `find`: a desktop has a thousand threads, and this is between windows.
    proc, own = os.fspath(root / "proc"), str(os.getpid())
    found = {}
    for process in _numbers(proc):
        tasks = f"{proc}/{process}/task"
        for thread in _numbers(tasks) if process != own else ():
            if fields := _read_bytes(f"{tasks}/{thread}/schedstat").split():
                found[f"{process}/{thread}"] = int(fields[0])
    return found


def _numbers(folder: str) -> list[str]:
    """Entries that are numbers; none where the process has ended meanwhile."""
    try:
        return [name for name in os.listdir(folder) if name.isdecimal()]  # noqa: PTH208 see above
    except OSError:
        return []


def _read_bytes(path: str) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(file, 128)
    except OSError:
        return b""
    finally:
        os.close(file)


def _read_threads(root: Path) -> Threads:
    found = {}
    for path in find(root, "proc/self/task/*/schedstat"):
        fields = read_text(path).split()
        if len(fields) >= 2:
            found[path.parent.name] = (int(fields[0]), int(fields[1]))
    return found
