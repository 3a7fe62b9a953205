"""Times of single calls in short windows, without those in which others had the processors.

A laptop has a browser and a runner has neighbours. Between two windows the counters of the machine
say what others did in the last one; a window in which they did too much is set aside, whole, and
measuring goes on. Only what *others* did decides: a slow call of the engine's own, throttling and a
drift of the clock stay in, for those a pod has too.

A p99 hangs on single calls: where it has to be sure, those windows count in which others had next
to nothing, as long as there are enough of them.
"""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engines.measure.latency import drift_share, p99_interval_share

WINDOW_SECONDS = 0.1
"""Short beside the bursts of other programs, long beside the ticks of /proc/stat (10 ms)."""

HOPELESS_SECONDS = 3.0
"""After so long with next to no quiet window, measuring on would not help."""
HOPELESS_SHARE = 0.05


class WindowWatch(Protocol):
    """Says what others did in a window."""

    def begin(self) -> None:
        """A window begins."""

    def end(self, seconds: float) -> str | None:
        """The window that took `seconds` is over: what disturbed it, in a word; None if nothing."""

    @property
    def slight(self) -> str | None:
        """What disturbed that window by less, in a word; None: it was calm."""


class Watches:
    """Several watches as one; the first that was disturbed speaks, and those after it are not
    asked."""

    def __init__(self, *watches: WindowWatch) -> None:
        self._watches = watches

    def begin(self) -> None:
        """A window begins."""
        for watch in self._watches:
            watch.begin()

    def end(self, seconds: float) -> str | None:
        """What disturbed the window of `seconds`, in a word; None if nothing."""
        said = (watch.end(seconds) for watch in self._watches)
        return next((word for word in said if word is not None), None)

    @property
    def slight(self) -> str | None:
        """What disturbed a window a little that no watch called disturbed."""
        return next((one.slight for one in self._watches if one.slight is not None), None)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """When there is enough."""

    calls: int
    """Quiet calls, at least."""
    seconds: float
    """Quiet time, at least."""
    max_seconds: float
    """Time in all, at most, while too little is quiet."""
    settle_seconds: float | None = None
    """Time in all, at most, once enough is quiet but not as sure or steady as wanted; None: as long
    as `max_seconds`."""
    p99_interval_share: float | None = None
    """How wide the 95 % interval of the calls' p99 may be, as a part of it; None: any."""
    drift_share: float | None = None
    """How far the calls may drift (see `drift_share`); None: as they like."""
    calm: bool = False
    """Whether calls of calm windows are wanted; quiet ones will do where there are next to none."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Calls that followed one another, and what others did meanwhile."""

    times: NDArray[np.float64]
    """Of each call, in seconds."""
    parts: NDArray[np.float64]
    """What a part of each call took, in seconds; empty where no part is timed."""
    seconds: float
    disturbance: str | None
    """In the watch's word; None: the window is quiet."""
    slight: str | None = None
    """In the watch's word; None: it is calm, if it is quiet."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """All windows of a measurement, in order."""

    windows: Sequence[Window]
    wanted: Wanted

    @cached_property
    def quiet(self) -> Sequence[Window]:
        """Those that others did not disturb."""
        return [one for one in self.windows if one.disturbance is None]

    @cached_property
    def calm(self) -> Sequence[Window]:
        """Those in which others did next to nothing."""
        return [one for one in self.quiet if one.slight is None]

    @cached_property
    def counted(self) -> Sequence[Window]:
        """Those whose calls are the figures: the calm ones where such are wanted and have the
        wanted calls, else the quiet ones."""
        return self.calm if self._calm_suffice else self.quiet

    @cached_property
    def _calm_suffice(self) -> bool:
        return self.wanted.calm and _count(self.calm) >= self.wanted.calls

    @property
    def set_aside(self) -> Counter[str]:
        """How many windows each disturbance cost."""
        words = (
            one.disturbance or (one.slight if self._calm_suffice else None) for one in self.windows
        )
        return Counter(word for word in words if word is not None)

    @property
    def seconds(self) -> float:
        """Of all windows."""
        return _seconds(self.windows)

    @property
    def quiet_seconds(self) -> float:
        """Of those that count."""
        return _seconds(self.counted)

    @property
    def enough(self) -> bool:
        """Whether there are as many quiet calls as wanted. Where time ran out before the wanted
        seconds were quiet, the calls decide."""
        return _count(self.quiet) >= self.wanted.calls

    def times(self) -> NDArray[np.float64]:
        """Times of the calls that count; of all calls where not enough were quiet, so that there is
        something to look at."""
        return np.concatenate([one.times for one in self._shown])

    def parts(self) -> NDArray[np.float64]:
        """What a part of the same calls took."""
        return np.concatenate([one.parts for one in self._shown])

    @property
    def _shown(self) -> Sequence[Window]:
        return self.counted if self.enough else self.windows


def run_windows(
    call: Callable[[], object],
    wanted: Wanted,
    watch: WindowWatch,
    *,
    part: Callable[[], float] | None = None,
    settling_calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Windows:
    """Call until enough calls were quiet, their p99 is sure enough and they do not drift; or until
    the time is over, or it is hopeless. All calls of the windows that count are kept: going on adds
    to them and takes none away.

    `part`: says after a call what a part of it took, in seconds. The watch works between the
    windows, where nothing is timed; `settling_calls` that are not timed either then bring back what
    its pause changed (warm caches, a full pipeline).
    """
    done: list[Window] = []
    while not (done and _is_over(Windows(windows=done, wanted=wanted))):
        for _ in range(settling_calls):
            call()
        watch.begin()
        times, parts, seconds = _calls(call, part, clock)
        said = watch.end(seconds)
        done.append(
            Window(times=times, parts=parts, seconds=seconds, disturbance=said, slight=watch.slight)
        )
    return Windows(windows=done, wanted=wanted)


def _is_over(found: Windows) -> bool:
    total, wanted = found.seconds, found.wanted
    if total >= wanted.max_seconds or _hopeless(found.quiet, total):
        return True
    wants_calm = wanted.calm and not _hopeless(found.calm, total)
    windows = found.calm if wants_calm else found.quiet
    if _count(windows) < wanted.calls or _seconds(windows) < wanted.seconds:
        return False
    return _settled(windows, wanted) or total >= (wanted.settle_seconds or wanted.max_seconds)


def _settled(windows: Sequence[Window], wanted: Wanted) -> bool:
    times = np.concatenate([one.times for one in windows])
    return _within(p99_interval_share, times, wanted.p99_interval_share) and _within(
        drift_share, times, wanted.drift_share
    )


def _within(
    share: Callable[[NDArray[np.float64]], float],
    times: NDArray[np.float64],
    limit: float | None,
) -> bool:
    return limit is None or share(times) <= limit


def _count(windows: Sequence[Window]) -> int:
    return sum(len(one.times) for one in windows)


def _seconds(windows: Sequence[Window]) -> float:
    return sum(one.seconds for one in windows)


def _calls(
    call: Callable[[], object], part: Callable[[], float] | None, clock: Callable[[], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Calls for a window's time, one at least: the time of each, of its part, and of all."""
    times, parts = array("d"), array("d")
    begun = now = clock()
    while now - begun < WINDOW_SECONDS:
        call()
        done = clock()
        times.append(done - now)
        now = done
        if part is not None:
            parts.append(part())
    return np.array(times), np.array(parts), now - begun


def _hopeless(windows: Sequence[Window], seconds: float) -> bool:
    return seconds >= HOPELESS_SECONDS and _seconds(windows) < HOPELESS_SHARE * seconds
