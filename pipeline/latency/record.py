"""benchmark.json, part by part: what was measured, the cross-check, the soak."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engines.config.target import TargetConfig
from engines.errors import InputError
from engines.records.benchmark import Benchmark, Validity
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from engines.records.reason import Reason
from pipeline.latency import results as measured
from pipeline.latency import trtexec
from pipeline.latency.attempts import validity_of
from pipeline.latency.harness.plan import SOAK, BenchmarkPlan
from pipeline.latency.measurement import Measurement
from pipeline.latency.pytest_benchmark import measure
from pipeline.latency.validity import disturbances, lasting_reasons
from pipeline.progress import seconds_bar, spinner


def measured_record(
    manifest: Manifest,
    target: TargetConfig,
    device: Fingerprint,
    measurements: Sequence[Measurement],
    validity: Validity,
) -> Benchmark:
    """The record of the measurements that every engine has."""
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


def with_cross_check(
    record: Benchmark, engine: Path, manifest: Manifest, measurements: Sequence[Measurement]
) -> Benchmark:
    """The record with what NVIDIA's own tool says of the engine; INVALID where they disagree.

    Raises InputError where there is no GPU time to compare, and what `trtexec.cross_check` raises.
    """
    ours = next(one.extra.gpu_p50_ms for one in measurements if one.name == "test_gpu_time")
    if ours is None:
        raise InputError(
            f"Expected a TensorRT engine on a GPU for --cross-check, got {manifest.engine} on "
            f"{manifest.backend}, which has no GPU time. Leave --cross-check out."
        )
    with spinner(f"cross-check {manifest.engine}"):
        checked = trtexec.cross_check(engine, manifest, ours)
    found = (Reason("cross_check", text) for text in trtexec.disagreement(checked))
    return _add(record, tuple(found), cross_check=checked)


def with_soak(
    record: Benchmark, plan: BenchmarkPlan, minutes: float, target: TargetConfig, scratch: Path
) -> Benchmark:
    """The record with a soak; other programs' doing makes it INVALID, being throttled does not.

    Raises JetrailError when the harness fails.
    """
    if lasting_reasons(record.machine, target.benchmark, jetson=target.is_jetson):
        why = (
            f"The soak of {minutes:g} minutes was left out, since it would be INVALID like the "
            "rest: do what the other reasons say, and measure again."
        )
        return _add(record, (Reason("soak_left_out", why),))
    plan = plan.model_copy(update={"tests": SOAK, "soak_seconds": 60 * minutes})
    with seconds_bar(f"soak {plan.engine_folder.name}", plan.soak_seconds) as tell:
        (one,) = measure(plan, scratch, lambda at: tell(at.seconds, f"p99 {at.p99_ms:.2f} ms"))
    state = one.extra.machine
    disturbed = disturbances(state, target.benchmark) if state else ()
    return _add(
        record,
        tuple(Reason("soak", f"During the soak: {one.text}") for one in disturbed),
        soak=one.extra.soak,
        memory_peak_mib=max(record.memory_peak_mib, one.extra.memory_peak_mib),
    )


def _add(record: Benchmark, why: tuple[Reason, ...], **found: Any) -> Benchmark:
    """The record with what was found after the rest, and what of it makes it INVALID."""
    validity = validity_of((*record.validity.by_kind(), *why), record.validity.attempts)
    return record.model_copy(update=found | {"validity": validity})
