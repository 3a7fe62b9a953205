"""`pipeline gate`: the measurements of an engine against the budgets of its target."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.backends.loading import device_differences
from engines.config.target import Budgets, load_target
from engines.config.workspace import Workspace
from engines.errors import GateFailed, GateInvalid, InputError
from engines.files import write_atomic
from engines.machine.fingerprint import describe
from engines.records.benchmark import Benchmark, Latency
from engines.records.evaluation import Evaluation
from engines.records.manifest import Manifest
from engines.records.record import Record, VerdictName
from engines.records.verdict import Check, Verdict
from pipeline.report.summary import Summary, summarise

ORDER: tuple[VerdictName, ...] = ("FAIL", "INVALID", "PASS")
"""The first of these that a check has is the verdict."""

TIMED = frozenset({"frame_p99_ms", "frame_p50_ms", "throughput_fps", "hot_frame_p99_ms"})
"""Budgets that depend on a quiet machine."""

LEAST_HOT_FRAMES = 368
"""With fewer, the upper bound of the p99's 95 % interval lies beyond the slowest frame
(`engines.measure.latency.quantile_ranks`), so that no interval says how well the p99 is known."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One measurement and the way its budget limits it; `name` is the budget's key."""

    name: str
    value: float
    unit: str
    rule: Literal["at most", "at least"] = "at most"


def gate(workspace: Workspace, target_name: str, engine: str) -> tuple[Verdict, Summary]:
    """Judge one engine; write `verdict.json`, `verdict.junit.xml` and its summary.

    Raises InputError when a measurement is missing or is not of the engine that lies there.
    """
    target = load_target(workspace, target_name)
    target.engine(engine)
    folder = workspace.engine(target_name, engine)
    manifest = Manifest.read(folder / "manifest.json")
    benchmark = Benchmark.read(folder / "benchmark.json")
    evaluation = Evaluation.read(folder / "evaluation.json")
    _check_same_engine(folder, manifest, benchmark, evaluation)
    _check_same_device(folder, manifest, benchmark)
    verdict = judge(
        manifest,
        benchmark,
        evaluation,
        target.budgets_of(engine),
        soak_minutes=target.benchmark.soak_minutes,
    )
    write_atomic(folder / "verdict.junit.xml", junit(verdict))
    summary = summarise(manifest, benchmark, evaluation, verdict)
    summary.write(folder.parent / "summary" / f"{engine}.json")
    verdict.write(folder / "verdict.json")
    return verdict, summary


def _check_same_engine(
    folder: Path, manifest: Manifest, benchmark: Benchmark, evaluation: Evaluation
) -> None:
    measurements: dict[str, tuple[type[Record], str]] = {
        "benchmark.json": (Benchmark, benchmark.engine_sha256),
        "evaluation.json": (Evaluation, evaluation.engine_sha256),
    }
    for file, (kind, sha256) in measurements.items():
        if sha256 != manifest.engine_sha256:
            raise InputError(
                f"Expected {folder / file} to be of the engine {manifest.engine_sha256[:12]} that "
                f"lies there, but it is of {sha256[:12]}. Run `{kind.written_by} "
                f"{manifest.engine} --target {manifest.target}`."
            )


def _check_same_device(folder: Path, manifest: Manifest, benchmark: Benchmark) -> None:
    """Refuse figures of a device that the engine is not tied to; a record of before this was noted
    names none."""
    here = benchmark.device
    wrong = device_differences(manifest, here) if here else []
    if here and wrong:
        raise InputError(
            f"Expected {folder / 'benchmark.json'} to be measured where {manifest.engine} was "
            f"built, on {describe(manifest.device)}, but it is of {describe(here)} "
            f"({'; '.join(wrong)}). Run `{Benchmark.written_by} {manifest.engine} --target "
            f"{manifest.target}` there, or `{Manifest.written_by} {manifest.engine} --target "
            f"{manifest.target}` here and measure again."
        )


