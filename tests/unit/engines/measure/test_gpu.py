"""What others did to the GPU in a window."""

from __future__ import annotations

from typing import Any

import pytest

from engines.machine.sensors.reading import Reading
from engines.measure.gpu import GpuNeighbours

CALM = Reading(gpu_clock_mhz=1000.0, memory_clock_mhz=2000.0)


def reading(**change: Any) -> Reading:
    return Reading(**{"gpu_clock_mhz": 1000.0, "memory_clock_mhz": 2000.0} | change)


def window(
    start: Reading, end: Reading, clock_share: float | None = 0.05
) -> tuple[str | None, list[Reading]]:
    """What is said of a window with these at its ends, and what of it counts."""
    ends = iter((start, end))
    watch = GpuNeighbours(lambda: next(ends), clock_share)
    watch.begin()
    return watch.end(0.1), watch.quiet


def test_a_calm_window_counts() -> None:
    assert window(CALM, CALM) == (None, [CALM, CALM])


@pytest.mark.parametrize("at_start", [True, False])
def test_another_program_on_the_gpu_disturbs_a_window(at_start: bool) -> None:
    other = reading(other_gpu_processes=frozenset({7}))
    ends = (other, CALM) if at_start else (CALM, other)
    assert window(*ends) == ("gpu", [])


@pytest.mark.parametrize("clock", ["gpu_clock_mhz", "memory_clock_mhz"])
@pytest.mark.parametrize(("share", "said"), [(0.04, None), (0.06, "clock")])
@pytest.mark.parametrize("falls", [True, False])
def test_a_clock_that_moved_disturbs_a_window(
    clock: str, share: float, said: str | None, falls: bool
) -> None:
    other = reading(**{clock: getattr(CALM, clock) * (1 - share)})
    ends = (CALM, other) if falls else (other, CALM)
    assert window(*ends)[0] == said


def test_a_clock_that_a_row_does_not_limit_may_move() -> None:
    assert window(CALM, reading(gpu_clock_mhz=300.0), None)[0] is None


def test_a_clock_that_is_not_known_has_not_moved() -> None:
    assert window(CALM, reading(gpu_clock_mhz=None))[0] is None


def test_throttling_is_the_engines_own_and_stays_in() -> None:
    slow = reading(gpu_clock_mhz=500.0, throttle_reasons=frozenset({"SwThermalSlowdown"}))
    assert window(CALM, slow) == (None, [CALM, slow])
