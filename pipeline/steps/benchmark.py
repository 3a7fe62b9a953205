"""`pipeline benchmark`: latency, throughput and memory of an engine, and whether to trust them.

Where that is asked for: what becomes of them when the device is hot, and what NVIDIA's own tool
says.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

from engines.config import BenchmarkRow, TargetConfig, load_model, load_target
from engines.dataset import load_set
from engines.device import check_target, frames_in_flight, read_fingerprint
from engines.errors import InputError
from engines.files import write_atomic
from engines.lock import device_lock
from engines.manifest import check_engine
from engines.measure import latency
from engines.records import (
    Benchmark,
    CrossCheck,
    MachineState,
    Manifest,
    Soak,
    Validity,
)
from engines.validity import disturbances, invalid_reasons
from engines.workspace import Workspace
from pipeline import measured
from pipeline.adapters import trtexec
from pipeline.adapters.pytest_benchmark import RAW_FILE, Measurement, measure
from pipeline.harness.plan import GPU_TIME, LATENCY, SOAK, THROUGHPUT, Plan
from pipeline.progress import seconds_bar, spinner
from pipeline.summary import table_text

FRAMES = 8
"""Pictures that the camera frames are made from, in turns, so that no one picture decides."""


def benchmark(
    workspace: Workspace,
    target_name: str,
    engine: str,
    *,
    soak_minutes: float | None = None,
    cross_check: bool = False,
) -> Benchmark:
    """Measure one engine; write `pytest-benchmark.json`, `latency/<engine>.csv`, `benchmark.json`.

    Measures again, longer if the p99 was not stable, until a measurement can be trusted or the
    row's attempts are used up; the last one is kept. `soak_minutes` stands in for the row's.
    Raises WrongEngine for an engine that is not this device's, InputError for bad configuration or
    data, or a cross-check that cannot be, and Conflict while another command uses the device.
    """
    target = load_target(workspace, target_name)
    device = read_fingerprint()
    check_target(device, target, target.device)
    target.engine(engine)
    folder = workspace.engine(target_name, engine)
    manifest = Manifest.read(folder / "manifest.json")
    check_engine(folder, manifest, device)
    if cross_check:
        trtexec.find(manifest.backend_package)  # before minutes are spent
    minutes = target.benchmark.soak_minutes if soak_minutes is None else soak_minutes
    if not 0 <= minutes < math.inf:
        raise InputError(f"Expected --soak in minutes, 0 for none, came {minutes}.")
    with (
        tempfile.TemporaryDirectory(prefix="jetrail-") as name,
        device_lock(f"pipeline benchmark {engine} --target {target_name}"),
    ):
        scratch = Path(name)
        in_flight = frames_in_flight(device, target.package)
        plan = _plan(workspace, target, engine, in_flight, cross_check=cross_check)
        measurements, validity = _measure_until_valid(
            plan, target.benchmark, scratch, jetson=target.device.get("kind") == "jetson"
        )
        raw = (scratch / RAW_FILE).read_bytes()
        checked = _cross_check(folder, manifest, measurements) if cross_check else None
        soaked = _soak(plan, minutes, scratch)
    why = _soak_reasons(soaked, target.benchmark) + (
        trtexec.disagreement(checked) if checked else ()
    )
    validity = validity.model_copy(
        update={"valid": validity.valid and not why, "reasons": validity.reasons + why}
    )
    write_atomic(folder / RAW_FILE, raw)
    record = _record(manifest, target, measurements, validity, soaked, checked)
    rows = measured.histogram(engine, measured.of(measurements, "test_frame", 1).seconds)
    write_atomic(folder.parent / "latency" / f"{engine}.csv", table_text(rows))
    record.write(folder / "benchmark.json")
    return record


def _plan(
    workspace: Workspace,
    target: TargetConfig,
    engine: str,
    in_flight: tuple[int, int],
    *,
    cross_check: bool,
) -> Plan:
    row = target.benchmark
    model = load_model(workspace, target.engine(engine).model)
    samples = load_set(workspace.model(model.name) / model.data.evaluation, "evaluation")[:FRAMES]
    for sample in samples:
        sample.read_image()  # an unreadable one is bad input here, and a defect in the harness
    return Plan(
        tests=(*LATENCY, *(GPU_TIME if cross_check else ()), *THROUGHPUT),
        engine_folder=workspace.engine(target.target, engine),
        frames=tuple(sample.image for sample in samples),
        frame_size=row.frame_size,
        batches=tuple(sorted({1, target.batch.opt})),
        in_flight=in_flight,
        warmup_seconds=row.warmup_seconds,
        seconds=row.seconds,
        gpu=target.package != "openvino",
        soak_seconds=0,
        thresholds=target.evaluate,
    )


def _measure_until_valid(
    plan: Plan, row: BenchmarkRow, scratch: Path, *, jetson: bool
) -> tuple[tuple[Measurement, ...], Validity]:
    for attempt in range(1, row.max_attempts + 1):
        with spinner(f"benchmark {plan.engine_folder.name}, attempt {attempt}"):
            measurements = measure(plan, scratch)
        why = invalid_reasons(measured.machine_state(measurements), row, jetson=jetson)
        # On a disturbed machine the p99 is unstable too, and measuring longer would not help.
        unstable = () if why else _unstable(measurements, row)
        why += unstable
        if not why:
            break
        if unstable:
            longer = min(2 * plan.seconds, row.max_seconds)
            plan = plan.model_copy(update={"seconds": longer})
    return measurements, Validity(valid=not why, reasons=why, attempts=attempt)


def _cross_check(
    folder: Path, manifest: Manifest, measurements: Sequence[Measurement]
) -> CrossCheck:
    ours = next(one.extra["gpu_p50_ms"] for one in measurements if one.name == "test_gpu_time")
    if ours is None:
        raise InputError(
            f"Expected a TensorRT engine on a GPU for --cross-check, came {manifest.engine} on "
            f"{manifest.backend}, which has no GPU time. Run `pipeline benchmark` without "
            "--cross-check."
        )
    with spinner(f"cross-check {manifest.engine}"):
        return trtexec.cross_check(folder / manifest.engine_file, manifest, ours)


def _soak(plan: Plan, minutes: float, scratch: Path) -> tuple[Measurement, ...]:
    """The soak as its one measurement; none for no minutes."""
    if not minutes:
        return ()
    plan = plan.model_copy(update={"tests": SOAK, "soak_seconds": 60 * minutes})
    with seconds_bar(f"soak {plan.engine_folder.name}", plan.soak_seconds) as tell:
        return measure(plan, scratch, lambda done, p99: tell(done, f"p99 {p99} ms"))


def _soak_reasons(soaked: Sequence[Measurement], row: BenchmarkRow) -> tuple[str, ...]:
    """What makes the soak INVALID: other programs' doing does, being throttled does not."""
    states = (MachineState.model_validate(one.extra["machine"]) for one in soaked)
    why = (reason for state in states for reason in disturbances(state, row))
    return tuple(f"During the soak: {reason}" for reason in why)


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
    soaked: Sequence[Measurement],
    cross_check: CrossCheck | None,
) -> Benchmark:
    return Benchmark(
        engine=manifest.engine,
        target=target.target,
        engine_sha256=manifest.engine_sha256,
        frame_size=target.benchmark.frame_size,
        inference=measured.latencies(measurements, "test_inference"),
        frame=measured.latencies(measurements, "test_frame"),
        throughput=measured.best_throughput(measurements),
        memory_peak_mib=max(one.extra["memory_peak_mib"] for one in (*measurements, *soaked)),
        machine=measured.machine_state(measurements),
        validity=validity,
        energy_per_frame_mj=measured.energy_per_frame_mj(measurements),
        soak=next((Soak.model_validate(one.extra["soak"]) for one in soaked), None),
        cross_check=cross_check,
    )
