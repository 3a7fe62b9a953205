"""Windows: what others did is set aside, what the engine did itself stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engines.measure.latency import drift_share, p99_interval_share
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


SLIGHTLY = "slightly others"


class Clock:
    """Time that only the calls take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Script:
    """A watch that says of the windows, in turn, what it was told to; then that they are quiet.
    `slightly others` says that of a window that is quiet and not calm."""

    def __init__(self, *disturbances: str | None) -> None:
        self._left = list(disturbances)
        self.seconds: list[float] = []
        self.slight: str | None = None

    def begin(self) -> None:
        self.seconds.append(0.0)

    def end(self, seconds: float) -> str | None:
        self.seconds[-1] = seconds
        said = self._left.pop(0) if self._left else None
        self.slight = said and said.removeprefix("slightly ")
        return None if said == SLIGHTLY else said


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


def test_it_goes_on_until_the_times_no_longer_drift_and_keeps_them_all() -> None:
    """Twice as slow for the first ten calls: a third of the first ones that are enough, and of all
    in the end too few to be the median of a third."""
    settling = replace(wanted(calls=20, seconds=0, max_seconds=600), drift_share=0.1)
    slow_at_first = lambda number: SECOND_OF_CALL * (1 + (number < 10))  # noqa: E731
    few = run(Script(), replace(settling, drift_share=None), slow_at_first).times()
    assert drift_share(few) > 0.1
    found = run(Script(), settling, slow_at_first)
    assert drift_share(found.times()) <= 0.1
    assert len(few) < len(found.times())
    assert found.times()[: len(few)].tolist() == few.tolist()


def test_times_that_drift_all_the_while_end_with_their_drift() -> None:
    """A processor that gets hotter and slower, one that is held back from some moment on: what
    there is when the time is over is all in, and the drift is judged by whoever reads it."""
    limits = replace(wanted(calls=20, seconds=0, max_seconds=20.0), drift_share=0.1)
    warmer = run(Script(), limits, lambda number: SECOND_OF_CALL * (1 + number / 16))
    assert warmer.seconds >= 20.0
    assert drift_share(warmer.times()) > 0.1
    held_back = run(Script(), limits, lambda number: SECOND_OF_CALL * (1 + (number > 15)))
    assert held_back.times().max() == 2 * SECOND_OF_CALL
    assert np.median(held_back.times()) == 2 * SECOND_OF_CALL


def test_what_does_not_settle_is_not_waited_for_as_long_as_for_quiet() -> None:
    limits = replace(wanted(calls=20, seconds=0, max_seconds=600), drift_share=0.1)
    limits = replace(limits, settle_seconds=20.0)
    warmer = lambda number: SECOND_OF_CALL * (1 + number / 16)  # noqa: E731
    assert 20.0 <= run(Script(), limits, warmer).seconds < 30.0
    rarely = Script(*[*["others"] * 9, None] * 40)
    assert run(rarely, replace(limits, calls=150), lambda _: SECOND_OF_CALL).seconds > 20.0


def test_a_part_of_each_call_is_kept_with_it() -> None:
    clock, calls = Clock(), iter(range(1_000_000))
    last = [0]

    def call() -> None:
        last[0] = next(calls)
        clock.now += (last[0] % 5 + 1) / 64

    found = run_windows(
        call,
        wanted(),
        Script("others", None, "others"),
        part=lambda: (last[0] % 5 + 1) / 128,
        clock=clock,
    )
    assert len(found.windows) > 3
    assert found.parts().tolist() == (found.times() / 2).tolist()


# --- calm windows ------------------------------------------------------------------------------


def calm(**other: float) -> Wanted:
    return replace(wanted(**{"calls": 20, "seconds": 0, "max_seconds": 60, **other}), calm=True)


def test_calls_of_calm_windows_count_where_there_are_enough() -> None:
    slow = range(8, 14)  # the second window, and the call before it that settles
    slower = lambda number: SECOND_OF_CALL * (1 + (number in slow) / 2)  # noqa: E731
    found = run(Script(None, SLIGHTLY), calm(), slower)
    assert found.times().max() == SECOND_OF_CALL
    assert len(found.times()) >= 20
    assert found.set_aside == {"others": 1}
    assert found.quiet_seconds < found.seconds
    assert run(Script(None, SLIGHTLY), replace(calm(), calm=False), slower).set_aside == {}


def test_slow_calls_of_the_engine_s_own_stay_in_calm_windows_too() -> None:
    words = np.random.default_rng(0).integers(0, 3, 10_000)
    found = run(
        Script(*([None, SLIGHTLY, "others"][word] for word in words)),
        calm(calls=300, seconds=1),
        lambda number: 0.08 if number % 50 == 0 else 0.01,
    )
    assert found.set_aside["others"] > 0
    assert np.percentile(found.times(), 99) > 0.07


def test_where_next_to_nothing_is_calm_quiet_windows_will_do() -> None:
    found = run(Script(*[SLIGHTLY] * 10_000), calm(calls=300))
    assert found.enough
    assert HOPELESS_SECONDS <= found.seconds < 2 * HOPELESS_SECONDS
    assert found.quiet_seconds == found.seconds
    assert not found.set_aside


def test_a_fifth_of_calm_time_is_waited_for() -> None:
    found = run(Script(*[None, *[SLIGHTLY] * 4] * 1000), calm(calls=100))
    assert found.seconds > HOPELESS_SECONDS
    assert found.counted == found.calm
    assert len(found.times()) >= 100


def test_of_several_watches_any_may_say_that_a_window_is_not_calm() -> None:
    first, second = Script(None, SLIGHTLY, None), Script(None, None, SLIGHTLY)
    watches = Watches(first, second)
    said = []
    for _ in range(3):
        watches.begin()
        said.append((watches.end(0.1), watches.slight))
    assert said == [(None, None), (None, "others"), (None, "others")]


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


@given(
    said=st.lists(st.sampled_from([None, SLIGHTLY, "others"]), max_size=60),
    calls=st.integers(1, 100),
)
def test_whatever_others_do_calm_windows_come_first(said: Sequence[str | None], calls: int) -> None:
    found = run(Script(*said), calm(calls=calls, max_seconds=4.0))
    told = [*said, *[None] * len(found.windows)][: len(found.windows)]
    of = {word: sum(7 for one in told if one == word) for word in (None, SLIGHTLY)}
    if of[None] >= calls:
        assert found.counted == found.calm
    else:
        assert found.counted == found.quiet
    assert found.enough == (of[None] + of[SLIGHTLY] >= calls)
