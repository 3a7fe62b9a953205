"""What sensors say, and the files that they read it from."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Threads = dict[str, tuple[int, int]]
"""Thread id to nanoseconds on a processor, and nanoseconds ready but waiting for one."""

Events = dict[str, int]
"""A counter's name to what it says."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One moment; nothing or None: the sensor does not say."""

    clocks_mhz: tuple[float, ...] = ()
    """Of the processors."""
    temperatures_c: tuple[float, ...] = ()
    """Of all zones, the card's among them."""
    gpu_temperature_c: float | None = None
    """Of a card; a Jetson's GPU is one of its zones."""
    gpu_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    power_w: float | None = None
    gpu_busy_percent: float | None = None
    """Part of the latest moment in which the GPU worked."""
    gpu_memory_mib: float | None = None
    """Taken by all programs; on a Jetson that of the whole machine."""
    throttle_reasons: frozenset[str] = frozenset()
    other_gpu_processes: frozenset[int] = frozenset()
    """Ids of the processes that compute on the card, but this one."""


@dataclass(frozen=True, kw_only=True)
class Counters:
    """What only grows, to be read before and after; None: the sensor does not count that."""

    ticks: NDArray[np.int64] | None = None
    """Time of the processors by kind, shape (8,), in ticks."""
    own_ticks: int | None = None
    """Of this process."""
    threads: Threads | None = None
    throttles: Events | None = None
    quota_throttles: Events | None = None
    """Of the control groups of this process."""
    over_currents: Events | None = None
    energy_mj: float | None = None


class Sensor(Protocol):
    """One source of readings and counters. Reading never raises."""

    def read(self) -> Reading:
        """What changes from moment to moment."""

    def count(self) -> Counters:
        """What only grows."""

    def close(self) -> None:
        """Free what the sensor holds."""


def read_all(sensors: Iterable[Sensor]) -> Reading:
    """One reading of all sensors; the first that says a thing is believed."""
    readings = [sensor.read() for sensor in sensors]
    return Reading(
        clocks_mhz=tuple(value for one in readings for value in one.clocks_mhz),
        temperatures_c=tuple(value for one in readings for value in one.temperatures_c),
        gpu_temperature_c=_first(one.gpu_temperature_c for one in readings),
        gpu_clock_mhz=_first(one.gpu_clock_mhz for one in readings),
        memory_clock_mhz=_first(one.memory_clock_mhz for one in readings),
        power_w=_first(one.power_w for one in readings),
        gpu_busy_percent=_first(one.gpu_busy_percent for one in readings),
        gpu_memory_mib=_first(one.gpu_memory_mib for one in readings),
        throttle_reasons=frozenset().union(*(one.throttle_reasons for one in readings)),
        other_gpu_processes=frozenset().union(*(one.other_gpu_processes for one in readings)),
    )


def count_all(sensors: Iterable[Sensor]) -> Counters:
    """The counters of all sensors; the first that counts a thing is believed."""
    counted = [sensor.count() for sensor in sensors]
    return Counters(
        **{
            field.name: _first(getattr(one, field.name) for one in counted)
            for field in fields(Counters)
        }
    )


def _first(values: Iterable[Any]) -> Any:
    return next((value for value in values if value is not None), None)


def rise(start: Events | None, end: Events | None) -> int | None:
    """How far the counters that are there at both ends rose in all; None where there are none.

    One that came or went is not known to have stood still: what the others rose by is a fact all
    the same, but that nothing rose is None then. One that is below its start began anew (a driver
    was loaded again), so all that it says is new.
    """
    if not start or end is None:
        return None
    both = start.keys() & end.keys()
    risen = sum(end[name] - start[name] if end[name] >= start[name] else end[name] for name in both)
    return risen if risen or start.keys() == end.keys() else None


def grown(start: Events, end: Events) -> int:
    """How far counters rose in all that may come and go, as threads do: a new one began at 0."""
    return sum(value - start.get(name, 0) for name, value in end.items())


def find(root: Path, pattern: str) -> list[Path]:
    """Files below `root`, those whose folder goes while it is read left out: processes and devices
    come and go. `Path.glob` raises then."""
    found = glob.glob(f"{glob.escape(str(root))}/{pattern}")  # noqa: PTH207 see above
    return [Path(path) for path in sorted(found)]


def read_text(path: Path) -> str:
    """The content, or nothing: a thread may end, and a sensor may refuse, while we read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return ""


def read_number(path: Path | None) -> int | None:
    """The whole number that is all of a file's content."""
    text = "" if path is None else read_text(path)
    # isdecimal, since int() refuses what isdigit takes: ² and its like.
    return int(text) if text.removeprefix("-").isdecimal() else None


def read_numbers(paths: Iterable[Path]) -> tuple[int, ...]:
    """The numbers of those files that hold one."""
    return tuple(value for value in map(read_number, paths) if value is not None)


def read_events(paths: Iterable[Path]) -> Events:
    """Counters by path; those that cannot be read are left out."""
    found = ((str(path), read_number(path)) for path in paths)
    return {path: value for path, value in found if value is not None}


def read_memory_used_mib(root: Path) -> float | None:
    """What is taken of the machine's memory, in MiB: MemTotal less MemAvailable of proc(5)."""
    kib = read_memory_kib(root)
    total, available = kib.get("MemTotal"), kib.get("MemAvailable")
    return None if total is None or available is None else (total - available) / 1024


def read_memory_kib(root: Path) -> dict[str, int]:
    """The numbers of /proc/meminfo by their names; none where it cannot be read."""
    lines = (line.partition(":") for line in read_text(root / "proc/meminfo").splitlines())
    words = {name: value.split() for name, _, value in lines}
    return {name: int(one[0]) for name, one in words.items() if one and one[0].isdecimal()}
