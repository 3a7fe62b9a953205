"""The measurements of one engine: whole frames by batch, with inference as a part of them, then
throughput; and, where they are asked for, the GPU's compute time and a soak.

Rounds are single calls (`iterations=1`), since a percentile of means is not a percentile of frames.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import cycle, islice
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.detect.detector import Detector, Frame
from engines.machine.fingerprint import read_fingerprint
from engines.measure.latency import drift_share
from engines.measure.memory import memory_peak_mib, peak_resident_mib
from engines.measure.sampler import StateSampler
from engines.records.benchmark import Latency
from pipeline.latency.harness.frames import camera_frames
from pipeline.latency.harness.patience import Patience
from pipeline.latency.harness.plan import BenchmarkPlan, SoakProgress
from pipeline.latency.harness.rounds import (
    LEAST_ROUNDS,
    hand_in,
    measure_calls,
    run_quiet,
    warm_up,
)
from pipeline.latency.harness.soak import run_frames, soak
from pipeline.latency.harness.timed import TimedDetector
from pipeline.latency.measurement import Extra

Measure = Callable[..., NDArray[np.float64]]

THROUGHPUT_TURNS = 3
"""At least: whether the first and the last agree. A turn is one frame of each slot."""
SETTLING_TURNS = 2
"""A pause finds all frames of a stream done: one turn starts them again, and with the next one they
end as in a stream without a pause."""


@pytest.fixture(scope="session")
def frames(plan: BenchmarkPlan) -> list[Frame]:
    """Camera frames, which take turns."""
    return camera_frames(plan)


@pytest.fixture
def measure(
    benchmark: Any, plan: BenchmarkPlan, used_before: float | None, patience: Patience
) -> Measure:
    """`measure_calls` for this measurement; the call that it is given is what is timed."""
    return partial(measure_calls, benchmark, plan, used_before, patience)


@pytest.fixture(scope="session")
def inference() -> dict[int, NDArray[np.float64]]:
    """Batch to the times of inference in the frames that were measured, in seconds."""
    return {}


class TestLatency:
    """One loaded engine for all, which is freed before the throughput is measured."""

    def test_frame(
        self,
        measure: Measure,
        detector: TimedDetector,
        frames: list[Frame],
        inference: dict[int, NDArray[np.float64]],
        batch: int,
    ) -> None:
        turns = cycle(frames)
        inference[batch] = measure(
            lambda: detector.detect(list(islice(turns, batch))),
            part=lambda: detector.inference_seconds,
            # The p99 that has a budget is that of a frame by itself.
            sure=batch == 1,
        )

    def test_inference(
        self,
        benchmark: Any,
        detector: TimedDetector,
        inference: dict[int, NDArray[np.float64]],
        batch: int,
    ) -> None:
        hand_in(benchmark, inference[batch])
        extra = Extra(gpu_wait=detector.waits, memory_peak_mib=peak_resident_mib())
        extra.put(benchmark.extra_info)

    def test_gpu_time(
        self, benchmark: Any, plan: BenchmarkPlan, detector: Detector, frames: list[Frame]
    ) -> None:
        detector.fill(frames[:1])
        pace = warm_up(detector.infer, plan.warmup_seconds)
        rounds = max(LEAST_ROUNDS, math.ceil(pace * plan.seconds))
        times = benchmark.pedantic(detector.gpu_times_ms, args=(rounds,), rounds=1)
        p50_ms = None if times is None else float(np.median(times))
        Extra(gpu_p50_ms=p50_ms, memory_peak_mib=peak_resident_mib()).put(benchmark.extra_info)

    def test_soak(
        self,
        benchmark: Any,
        plan: BenchmarkPlan,
        used_before: float | None,
        detector: Detector,
        frames: list[Frame],
    ) -> None:
        turns = cycle(frames)

        def frame() -> None:
            detector.detect([next(turns)])

        sampler = StateSampler(gpu=plan.gpu)
        warm_up(frame, plan.warmup_seconds)
        with sampler:
            arguments = (frame, plan.soak_seconds, partial(_tell, plan.progress_fd))
            done = benchmark.pedantic(run_frames, args=arguments, rounds=1)
        state = sampler.state(drift_share(done.times))
        Extra(
            machine=state,
            soak=soak(done, sampler, state),
            memory_peak_mib=memory_peak_mib(state, used_before),
        ).put(benchmark.extra_info)


def _tell(pipe: int | None, seconds: float, times: Latency) -> None:
    if pipe is not None:
        line = SoakProgress(seconds=seconds, p99_ms=times.p99_ms).model_dump_json() + "\n"
        os.write(pipe, line.encode())


def test_throughput(
    benchmark: Any,
    plan: BenchmarkPlan,
    used_before: float | None,
    patience: Patience,
    frames: list[Frame],
    in_flight: int,
) -> None:
    with (
        plan.open_detector(read_fingerprint(), in_flight=in_flight) as detector,
        closing(detector.stream(cycle(frames))) as stream,
    ):

        def turn() -> None:
            for _ in range(in_flight):
                next(stream)

        sampler = StateSampler(gpu=plan.gpu)
        pace = warm_up(turn, plan.warmup_seconds)
        # With more frames in flight than processors, waiting for one is the plan, and so is using
        # up a quota.
        limits = plan.limits.model_copy(update={"wait_share": 1.0})
        wanted = patience.wanted(plan, THROUGHPUT_TURNS, pace)
        extra, _ = run_quiet(
            *(benchmark, turn, wanted, limits, sampler, used_before),
            settling_calls=SETTLING_TURNS,
        )
        patience.saw(extra)
        own = extra.machine and extra.machine.model_copy(
            update={"run_queue_wait_share": None, "quota_throttles": None}
        )
        extra.model_copy(update={"machine": own, "in_flight": in_flight}).put(benchmark.extra_info)
