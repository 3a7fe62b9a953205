"""How long a measurement may wait for quiet: not again, once there was none."""

from __future__ import annotations

from engines.measure.windows import Wanted
from pipeline.latency.harness.plan import BenchmarkPlan
from pipeline.latency.measurement import Extra

TIMES_THE_CALLS = 6
"""A measurement may take, of the time that the wanted calls take: beside a program that works half
of the time in bursts, a third of the windows is quiet."""
TIMES_TO_SETTLE = 2
"""Likewise, once enough was quiet: a drift that twice the calls do not outweigh lasts."""


class Patience:
    """Of one process of the harness. After a measurement that found too little quiet the verdict is
    INVALID already, so that those after it are cut short."""

    def __init__(self) -> None:
        self._is_left = True

    def wanted(self, plan: BenchmarkPlan, calls: int, pace: float) -> Wanted:
        """What the next measurement is to get, of calls of which `pace` fit into a second."""
        if not self._is_left:
            return Wanted(calls=1, seconds=0, max_seconds=0)
        # A slow engine needs its calls all the same, beside a neighbour too.
        longest, settling = (
            max(plan.max_seconds, times * calls / pace)
            for times in (TIMES_THE_CALLS, TIMES_TO_SETTLE)
        )
        return Wanted(
            calls=calls,
            seconds=plan.seconds,
            max_seconds=longest,
            settle_seconds=settling,
            drift_share=plan.drift_share,
        )

    def saw(self, measured: Extra) -> None:
        """Learn from a measurement."""
        if measured.windows is not None and not measured.windows.enough:
            self._is_left = False
