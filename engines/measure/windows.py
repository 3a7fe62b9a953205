"""Times of single calls in short windows, without those in which others had the processors.

A laptop has a browser and a runner has neighbours. Between two windows the counters of the machine
say what others did in the last one; a window in which they did too much is set aside, whole, and
measuring goes on. Only what *others* did decides: a slow call of the engine's own, throttling and a
drift of the clock stay in, for those a pod has too.
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

from engines.measure.latency import p99_interval_share

WINDOW_SECONDS = 0.1
"""Short beside the bursts of other programs, long beside the ticks of /proc/stat (10 ms)."""

HOPELESS_SECONDS = 3.0
"""After so long with next to no quiet window, measuring on would not help."""
HOPELESS_SHARE = 0.05


class Watch(Protocol):
    """Says what others did in a window."""

    def begin(self) -> None:
        """A window begins."""

    def end(self, seconds: float) -> str | None:
        """The window that took `seconds` is over: what disturbed it, in a word; None if nothing."""


class Watches:
    """Several watches as one; the first that was disturbed speaks, and those after it are not
    asked."""

    def __init__(self, *watches: Watch) -> None:
        self._watches = watches

    def begin(self) -> None:
        """A window begins."""
        for watch in self._watches:
            watch.begin()

    def end(self, seconds: float) -> str | None:
        """What disturbed the window of `seconds`, in a word; None if nothing."""
        said = (watch.end(seconds) for watch in self._watches)
        return next((word for word in said if word is not None), None)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """When there is enough."""

    calls: int
    """Quiet calls, at least."""
    seconds: float
    """Quiet time, at least."""
    max_seconds: float
    """Time in all, at most."""
    p99_interval_share: float | None = None
    """How wide the 95 % interval of the quiet calls' p99 may be, as a part of it; None: any."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """Calls that followed one another, and what others did meanwhile."""

    times: NDArray[np.float64]
    """Of each call, in seconds."""
    seconds: float
    disturbance: str | None
    """In the watch's word; None: the window is quiet."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """All windows of a measurement, in order."""

    windows: Sequence[Window]
    wanted: Wanted

    @cached_property
    def quiet(self) -> Sequence[Window]:
        """Those that count."""
        return [one for one in self.windows if one.disturbance is None]

    @property
    def set_aside(self) -> Counter[str]:
        """How many windows each disturbance cost."""
        return Counter(one.disturbance for one in self.windows if one.disturbance is not None)

    @property
    def seconds(self) -> float:
        """Of all windows."""
        return sum(one.seconds for one in self.windows)

    @property
    def quiet_seconds(self) -> float:
        """Of those that count."""
        return sum(one.seconds for one in self.quiet)

    @property
    def hopeless(self) -> bool:
        """Whether measuring ended early, since next to nothing was quiet."""
        return _hopeless(self.quiet_seconds, self.seconds)

    @property
    def enough(self) -> bool:
        """Whether there are as many quiet calls as wanted. Where time ran out before the wanted
        seconds were quiet, the calls decide."""
        return sum(len(one.times) for one in self.quiet) >= self.wanted.calls

    def times(self) -> NDArray[np.float64]:
        """Times of the quiet calls; of all calls where not enough were quiet, so that there is
        something to look at."""
        chosen = self.quiet if self.enough else self.windows
        return np.concatenate([one.times for one in chosen])


def run_windows(
    call: Callable[[], object],
    wanted: Wanted,
    watch: Watch,
    *,
    settling_calls: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Windows:
    """Call until enough calls were quiet and their p99 is sure enough, the time is over, or it is
    hopeless.

    The watch works between the windows, where nothing is timed; `settling_calls` that are not timed
    either then bring back what its pause changed (warm caches, a full pipeline).
    """
    done: list[Window] = []
    quiet_calls, quiet, total = 0, 0.0, 0.0
    while quiet_calls < wanted.calls or quiet < wanted.seconds or not _p99_is_sure(done, wanted):
        if done and (total >= wanted.max_seconds or _hopeless(quiet, total)):
            break
        for _ in range(settling_calls):
            call()
        watch.begin()
        times, seconds = _calls(call, clock)
        one = Window(times=times, seconds=seconds, disturbance=watch.end(seconds))
        done.append(one)
        total += seconds
        if one.disturbance is None:
            quiet_calls, quiet = quiet_calls + len(times), quiet + seconds
    return Windows(windows=done, wanted=wanted)


def _p99_is_sure(done: Sequence[Window], wanted: Wanted) -> bool:
    if wanted.p99_interval_share is None:
        return True
    times = Windows(windows=done, wanted=wanted).times()
    return p99_interval_share(times) <= wanted.p99_interval_share


def _calls(
    call: Callable[[], object], clock: Callable[[], float]
) -> tuple[NDArray[np.float64], float]:
    """Calls for a window's time, one at least: the time of each, and of all."""
    times = array("d")
    begun = now = clock()
    while now - begun < WINDOW_SECONDS:
        call()
        done = clock()
        times.append(done - now)
        now = done
    return np.array(times), now - begun


def _hopeless(quiet_seconds: float, seconds: float) -> bool:
    return seconds >= HOPELESS_SECONDS and quiet_seconds < HOPELESS_SHARE * seconds