def judge(
    manifest: Manifest,
    benchmark: Benchmark,
    evaluation: Evaluation,
    budgets: Budgets,
    *,
    soak_minutes: float = 0,
) -> Verdict:
    """FAIL if a trusted measurement misses its budget, INVALID if one is not trusted, else PASS.

    Accuracy and size do not depend on how busy the machine was: a miss there is a FAIL at any time.
    `soak_minutes` is the row's: a shorter soak says nothing of a hot device.
    """
    limits = budgets.limits()
    doubts = {
        "frame_p99_ms": _undecided(
            "whole frame's p99", benchmark.frame["1"], budgets.frame_p99_ms, "benchmark.seconds"
        ),
        "hot_frame_p99_ms": _hot_undecided(benchmark, budgets.hot_frame_p99_ms, soak_minutes),
        "confidence_shift": _found_nothing(evaluation),
    }
    untrusted = TIMED if not benchmark.validity.valid else frozenset()
    untrusted |= {name for name, reasons in doubts.items() if reasons}
    checks = tuple(
        _check(measured, limits[measured.name], trusted=measured.name not in untrusted)
        for measured in measurements(manifest, benchmark, evaluation)
        if measured.name in limits
    )
    not_soaked = _not_soaked(benchmark, budgets)
    verdicts = {check.verdict for check in checks} | {"INVALID" for _ in not_soaked}
    return Verdict(
        engine=manifest.engine,
        target=manifest.target,
        engine_sha256=manifest.engine_sha256,
        verdict=next(one for one in ORDER if one in verdicts),
        checks=checks,
        reasons=(
            *benchmark.validity.reasons,
            *(reason for reasons in doubts.values() for reason in reasons),
            *not_soaked,
        ),
    )


def _undecided(what: str, times: Latency, limit: float, longer: str) -> tuple[str, ...]:
    if not times.p99_low_ms <= limit < times.p99_high_ms:
        return ()
    return (
        f"The {what} lies between {times.p99_low_ms:.2f} and {times.p99_high_ms:.2f} ms "
        f"with 95 % certainty, and its budget of {limit:g} ms is in between. Measure longer "
        f"({longer} in params.yaml), or on a quieter machine.",
    )


def _hot_undecided(benchmark: Benchmark, limit: float | None, minutes: float) -> tuple[str, ...]:
    soak = benchmark.soak
    if soak is None or limit is None:
        return ()
    again = f"`pipeline benchmark {benchmark.engine} --target {benchmark.target}`"
    # Minutes become seconds and come back: the last digits may differ.
    if soak.minutes < minutes and not math.isclose(soak.minutes, minutes):
        return (
            f"Expected a soak of at least {minutes:g} minutes (benchmark.soak_minutes in "
            f"params.yaml), came one of {soak.minutes:.3g}: a device that is not hot yet says "
            f"nothing of budgets.hot_frame_p99_ms. Run {again} without --soak.",
        )
    if soak.hot.count < LEAST_HOT_FRAMES:
        return (
            f"Expected at least {LEAST_HOT_FRAMES} frames in the last third of the soak, which the "
            f"interval of a p99 needs, came {soak.hot.count}. Raise benchmark.soak_minutes in "
            f"params.yaml and run {again}.",
        )
    return _undecided("hot frame's p99", soak.hot, limit, "benchmark.soak_minutes")


def _not_soaked(benchmark: Benchmark, budgets: Budgets) -> tuple[str, ...]:
    """Why a hot p99 that has a budget cannot be judged: there is no figure to make a check of."""
    if budgets.hot_frame_p99_ms is None or benchmark.soak is not None:
        return ()
    return (
        f"Expected a soak in benchmark.json, since budgets.hot_frame_p99_ms is "
        f"{budgets.hot_frame_p99_ms:g} ms, came none. Run `pipeline benchmark {benchmark.engine} "
        f"--target {benchmark.target} --soak MINUTES`, or set benchmark.soak_minutes in "
        "params.yaml.",
    )


def _found_nothing(evaluation: Evaluation) -> tuple[str, ...]:
    if evaluation.reference_detections:
        return ()
    return (
        f"The FP32 checkpoint finds nothing at or above confidence "
        f"{evaluation.confidence_threshold:g} in the evaluation set, so there is nothing to "
        "compare the engine's confidences with. Train the model further, or lower "
        "evaluate.confidence in params.yaml.",
    )


