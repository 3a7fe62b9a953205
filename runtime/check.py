"""What happens before anything runs: trust, device, and the golden boxes.

A pod that does not get through here is never ready, and the one that it was to replace goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydantic import Field

from engines.detect.detections import Detections
from engines.detect.detector import Detector
from engines.detect.golden import Comparison, Golden, compare_all, read_golden
from engines.errors import JetrailError, WrongEngine
from engines.machine.fingerprint import describe, read_fingerprint
from engines.records.attestation import Verified
from engines.records.fingerprint import Fingerprint
from engines.records.folder import GOLDEN, EngineFolder
from engines.records.manifest import Manifest
from engines.records.record import Part, Sha256
from runtime.trust import ExpectedRelease, check_trust


class GoldenBoxes(Part):
    """Boxes found here against those that the engine found on the device that built it."""

    sha256: Sha256
    """Of `golden.npz`."""
    frames: int
    objects: int
    missing: int
    unexpected: int
    confidence_difference: float


class Times(Part):
    """Of single frames: pre-processing, inference, boxes. The very first is left out."""

    count: int
    p50_ms: float
    p99_ms: float


class CheckReport(Part):
    """What `runtime check` prints, as JSON, of an engine that may run here."""

    schema_: int = Field(default=1, alias="schema")
    ok: bool = True
    release: str
    """The tag that was signed."""
    engine: str
    engine_sha256: Sha256
    model: str
    model_version: str
    target: str
    precision: str
    backend: str
    """Package and version that the engine runs on."""
    device: str
    signed_by: str
    """Name of the key."""
    signed_at: datetime
    trust_seconds: float
    load_seconds: float
    golden: GoldenBoxes
    times: Times


class Refusal(Part):
    """What `runtime check` prints, as JSON, of one that may not."""

    schema_: int = Field(default=1, alias="schema")
    ok: bool = False
    exit_code: int
    problem: str


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """An engine that may run here, loaded; whoever has it closes the detector."""

    detector: Detector
    golden: Golden
    report: CheckReport


def refusal(error: JetrailError) -> Refusal:
    """The error as JSON has it."""
    return Refusal(exit_code=error.exit_code, problem=str(error))


def admit(wanted: ExpectedRelease, *, rounds: int = 0) -> Admitted:
    """Check all, load the engine and run it on its golden frames, and `rounds` frames more for
    their times.

    Raises WrongEngine where the folder is not trusted or not of this device, or where the engine
    finds other boxes; InputError where something is missing.
    """
    start = time.perf_counter()
    verified, manifest = check_trust(wanted)
    golden = _read_golden(wanted, manifest)
    device = read_fingerprint()
    trusted = time.perf_counter()
    detector = Detector.open(wanted.folder, device)
    try:
        loaded = time.perf_counter()
        comparison, times = _look(detector, golden, rounds)
    except BaseException:
        detector.close()
        raise
    seconds = (trusted - start, loaded - trusted)
    report = _report(verified, manifest, device, comparison, times, seconds)
    return Admitted(detector=detector, golden=golden, report=report)


def _read_golden(wanted: ExpectedRelease, manifest: Manifest) -> Golden:
    golden = read_golden(EngineFolder(wanted.folder).golden)
    if not golden.telling(manifest.thresholds.confidences(manifest.classes)):
        raise WrongEngine(
            f"Expected boxes clearly above the threshold in {wanted.folder / GOLDEN}, got none "
            f"among {golden.objects}: an engine that finds nothing would pass. Have pictures in "
            "the model's tuning set that hold objects, or lower `evaluate.confidence` of the "
            "target, and build and release it again."
        )
    return golden


def _look(detector: Detector, golden: Golden, rounds: int) -> tuple[Comparison, Times]:
    """Run the golden frames one by one. Raises WrongEngine when other boxes are found."""
    found: list[Detections] = []
    seconds: list[float] = []
    count = len(golden.frames)
    for index in range(count + rounds):
        start = time.perf_counter()
        found += detector.detect([golden.frames[index % count]])
        seconds.append(time.perf_counter() - start)
    manifest = detector.manifest
    sure = manifest.thresholds.confidences(manifest.classes)
    comparison = compare_all(golden, found[:count], sure)
    if not comparison.same:
        raise WrongEngine(
            f"Expected {manifest.engine} to find the {comparison.objects} boxes that it found on "
            f"the device that built it, but {comparison.missing} of them are missing and "
            f"{comparison.unexpected} others are there. Build the engine on this kind of device, "
            "or have this one looked at: its processor or driver computes something else."
        )
    return comparison, _times(seconds[1:] or seconds)


def _times(seconds: Sequence[float]) -> Times:
    p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
    return Times(count=len(seconds), p50_ms=round(float(p50), 3), p99_ms=round(float(p99), 3))


def _report(
    verified: Verified,
    manifest: Manifest,
    device: Fingerprint,
    comparison: Comparison,
    times: Times,
    seconds: tuple[float, float],
) -> CheckReport:
    predicate = verified.statement.predicate
    return CheckReport(
        release=predicate.release,
        engine=manifest.engine,
        engine_sha256=manifest.engine_sha256,
        model=manifest.model,
        model_version=manifest.model_version,
        target=manifest.target,
        precision=manifest.precision,
        backend=f"{manifest.backend_package} {manifest.backend_version}",
        device=describe(device),
        signed_by=verified.key.name,
        signed_at=predicate.signed_at,
        trust_seconds=round(seconds[0], 3),
        load_seconds=round(seconds[1], 3),
        golden=GoldenBoxes(
            sha256=verified.statement.files[GOLDEN],
            frames=comparison.frames,
            objects=comparison.objects,
            missing=comparison.missing,
            unexpected=comparison.unexpected,
            confidence_difference=round(comparison.confidence_difference, 6),
        ),
        times=times,
    )
