"""What is made of the harness's measurements: figures of benchmark.json, and the histogram."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from engines.measure.latency import latency
from engines.measure.sampler import worst_of
from engines.records.benchmark import Latency, MachineState, Quiet, Throughput
from pipeline.latency.measurement import Measurement

HISTOGRAM_BINS = 60


def energy_per_frame_mj(measurements: Sequence[Measurement]) -> float | None:
    """Mean power while whole frames were measured at batch 1, times their mean time: W * ms."""
    frame = of(measurements, "test_frame", 1)
    watts = frame.extra.machine.power_mean_w if frame.extra.machine else None
    return None if watts is None else watts * 1e3 * float(np.mean(frame.seconds))


def gpu_wait(measurements: Sequence[Measurement]) -> str | None:
    """How threads waited for the GPU while inference was measured."""
    return of(measurements, "test_inference", 1).extra.gpu_wait


def latencies(measurements: Sequence[Measurement], name: str) -> dict[str, Latency]:
    """Batch to the distribution of the times."""
    return {
        str(one.parameters["batch"]): latency(one.seconds)
        for one in measurements
        if one.name == name
    }


def of(measurements: Sequence[Measurement], name: str, batch: int) -> Measurement:
    """The measurement of that name and batch."""
    return next(
        one for one in measurements if one.name == name and one.parameters["batch"] == batch
    )


def best_throughput(measurements: Sequence[Measurement]) -> Throughput:
    """The best of the numbers in flight that were tried, each by all its quiet frames and the time
    that they took together: a slow one counts."""
    tried = [
        Throughput(
            frames_per_second=in_flight * len(one.seconds) / sum(one.seconds),
            in_flight=in_flight,
            count=in_flight * len(one.seconds),
        )
        for one in measurements
        if (in_flight := one.extra.in_flight) is not None
    ]
    return max(tried, key=lambda one: one.frames_per_second)


def machine_state(measurements: Sequence[Measurement]) -> MachineState:
    """The worst that the machine did during any of the measurements."""
    return worst_of([one.extra.machine for one in measurements if one.extra.machine is not None])


def quiet(measurements: Sequence[Measurement]) -> Quiet:
    """How much of the measurements was quiet."""
    found = [one.extra.windows for one in measurements if one.extra.windows is not None]
    set_aside = Counter[str]()
    for one in found:
        set_aside.update(one.set_aside)
    return Quiet(
        share=min(one.quiet_seconds / one.seconds for one in found),
        enough=all(one.enough for one in found),
        seconds=sum(one.quiet_seconds for one in found),
        set_aside=dict(set_aside),
    )


def histogram(engine: str, seconds: Sequence[float]) -> list[dict[str, object]]:
    """Shares of frames by time, up to the p99.5: one outlier would flatten the picture."""
    times = np.asarray(seconds) * 1000
    counts, edges = np.histogram(
        times, bins=HISTOGRAM_BINS, range=(times.min(), np.quantile(times, 0.995))
    )
    centres = (edges[:-1] + edges[1:]) / 2
    return [
        {"engine": engine, "latency_ms": round(float(centre), 4), "share": count / len(times)}
        for centre, count in zip(centres, counts.tolist(), strict=True)
    ]