def measurements(
    manifest: Manifest, benchmark: Benchmark, evaluation: Evaluation
) -> tuple[Measured, ...]:
    """Every measurement that can have a budget, in the order of the table."""
    frame, soak = benchmark.frame["1"], benchmark.soak
    hot = Measured(name="hot_frame_p99_ms", value=soak.hot.p99_ms, unit="ms") if soak else None
    engine_size = manifest.engine_bytes / (1 << 20)
    return (
        Measured(name="frame_p99_ms", value=frame.p99_ms, unit="ms"),
        Measured(name="frame_p50_ms", value=frame.p50_ms, unit="ms"),
        Measured(
            name="throughput_fps",
            value=benchmark.throughput.frames_per_second,
            unit="frames/s",
            rule="at least",
        ),
        Measured(name="map50_95_drop", value=evaluation.map50_95_drop, unit=""),
        Measured(name="confidence_shift", value=evaluation.confidence_shift, unit=""),
        Measured(name="memory_peak_mib", value=benchmark.memory_peak_mib, unit="MiB"),
        Measured(name="engine_size_mib", value=engine_size, unit="MiB"),
        *([hot] if hot else []),
    )


def _check(measured: Measured, limit: float, *, trusted: bool) -> Check:
    holds = measured.value <= limit if measured.rule == "at most" else measured.value >= limit
    verdict: VerdictName = "PASS" if holds else "FAIL"
    if not trusted:
        verdict = "INVALID"
    return Check(
        name=measured.name,
        measured=measured.value,
        limit=limit,
        unit=measured.unit,
        rule=measured.rule,
        verdict=verdict,
    )


def junit(verdict: Verdict) -> str:
    """The verdict as JUnit XML, which GitLab shows in the merge request: one test case a budget.

    INVALID is an `error` (the measurement broke), FAIL a `failure` (the engine did). A verdict that
    is INVALID for what was not measured at all has a case of its own.
    """
    checks = verdict.checks
    missing = verdict.verdict == "INVALID" and all(check.verdict == "PASS" for check in checks)
    suite = ET.Element(
        "testsuite",
        name=f"{verdict.target}/{verdict.engine}",
        tests=str(len(checks) + missing),
        failures=str(sum(check.verdict == "FAIL" for check in checks)),
        errors=str(sum(check.verdict == "INVALID" for check in checks) + missing),
    )
    for check in checks:
        case = ET.SubElement(
            suite, "testcase", classname=f"{verdict.target}.{verdict.engine}", name=check.name
        )
        text = f"measured {check.measured:.6g} {check.unit}, {check.rule} {check.limit:g}".strip()
        if check.verdict == "FAIL":
            ET.SubElement(case, "failure", message=text)
        elif check.verdict == "INVALID":
            ET.SubElement(case, "error", message=" ".join((text + ".", *verdict.reasons)))
    if missing:
        case = ET.SubElement(
            suite, "testcase", classname=f"{verdict.target}.{verdict.engine}", name="measured"
        )
        ET.SubElement(case, "error", message=" ".join(verdict.reasons))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def raise_unless_pass(verdict: Verdict) -> None:
    """Raise GateFailed or GateInvalid (exit codes 3 and 4) unless the verdict is PASS."""
    if verdict.verdict == "FAIL":
        missed = ", ".join(check.name for check in verdict.checks if check.verdict == "FAIL")
        raise GateFailed(
            f"{verdict.engine} on {verdict.target} misses its budget: {missed}. Make the engine "
            f"better, or change `budgets:` in engines/targets/{verdict.target}/params.yaml."
        )
    if verdict.verdict == "INVALID":
        # The stage alone: a bare commit stops at the first target that was never built here, with
        # the lock files of others changed.
        stages = f"engines/targets/{verdict.target}/dvc.yaml"
        raise GateInvalid(
            f"{verdict.engine} on {verdict.target} could not be judged: its measurement is "
            "INVALID, for the reasons in verdict.json. Do what they say, then run in the "
            f"repository's root `pipeline benchmark {verdict.engine} --target {verdict.target}`, "
            f"`dvc commit --force {stages}:benchmark@{verdict.engine}` and `dvc repro {stages}`."
        )
