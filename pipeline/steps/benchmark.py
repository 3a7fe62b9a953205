"""`pipeline benchmark`: latency, throughput and memory of an engine, and whether to trust them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from engines.config import BenchmarkRow, TargetConfig, load_model, load_target
from engines.dataset import load_set
from engines.device import check_target, frames_in_flight, read_fingerprint
from engines.files import write_atomic
from engines.manifest import check_engine
from engines.measure import invalid_reasons, latency
from engines.records import Benchmark, Latency, MachineState, Manifest, Throughput, Validity
from engines.workspace import Workspace
from pipeline.adapters.pytest_benchmark import RAW_FILE, Measurement, measure
from pipeline.harness.plan import Plan
from pipeline.progress import spinner
from pipeline.summary import table_text

FRAMES = 8
"""Pictures that the camera frames are made from, in turns, so that no one picture decides."""

HISTOGRAM_BINS = 60


def benchmark(workspace: Workspace, target_name: str, engine: str) -> Benchmark:
    """Measure one engine; write `pytest-benchmark.json`, `latency/<engine>.csv`, `benchmark.json`.

    Measures again, longer if the p99 was not stable, until a measurement can be trusted or the
    row's attempts are used up; the last one is kept. Raises WrongEngine for an engine that is not
    this device's, InputError for bad configuration or data.
    """
    target = load_target(workspace, target_name)
    device = read_fingerprint()
    check_target(device, target, target.device)
    target.engine(engine)
    folder = workspace.engine(target_name, engine)
    manifest = Manifest.read(folder / "manifest.json")
    check_engine(folder, manifest, device)
    with tempfile.TemporaryDirectory(prefix="jetrail-") as name:
        scratch = Path(name)
        plan = _plan(workspace, target, engine, frames_in_flight(device, target.package))
        measurements, validity = _measure_until_valid(plan, target.benchmark, scratch)
        record = _record(manifest, target, measurements, validity)
        histogram = _histogram(engine, _rounds(measurements, "test_frame", 1))
        write_atomic(folder / RAW_FILE, (scratch / RAW_FILE).read_bytes())
    write_atomic(folder.parent / "latency" / f"{engine}.csv", table_text(histogram))
    record.write(folder / "benchmark.json")
    return record


def _plan(
    workspace: Workspace, target: TargetConfig, engine: str, in_flight: tuple[int, int]
) -> Plan:
    row = target.benchmark
    model = load_model(workspace, target.engine(engine).model)
    samples = load_set(workspace.model(model.name) / model.data.evaluation, "evaluation")[:FRAMES]
    for sample in samples:
        sample.read_image()  # an unreadable one is bad input here, and a defect in the harness
    return Plan(
        engine_folder=workspace.engine(target.target, engine),
        frames=tuple(sample.image for sample in samples),
        frame_size=row.frame_size,
        batches=tuple(sorted({1, target.batch.opt})),
        in_flight=in_flight,
        warmup_seconds=row.warmup_seconds,
        seconds=row.seconds,
        thresholds=target.evaluate,
    )


def _measure_until_valid(
    plan: Plan, row: BenchmarkRow, scratch: Path
) -> tuple[tuple[Measurement, ...], Validity]:
    for attempt in range(1, row.max_attempts + 1):
        with spinner(f"benchmark {plan.engine_folder.name}, attempt {attempt}"):
            measurements = measure(plan, scratch)
        why = invalid_reasons(_machine_state(measurements), row)
        # On a disturbed machine the p99 is unstable too, and measuring longer would not help.
        unstable = () if why else _unstable(measurements, row)
        why += unstable
        if not why:
            break
        if unstable:
            longer = min(2 * plan.seconds, row.max_seconds)
            plan = plan.model_copy(update={"seconds": longer})
    return measurements, Validity(valid=not why, reasons=why, attempts=attempt)


def _unstable(measurements: Sequence[Measurement], row: BenchmarkRow) -> tuple[str, ...]:
    """Whether the p99 that has a budget, of the whole frame at batch 1, is known too badly."""
    found = []
    for one in measurements:
        if one.name != "test_frame" or one.parameters["batch"] != 1:
            continue
        times = latency(one.seconds)
        width = (times.p99_high_ms - times.p99_low_ms) / times.p99_ms
        if width > row.p99_interval_share:
            what = one.name.removeprefix("test_")
            found.append(
                f"The p99 of {what} at batch {one.parameters['batch']} is uncertain: its 95 % "
                f"interval, {times.p99_low_ms:.2f} to {times.p99_high_ms:.2f} ms, is "
                f"{width:.0%} of it; at most {row.p99_interval_share:.0%} is trusted. Stop other "
                "work on the machine, or raise benchmark.max_seconds in params.yaml."
            )
    return tuple(found)


def _record(
    manifest: Manifest,
    target: TargetConfig,
    measurements: Sequence[Measurement],
    validity: Validity,
) -> Benchmark:
    return Benchmark(
        engine=manifest.engine,
        target=target.target,
        engine_sha256=manifest.engine_sha256,
        frame_size=target.benchmark.frame_size,
        inference=_latencies(measurements, "test_inference"),
        frame=_latencies(measurements, "test_frame"),
        throughput=_best_throughput(measurements),
        memory_peak_mib=max(one.extra["memory_peak_mib"] for one in measurements),
        machine=_machine_state(measurements),
        validity=validity,
    )


def _latencies(measurements: Sequence[Measurement], name: str) -> dict[str, Latency]:
    return {
        str(one.parameters["batch"]): latency(one.seconds)
        for one in measurements
        if one.name == name
    }


def _rounds(measurements: Sequence[Measurement], name: str, batch: int) -> tuple[float, ...]:
    return next(
        one.seconds for one in measurements if one.name == name and one.parameters["batch"] == batch
    )


def _best_throughput(measurements: Sequence[Measurement]) -> Throughput:
    tried = [
        Throughput(
            frames_per_second=one.extra["frames"] / float(np.median(one.seconds)),
            in_flight=one.extra["in_flight"],
            count=one.extra["frames"] * len(one.seconds),
        )
        for one in measurements
        if one.name == "test_throughput"
    ]
    return max(tried, key=lambda one: one.frames_per_second)


def _machine_state(measurements: Sequence[Measurement]) -> MachineState:
    """The worst that the machine did during any of the measurements."""
    timed = [one for one in measurements if "machine" in one.extra]

    def known(key: str) -> list[float]:
        values = (one.extra["machine"][key] for one in timed)
        return [value for value in values if value is not None]

    throttled = known("throttle_events")
    return MachineState(
        steal_share=max(known("steal_share"), default=None),
        others_share=max(known("others_share"), default=None),
        run_queue_wait_share=max(known("run_queue_wait_share"), default=None),
        drift_share=max(known("drift_share")),
        clock_min_mhz=min(known("clock_min_mhz"), default=None),
        clock_max_mhz=max(known("clock_max_mhz"), default=None),
        throttle_events=int(sum(throttled)) if throttled else None,
        temperature_max_c=max(known("temperature_max_c"), default=None),
    )


def _histogram(engine: str, seconds: Sequence[float]) -> list[dict[str, object]]:
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
