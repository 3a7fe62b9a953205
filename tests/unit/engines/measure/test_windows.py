"""Windows: what others did is set aside, what the engine did itself stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.measure.latency import p99_interval_share
from engines.measure.windows import (
    HOPELESS_SECONDS,
    WINDOW_SECONDS,
    Wanted,
    Watches,
    Windows,
    run_windows,
)

SECOND_OF_CALL = 1 / 64
"""Sums of it are exact; seven calls are a window."""


class Clock:
    """Time that only the calls take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A watch that says of the windows, in turn, what it was told to; then that they are quiet."""

    def __init__(self, *disturbances: str | None) -> None:
        self._left = list(disturbances)
        self.seconds: list[float] = []

    def begin(self) -> None:
        self.seconds.append(0.0)

    def end(self, seconds: float) -> str | None:
        self.seconds[-1] = seconds
        return self._left.pop(0) if self._left else None


def run(
    watch: Script,
    wanted: Wanted,
    seconds_of: Callable[[int], float] = lambda number: SECOND_OF_CALL,
) -> Windows:
    clock, calls = Clock(), iter(range(1_000_000))

    def call() -> None:
        clock.now += seconds_of(next(calls))

    return run_windows(call, wanted, watch, clock=clock)


def wanted(calls: int = 20, seconds: float = 0.2, max_seconds: float = 2.0) -> Wanted:
    return Wanted(calls=calls, seconds=seconds, max_seconds=max_seconds)


def test_an_idle_machine_gives_all_that_was_measured() -> None:
    found = run(Script(), wanted())
    assert found.enough
    assert found.quiet_seconds == found.seconds
    assert len(found.times()) == sum(len(one.times) for one in found.windows)
    assert not found.set_aside


def test_of_several_watches_the_first_that_was_disturbed_speaks() -> None:
    first, second = Script(None, "others", "wait"), Script("gpu", None)
    watches = Watches(first, second)
    said = []
    for _ in range(4):
        watches.begin()
        said.append(watches.end(0.1))
    # The second was not asked about windows that were disturbed already.
    assert said == ["gpu", "others", "wait", None]
    assert [one.count(0.1) for one in (first.seconds, second.seconds)] == [4, 2]


def test_a_disturbed_window_is_set_aside_whole_and_made_up_for() -> None:
    slow = range(8, 13)  # the second window, in which somebody else had a processor
    found = run(Script(None, "others"), wanted(), lambda number: (1 + (number in slow)) / 64)
    assert found.set_aside == {"others": 1}
    assert found.enough
    assert found.times().max() == SECOND_OF_CALL
    assert len(found.times()) >= 20


def test_the_engines_own_slow_calls_stay_in_the_p99() -> None:
    found = run(
        Script(None, "steal"),
        wanted(calls=300, seconds=1, max_seconds=60),
        lambda number: 0.08 if number % 50 == 0 else 0.01,
    )
    assert np.percentile(found.times(), 99) > 0.07


def test_calls_that_settle_are_not_timed() -> None:
    clock, durations = Clock(), iter([0.5, 0.25] + [0.015625] * 1000)

    def call() -> None:
        clock.now += next(durations)

    found = run_windows(call, wanted(), Script(), settling_calls=2, clock=clock)
    assert set(found.times()) == {0.015625}
    # Two before each window, all others in one.
    assert clock.now - found.seconds == 0.75 + 2 * 0.015625 * (len(found.windows) - 1)


def test_a_drift_of_the_engines_own_stays() -> None:
    found = run(
        Script("wait"),
        wanted(calls=100, seconds=1, max_seconds=60),
        lambda number: 0.01 * (1 + number / 100),
    )
    times = found.times()
    assert times[-1] > 1.5 * times[0]


def some_slow(number: int) -> float:
    """A call in 32 takes twice as long, and one in 256 twenty times: seconds."""
    return SECOND_OF_CALL * (20 if number % 256 == 99 else 2 if number % 32 == 9 else 1)


def test_it_goes_on_until_the_p99_is_sure() -> None:
    unsure = wanted(calls=300, seconds=0.2, max_seconds=600)
    few = run(Script(), unsure, some_slow).times()
    assert p99_interval_share(few) > 1
    found = run(Script(), replace(unsure, p99_interval_share=1.0), some_slow)
    assert found.enough
    assert p99_interval_share(found.times()) <= 1
    assert len(few) < len(found.times())


def test_without_a_sure_p99_it_ends_when_the_time_is_over() -> None:
    never = replace(wanted(calls=300, max_seconds=30.0), p99_interval_share=0.0)
    found = run(Script(), never, lambda number: SECOND_OF_CALL * (1 + number / 1e4))
    assert found.enough  # of calls: the p99 is judged by whoever reads them
    assert found.seconds >= 30.0


def test_it_ends_when_the_time_is_over() -> None:
    found = run(Script(*["others", None] * 100), wanted(calls=10_000, max_seconds=2.0))
    assert not found.enough
    assert 2.0 <= found.seconds <= 2.0 + WINDOW_SECONDS + SECOND_OF_CALL
    assert 0.4 < found.quiet_seconds / found.seconds < 0.6


def test_without_a_quiet_window_it_soon_gives_up_and_shows_what_there_was() -> None:
    found = run(Script(*["others"] * 10_000), wanted(max_seconds=600))
    assert not found.enough
    assert found.seconds <= HOPELESS_SECONDS + WINDOW_SECONDS + SECOND_OF_CALL
    assert len(found.times()) == sum(len(one.times) for one in found.windows)


def test_calls_in_disturbed_windows_count_for_nothing() -> None:
    found = run(Script(*["others"] * 5), wanted(calls=20, seconds=0, max_seconds=60))
    assert found.enough
    assert len(found.quiet) == 3  # of seven calls each
    assert found.set_aside == {"others": 5}


def test_a_fifth_of_quiet_time_is_no_reason_to_give_up() -> None:
    mostly_busy = Script(*(["others"] * 4 + [None]) * 100)
    found = run(mostly_busy, wanted(calls=100, max_seconds=60))
    assert found.seconds > HOPELESS_SECONDS
    assert found.enough


def test_a_call_longer_than_a_window_is_a_window_of_its_own() -> None:
    watch = Script()
    found = run(watch, wanted(calls=3, seconds=0), lambda number: 0.5)
    assert [len(one.times) for one in found.windows] == [1, 1, 1]
    assert watch.seconds == [0.5, 0.5, 0.5]


@given(
    said=st.lists(st.sampled_from([None, "others", "steal", "wait"]), max_size=60),
    calls=st.integers(1, 100),
    seconds=st.floats(0.0, 2.0),
)
def test_whatever_others_do(said: Sequence[str | None], calls: int, seconds: float) -> None:
    found = run(Script(*said), wanted(calls=calls, seconds=seconds, max_seconds=4.0))
    count = len(found.windows)
    told = [*said, *[None] * count][:count]
    assert [one.disturbance for one in found.windows] == told
    assert sum(found.set_aside.values()) == count - told.count(None)
    quiet = [one for one, disturbance in zip(found.windows, told, strict=True) if not disturbance]
    if found.enough:
        assert found.times().tolist() == [t for one in quiet for t in one.times.tolist()]
        assert len(found.times()) >= calls
    assert found.seconds <= 4.0 + WINDOW_SECONDS + SECOND_OF_CALL
