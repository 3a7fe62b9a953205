"""`pipeline benchmark`: latency, throughput and memory of an engine, and whether to trust them.

Where that is asked for: what becomes of them when the device is hot, and what NVIDIA's own tool
says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from engines.backends.loading import check_engine
from engines.config.model import load_model
from engines.config.steady import check_steady
from engines.config.target import TargetConfig, load_target, readable_targets
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import temporary_folder, write_atomic
from engines.machine.fingerprint import read_fingerprint
from engines.measure.neighbours import Limits
from engines.records.benchmark import Benchmark
from engines.records.folder import RAW_TIMES, EngineFolder
from engines.records.manifest import Manifest
from pipeline.device.recognition import check_target, frames_in_flight
from pipeline.device.turn import turn
from pipeline.intake.dataset import load_set
from pipeline.latency import results as measured
from pipeline.latency import trtexec, trtexec_tool
from pipeline.latency.attempts import measure_until_valid
from pipeline.latency.harness.plan import GPU_TIME, LATENCY, THROUGHPUT, BenchmarkPlan
from pipeline.latency.measurement import Measurement
from pipeline.latency.record import measured_record, with_cross_check, with_soak
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

    Each figure is measured until it is settled or the row's time is over. All of it is measured
    again, as often as the row allows, only where the machine did what passes (heat, throttling, a
    clock); the last one is kept. `soak_minutes` stands in for the row's. What was measured is
    written before the cross-check, and again before the soak, so that neither can lose it.
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
        temporary_folder() as scratch,
        turn(f"pipeline benchmark {engine} --target {target_name}", wait=wait),
    ):
        in_flight = frames_in_flight(device, target.package)
        plan = plan_of(workspace, target, engine, in_flight, cross_check=cross_check)
        measurements, validity = measure_until_valid(plan, target, scratch)
        record = measured_record(manifest, target, device, measurements, validity)
        # Before what may fail yet: a broken trtexec must not cost what was measured.
        _keep_times(folder, scratch, measurements)
        folder.write(record)
        if cross_check:
            engine_file = folder.engine_file(manifest)
            record = with_cross_check(record, engine_file, manifest, measurements)
            folder.write(record)
        if minutes:
            record = with_soak(record, plan, minutes, target, scratch)
            folder.write(record)
    check_steady(target.benchmark, load_target(workspace, target_name).benchmark)
    return record


def _keep_times(folder: EngineFolder, scratch: Path, measurements: Sequence[Measurement]) -> None:
    """Keep pytest-benchmark's own file, and the histogram that is plotted."""
    write_atomic(folder.raw_times, (scratch / RAW_TIMES).read_bytes())
    frames = measured.of(measurements, "test_frame", 1).seconds
    write_atomic(folder.latency_table, table_text(measured.histogram(folder.path.name, frames)))


def plan_of(
    workspace: Workspace,
    target: TargetConfig,
    engine: str,
    in_flight: tuple[int, int],
    *,
    cross_check: bool,
) -> BenchmarkPlan:
    """What the harness is to measure of an engine. Raises InputError for unreadable pictures."""
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
        p99_interval_share=row.p99_interval_share,
        drift_share=row.max_drift_share,
        limits=Limits(
            steal_share=row.max_steal_share,
            others_share=row.max_others_share,
            wait_share=row.max_run_queue_wait_share,
            clock_share=row.max_clock_drift_share,
        ),
        gpu=target.package.gpu,
        soak_seconds=0,
    )
