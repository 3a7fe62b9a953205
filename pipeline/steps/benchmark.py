"""`pipeline benchmark`: latency, throughput and memory of an engine, and whether to trust them.

Where that is asked for: what becomes of them when the device is hot, and what NVIDIA's own tool
says.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from engines.backends.loading import check_engine
from engines.config.model import load_model
from engines.config.target import BenchmarkRow, TargetConfig, load_target, readable_targets
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import write_atomic
from engines.machine.fingerprint import read_fingerprint
from engines.measure.latency import latency
from engines.measure.neighbours import Limits
from engines.records.benchmark import Benchmark, CrossCheck, Validity
from engines.records.fingerprint import Fingerprint
from engines.records.folder import RAW_TIMES, EngineFolder
from engines.records.manifest import Manifest
from pipeline.device.recognition import check_target, frames_in_flight
from pipeline.device.turn import turn
from pipeline.intake.dataset import load_set
from pipeline.latency import results as measured
from pipeline.latency import trtexec, trtexec_tool
from pipeline.latency.harness.plan import GPU_TIME, LATENCY, SOAK, THROUGHPUT, BenchmarkPlan
from pipeline.latency.measurement import Measurement
from pipeline.latency.pytest_benchmark import measure
from pipeline.latency.validity import disturbances, invalid_reasons, lasting_reasons
from pipeline.progress import seconds_bar, spinner
from pipeline.report.summary import table_text

FRAMES = 8
"""Pictures that the camera frames are made from, in turns, so that no one picture decides."""


def benchmark(
    workspace: Workspace,
    target_name: str,
    engine: str,
    *,
    soak_minutes: float | None = None,
    cross_check: bool = False,
    wait: bool = False,
) -> Benchmark:
    """Measure one engine; write `pytest-benchmark.json`, `latency/<engine>.csv`, `benchmark.json`.

    Measures again, longer if the p99 was not stable, until a measurement can be trusted, the row's
    attempts are used up, or it is INVALID for what another one would not mend; the last one is
    kept. `soak_minutes` stands in for the row's. What was measured is written before the
    cross-check, and again before the soak, so that neither can lose it.
    Raises WrongEngine for an engine that is not this device's, InputError for bad configuration or
    data, or a cross-check that cannot be, and Conflict while another command uses the device.
    """
    target = load_target(workspace, target_name)
    device = read_fingerprint()
    check_target(device, target, target.device, partial(readable_targets, workspace))
    target.engine(engine)
    folder = workspace.engine(target_name, engine)
    manifest = folder.read(Manifest)
    check_engine(folder.path, manifest, device)
    if cross_check:  # before minutes are spent
        trtexec.arguments(trtexec_tool.probe(trtexec_tool.find(manifest.backend_package)), manifest)
    minutes = target.benchmark.soak_minutes if soak_minutes is None else soak_minutes
    if not 0 <= minutes < math.inf:
        raise InputError(f"Expected --soak in minutes, 0 for none, got {minutes}.")
    with (
        tempfile.TemporaryDirectory(prefix="jetrail-") as name,
        turn(f"pipeline benchmark {engine} --target {target_name}", wait=wait),
    ):
        scratch = Path(name)
        in_flight = frames_in_flight(device, target.package)
        plan = _plan(workspace, target, engine, in_flight, cross_check=cross_check)
        measurements, validity = _measure_until_valid(plan, target, scratch)
        record = _record(manifest, target, device, measurements, validity)
        # Before what may fail yet: a broken trtexec must not cost what was measured.
        _keep_times(folder, scratch, measurements)
        folder.write(record)
        if cross_check:
            checked = _cross_check(folder, manifest, measurements)
            record = _add(record, trtexec.disagreement(checked), cross_check=checked)
            folder.write(record)
        if minutes:
            record = _soak(record, plan, minutes, target, scratch)
            folder.write(record)
    return record


def _keep_times(folder: EngineFolder, scratch: Path, measurements: Sequence[Measurement]) -> None:
    """Keep pytest-benchmark's own file, and the histogram that is plotted."""
    write_atomic(folder.raw_times, (scratch / RAW_TIMES).read_bytes())
    frames = measured.of(measurements, "test_frame", 1).seconds
    write_atomic(folder.latency_table, table_text(measured.histogram(folder.path.name, frames)))


