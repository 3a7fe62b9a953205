"""What other programs did to the processors in a window of time.

Two witnesses. Each thread's own account (`/proc/<pid>/task/<tid>/schedstat`) is exact to the
nanosecond, but a container sees its own threads only. The ticks of /proc/stat count everybody's,
but in steps of 10 ms: of a window of 0.1 s they tell no less than a tenth of one processor.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from engines.machine import ROOT
from engines.machine.sensors.processors import (
    BUSY,
    STEAL,
    ProcessorSensor,
    read_other_threads,
    wait_share,
)
from engines.machine.sensors.reading import Counters, Events, grown
from engines.records.record import Part

TICK_SECONDS = 0.01
"""USER_HZ of Linux."""
LEAST_TICKS = 2
"""One tick may be our own, and one that of the moment between two readings."""
SLIGHT_PART = 0.25
"""Of what others may have in a window that counts. Of 0.1 s of two cores, 2 % are 4 ms: they slow a
call of 3 ms so much that one such call in each third window is the p99. With a quarter of it, what
others do in a window hardly shows in any call."""


class Limits(Part):
    """What others may have in a window that counts, 0 to 1."""

    steal_share: float
    """Of the processors' time, given to others by the hypervisor."""
    others_share: float
    """Of the processors' time, used by other programs."""
    wait_share: float
    """Of our threads' time, ready but waiting for a processor. They wait for each other too."""
    clock_share: float | None = None
    """Of the higher one, between the GPU's clocks at both ends; None: they are not compared."""


class Neighbours:
    """Watches the processors `cpus` for other programs (see `WindowWatch` of `windows`)."""

    def __init__(self, limits: Limits, cpus: Iterable[int], root: Path = ROOT) -> None:
        self._limits = limits
        self._cpus = sorted(cpus)
        self._root = root
        self._sensor = ProcessorSensor(root, self._cpus)
        self.slight: str | None = None
        """What disturbed the last window by more than a part of the limits: `steal` or `others`."""

    def begin(self) -> None:
        """A window begins."""
        self._other_threads = read_other_threads(self._root)
        self._counters = self._sensor.count()

    def end(self, seconds: float) -> str | None:
        """What disturbed the window of `seconds`: `steal`, `others` or `wait`; None if nothing."""
        counters = self._sensor.count()
        others = read_other_threads(self._root)
        limits, room = self._limits, seconds * len(self._cpus)
        ticks = _ticks(self._counters, counters)
        self.slight = self._slight(ticks, _seconds(self._other_threads, others) / room)
        if ticks is not None and _beyond(ticks[0], room, limits.steal_share):
            return "steal"
        if _part(_seconds(self._other_threads, others), room) > limits.others_share:
            return "others"
        if ticks is not None and _beyond(ticks[1], room, limits.others_share):
            return "others"
        waited = wait_share(self._counters, counters)
        return "wait" if waited is not None and waited > limits.wait_share else None

    def _slight(self, ticks: tuple[int, int] | None, share: float) -> str | None:
        if ticks is not None and ticks[0]:
            return "steal"
        unseen = ticks is not None and ticks[1] > LEAST_TICKS
        return "others" if unseen or share > SLIGHT_PART * self._limits.others_share else None


def _seconds(start: Events, end: Events) -> float:
    return grown(start, end) / 1e9


def _ticks(start: Counters, end: Counters) -> tuple[int, int] | None:
    """Ticks that the hypervisor gave to others, and that other programs used."""
    if start.ticks is None or end.ticks is None:
        return None
    passed = end.ticks - start.ticks
    own = (end.own_ticks or 0) - (start.own_ticks or 0)
    return int(passed[STEAL]), int(passed[list(BUSY)].sum()) - own


def _beyond(ticks: int, room: float, share: float) -> bool:
    return ticks > LEAST_TICKS and _part(ticks * TICK_SECONDS, room) > share


def _part(seconds: float, room: float) -> float:
    """At most all of it, which a limit of 1 lets others have: on a busy machine the counters are
    read late, and say more than the window was long."""
    return min(seconds / room, 1.0)
