"""Measured, and whether to trust it; again where the machine did what passes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines.config.target import BenchmarkRow, TargetConfig
from engines.measure.latency import latency, p99_interval_share
from engines.records.benchmark import Validity
from engines.records.reason import Reason
from pipeline.latency import results as measured
from pipeline.latency.harness.plan import BenchmarkPlan
from pipeline.latency.measurement import Measurement
from pipeline.latency.pytest_benchmark import measure
from pipeline.latency.validity import invalid_reasons, lasting_reasons, passing_reasons
from pipeline.progress import spinner


def measure_until_valid(
    plan: BenchmarkPlan, target: TargetConfig, scratch: Path
) -> tuple[tuple[Measurement, ...], Validity]:
    """Measure all figures; again, as often as the row allows, while the machine was hot, throttled,
    changed its pace or the like, which passes.

    Quiet and a p99 that is sure are no reason for that: each figure waited for them already, as
    long as it may, and kept all its calls. Gives the last measurements and whether to trust them.
    Raises JetrailError when the harness fails.
    """
    row = target.benchmark
    for attempt in range(1, row.max_attempts + 1):
        with spinner(f"benchmark {plan.engine_folder.name}, attempt {attempt}"):
            measurements = measure(plan, scratch)
        state, quiet = measured.machine_state(measurements), measured.quiet(measurements)
        why = invalid_reasons(state, quiet, row, jetson=target.is_jetson)
        lasting = lasting_reasons(state, row, jetson=target.is_jetson)
        if lasting or not quiet.enough or not passing_reasons(state, row):
            break
    # On a disturbed machine the p99 is unstable too.
    why = why or _unstable(measurements, row)
    return measurements, validity_of(why, attempt)


def validity_of(why: Sequence[Reason], attempts: int) -> Validity:
    """The validity of a measurement that cannot be trusted for the reasons `why`, if any."""
    return Validity(
        valid=not why,
        reasons=tuple(one.text for one in why),
        kinds=tuple(one.kind for one in why),
        attempts=attempts,
    )


def _unstable(measurements: Sequence[Measurement], row: BenchmarkRow) -> tuple[Reason, ...]:
    """Whether the p99 that has a budget, of the whole frame at batch 1, is known too badly."""
    seconds = measured.of(measurements, "test_frame", 1).seconds
    width, times = p99_interval_share(seconds), latency(seconds)
    if width <= row.p99_interval_share:
        return ()
    text = (
        f"The p99 of frame at batch 1 is uncertain: its 95 % interval, {times.p99_low_ms:.2f} to "
        f"{times.p99_high_ms:.2f} ms, is {width:.0%} of it; at most {row.p99_interval_share:.0%} "
        "is trusted. Stop other programs on this machine and measure again, or raise "
        "benchmark.max_seconds in the target's params.yaml."
    )
    return (Reason("uncertain", text),)