def _plan(
    workspace: Workspace,
    target: TargetConfig,
    engine: str,
    in_flight: tuple[int, int],
    *,
    cross_check: bool,
) -> BenchmarkPlan:
    row = target.benchmark
    model = load_model(workspace, target.engine(engine).model)
    samples = load_set(workspace.model(model.name) / model.data.evaluation, "evaluation")[:FRAMES]
    for sample in samples:
        sample.read_image()  # an unreadable one is bad input here, and a defect in the harness
    return BenchmarkPlan(
        tests=(*LATENCY, *(GPU_TIME if cross_check else ()), *THROUGHPUT),
        engine_folder=workspace.engine(target.target, engine).path,
        frames=tuple(sample.image for sample in samples),
        frame_size=row.frame_size,
        batches=tuple(sorted({1, target.batch.opt})),
        in_flight=in_flight,
        warmup_seconds=row.warmup_seconds,
        seconds=row.seconds,
        max_seconds=row.max_seconds,
        limits=Limits(
            steal_share=row.max_steal_share,
            others_share=row.max_others_share,
            wait_share=row.max_run_queue_wait_share,
        ),
        gpu=target.package.gpu,
        soak_seconds=0,
    )


def _measure_until_valid(
    plan: BenchmarkPlan, target: TargetConfig, scratch: Path
) -> tuple[tuple[Measurement, ...], Validity]:
    row, jetson = target.benchmark, _is_jetson(target)
    for attempt in range(1, row.max_attempts + 1):
        with spinner(f"benchmark {plan.engine_folder.name}, attempt {attempt}"):
            measurements = measure(plan, scratch)
        state, quiet = measured.machine_state(measurements), measured.quiet(measurements)
        why = invalid_reasons(state, quiet, row, jetson=jetson)
        # It waited for quiet as long as it may.
        if lasting_reasons(state, row, jetson=jetson) or not quiet.enough:
            break
        # On a disturbed machine the p99 is unstable too, and measuring longer would not help.
        unstable = () if why else _unstable(measurements, row)
        why += unstable
        if not why:
            break
        if unstable:
            longer = min(2 * plan.seconds, row.max_seconds)
            plan = plan.model_copy(update={"seconds": longer})
    return measurements, Validity(valid=not why, reasons=why, attempts=attempt)


def _is_jetson(target: TargetConfig) -> bool:
    return target.device.get("kind") == "jetson"


def _cross_check(
    folder: EngineFolder, manifest: Manifest, measurements: Sequence[Measurement]
) -> CrossCheck:
    ours = next(one.extra.gpu_p50_ms for one in measurements if one.name == "test_gpu_time")
    if ours is None:
        raise InputError(
            f"Expected a TensorRT engine on a GPU for --cross-check, got {manifest.engine} on "
            f"{manifest.backend}, which has no GPU time. Run `pipeline benchmark` without "
            "--cross-check."
        )
    with spinner(f"cross-check {manifest.engine}"):
        return trtexec.cross_check(folder.engine_file(manifest), manifest, ours)


def _soak(
    record: Benchmark, plan: BenchmarkPlan, minutes: float, target: TargetConfig, scratch: Path
) -> Benchmark:
    """The record with a soak; other programs' doing makes it INVALID, being throttled does not."""
    if lasting_reasons(record.machine, target.benchmark, jetson=_is_jetson(target)):
        why = (
            f"The soak of {minutes:g} minutes was left out, since it would be INVALID like the "
            "rest: do what the other reasons say, and measure again."
        )
        return _add(record, (why,))
    plan = plan.model_copy(update={"tests": SOAK, "soak_seconds": 60 * minutes})
    with seconds_bar(f"soak {plan.engine_folder.name}", plan.soak_seconds) as tell:
        (one,) = measure(plan, scratch, lambda at: tell(at.seconds, f"p99 {at.p99_ms:.2f} ms"))
    state = one.extra.machine
    disturbed = disturbances(state, target.benchmark) if state else ()
    return _add(
        record,
        tuple(f"During the soak: {reason}" for reason in disturbed),
        soak=one.extra.soak,
        memory_peak_mib=max(record.memory_peak_mib, one.extra.memory_peak_mib),
    )


def _add(record: Benchmark, why: tuple[str, ...], **found: Any) -> Benchmark:
    """The record with what was found after the rest, and what of it makes it INVALID."""
    reasons = record.validity.reasons + why
    validity = record.validity.model_copy(update={"valid": not reasons, "reasons": reasons})
    return record.model_copy(update=found | {"validity": validity})


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
    device: Fingerprint,
    measurements: Sequence[Measurement],
    validity: Validity,
) -> Benchmark:
    return Benchmark(
        engine=manifest.engine,
        target=target.target,
        engine_sha256=manifest.engine_sha256,
        device=device,
        frame_size=target.benchmark.frame_size,
        inference=measured.latencies(measurements, "test_inference"),
        frame=measured.latencies(measurements, "test_frame"),
        throughput=measured.best_throughput(measurements),
        memory_peak_mib=max(one.extra.memory_peak_mib for one in measurements),
        machine=measured.machine_state(measurements),
        quiet=measured.quiet(measurements),
        validity=validity,
        gpu_wait=measured.gpu_wait(measurements),
        energy_per_frame_mj=measured.energy_per_frame_mj(measurements),
    )
