"""Three verdicts from what was measured: a pure function of records and budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from engines.config.target import Budgets
from engines.records.benchmark import Benchmark, Latency, contradictions
from engines.records.evaluation import Evaluation
from engines.records.manifest import Manifest
from engines.records.reason import Reason, causes
from engines.records.record import Sha256, VerdictName
from engines.records.verdict import Check, Rule, Verdict

ORDER: tuple[VerdictName, ...] = ("FAIL", "INVALID", "PASS")
"""The first of these that a check has is the verdict."""

LEAST_HOT_FRAMES = 368
"""With fewer, the upper bound of the p99's 95 % interval lies beyond the slowest frame
(`engines.measure.latency.quantile_ranks`), so that no interval says how well the p99 is known."""


class _Records(NamedTuple):
    manifest: Manifest
    benchmark: Benchmark
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True)
class _Budget:
    """How a budget is read from the records; None where it was not measured."""

    read: Callable[[_Records], float | None]
    unit: str = ""
    rule: Rule = "at most"
    timed: bool = False
    """Whether it depends on a quiet machine."""


_BUDGETS: dict[str, _Budget] = {
    "frame_p99_ms": _Budget(read=lambda of: of.benchmark.frame["1"].p99_ms, unit="ms", timed=True),
    "frame_p50_ms": _Budget(read=lambda of: of.benchmark.frame["1"].p50_ms, unit="ms", timed=True),
    "throughput_fps": _Budget(
        read=lambda of: of.benchmark.throughput.frames_per_second,
        unit="frames/s",
        rule="at least",
        timed=True,
    ),
    "map50_95_drop": _Budget(read=lambda of: of.evaluation.map50_95_drop),
    "confidence_shift": _Budget(read=lambda of: of.evaluation.confidence_shift),
    "onnx_shift": _Budget(read=lambda of: of.evaluation.onnx_shift.scores_mean),
    "memory_peak_mib": _Budget(read=lambda of: of.benchmark.memory_peak_mib, unit="MiB"),
    "engine_size_mib": _Budget(read=lambda of: of.manifest.engine_bytes / (1 << 20), unit="MiB"),
    "hot_frame_p99_ms": _Budget(
        read=lambda of: of.benchmark.soak.hot.p99_ms if of.benchmark.soak else None,
        unit="ms",
        timed=True,
    ),
}
"""Every budget that there is, in the order of the table: the names of `Budgets`."""


def judge(
    manifest: Manifest,
    benchmark: Benchmark,
    evaluation: Evaluation,
    budgets: Budgets,
    *,
    judged: Mapping[str, Sha256],
    soak_minutes: float = 0,
) -> Verdict:
    """FAIL if a trusted measurement misses its budget, INVALID if one is not trusted, else PASS.

    Accuracy and size do not depend on how busy the machine was: a miss there is a FAIL at any time.
    `soak_minutes` is the row's: a shorter soak says nothing of a hot device. `judged` is what the
    verdict will name as the files that it is about.
    """
    limits = budgets.limits()
    doubts = _doubts(benchmark, evaluation, budgets, soak_minutes)
    untrusted = {name for name, reasons in doubts.items() if reasons}
    if not benchmark.validity.valid:
        untrusted |= {name for name, row in _BUDGETS.items() if row.timed}
    records = _Records(manifest, benchmark, evaluation)
    checks = tuple(
        _check(name, row, value, limits[name], trusted=name not in untrusted)
        for name, row in _BUDGETS.items()
        if name in limits and (value := row.read(records)) is not None
    )
    kept = evaluation.onnx_shift.scores_mean <= budgets.onnx_shift
    # What no check is about, since there is no figure or no budget for it.
    unproven = (*_not_soaked(benchmark, budgets), *_no_golden(evaluation))
    verdicts = {check.verdict for check in checks} | {"INVALID" for _ in unproven}
    found = _once(
        (*benchmark.validity.by_kind(), *(one for of in doubts.values() for one in of), *unproven)
    )
    return Verdict(
        engine=manifest.engine,
        target=manifest.target,
        engine_sha256=manifest.engine_sha256,
        verdict=next(one for one in ORDER if one in verdicts),
        checks=tuple(
            check.model_copy(update={"cause": _cause(check, records, kept=kept)})
            for check in checks
        ),
        reasons=tuple(one.text for one in found),
        causes=causes(found),
        notes=evaluation.notes,
        judged=dict(judged),
    )


def _doubts(
    benchmark: Benchmark, evaluation: Evaluation, budgets: Budgets, soak_minutes: float
) -> dict[str, tuple[Reason, ...]]:
    """Budget to why its figure is not known well enough, whatever the machine did."""
    return {
        "frame_p50_ms": tuple(
            Reason("contradiction", text)
            for text in contradictions(benchmark.inference, benchmark.frame)
        ),
        "frame_p99_ms": tuple(
            Reason("undecided", text)
            for text in _undecided(
                "whole frame's p99", benchmark.frame["1"], budgets.frame_p99_ms, "benchmark.seconds"
            )
        ),
        "hot_frame_p99_ms": _hot_undecided(benchmark, budgets.hot_frame_p99_ms, soak_minutes),
        "confidence_shift": _found_nothing(evaluation),
    }


def _check(name: str, row: _Budget, measured: float, limit: float, *, trusted: bool) -> Check:
    holds = measured <= limit if row.rule == "at most" else measured >= limit
    verdict: VerdictName = "PASS" if holds else "FAIL"
    return Check(
        name=name,
        measured=measured,
        limit=limit,
        unit=row.unit,
        rule=row.rule,
        verdict=verdict if trusted else "INVALID",
    )


def _undecided(what: str, times: Latency, limit: float, longer: str) -> tuple[str, ...]:
    if not times.p99_low_ms <= limit < times.p99_high_ms:
        return ()
    return (
        f"The {what} lies between {times.p99_low_ms:.2f} and {times.p99_high_ms:.2f} ms "
        f"with 95 % certainty, and its budget of {limit:g} ms is in between. Measure longer "
        f"({longer} in the target's params.yaml), or on a quieter machine.",
    )


def _hot_undecided(benchmark: Benchmark, limit: float | None, minutes: float) -> tuple[Reason, ...]:
    soak = benchmark.soak
    if soak is None or limit is None:
        return ()
    again = f"`pipeline benchmark {benchmark.engine} --target {benchmark.target}`"
    # Minutes become seconds and come back: the last digits may differ.
    if soak.minutes < minutes and not math.isclose(soak.minutes, minutes):
        text = (
            f"Expected a soak of at least {minutes:g} minutes (benchmark.soak_minutes in the "
            f"target's params.yaml), got one of {soak.minutes:.3g}: a device that is not hot yet "
            f"says nothing of budgets.hot_frame_p99_ms. Run {again} without --soak."
        )
        return (Reason("soak_too_short", text),)
    if soak.hot.count < LEAST_HOT_FRAMES:
        text = (
            f"Expected at least {LEAST_HOT_FRAMES} frames in the last third of the soak, which the "
            f"interval of a p99 needs, got {soak.hot.count}. Raise benchmark.soak_minutes in "
            f"the target's params.yaml and run {again}."
        )
        return (Reason("soak_too_short", text),)
    found = _undecided("hot frame's p99", soak.hot, limit, "benchmark.soak_minutes")
    return tuple(Reason("hot_undecided", text) for text in found)


def _not_soaked(benchmark: Benchmark, budgets: Budgets) -> tuple[Reason, ...]:
    """Why a hot p99 that has a budget cannot be judged: there is no figure to make a check of."""
    if budgets.hot_frame_p99_ms is None or benchmark.soak is not None:
        return ()
    text = (
        f"Expected a soak in benchmark.json, since budgets.hot_frame_p99_ms is "
        f"{budgets.hot_frame_p99_ms:g} ms, got none. Run `pipeline benchmark {benchmark.engine} "
        f"--target {benchmark.target} --soak MINUTES`, or set benchmark.soak_minutes in "
        "the target's params.yaml."
    )
    return (Reason("not_soaked", text),)


def _once(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Each text once: a record of before may hold what is found again here."""
    return tuple({one.text: one for one in reasons}.values())


def _cause(check: Check, of: _Records, *, kept: bool) -> str:
    """Who lost the accuracy that is missing: the ONNX file, or what was built from it; `kept` says
    whether the engine computes what its ONNX file says."""
    shift, drop = of.evaluation.onnx_shift, of.evaluation.map50_95_drop
    # Adding zero takes the sign off what was rounded to minus nothing.
    file, own = of.manifest.source.onnx_file, f"{round(shift.onnx_map50_95_drop, 4) + 0.0:+.4f}"
    if check.verdict == "FAIL" and check.name == "onnx_shift":
        most = of.manifest.executed_precision
        ran = f"; most of its layers run in {most}" if most != of.manifest.precision else ""
        return (
            f"The engine does not compute what {file} says: its scores are {shift.scores_mean:.3g} "
            f"off on average and its boxes {shift.boxes_mean_px:.3g} pixels. The ONNX file's own "
            f"drop is {own} mAP50-95, the engine's {drop:+.4f}: the builder or the processor "
            f"changed it{ran}. Build it with another version of {of.manifest.backend_package} than "
            f"{of.manifest.backend_version}, or use another precision."
        )
    if check.verdict == "FAIL" and check.name in ("map50_95_drop", "confidence_shift") and kept:
        return (
            f"The engine's scores are {shift.scores_mean:.3g} off {file} on average, so the "
            f"builder kept to it: it comes from the ONNX file, whose own drop is {own} mAP50-95 on "
            "the tuning set. quantize.json says how it was made."
        )
    return ""


def _found_nothing(evaluation: Evaluation) -> tuple[Reason, ...]:
    if evaluation.reference_detections:
        return ()
    text = (
        f"The FP32 checkpoint finds nothing at or above confidence "
        f"{evaluation.confidence_threshold:g} in the evaluation set, so there is nothing to "
        "compare the engine's confidences with. Train the model further, or lower "
        "evaluate.confidence in the target's params.yaml."
    )
    return (Reason("found_nothing", text),)


def _no_golden(evaluation: Evaluation) -> tuple[Reason, ...]:
    """Why no pod would be admitted with this engine (`runtime check`), whatever the figures are."""
    if evaluation.golden_telling != 0:
        return ()
    text = (
        "No pod will run this engine: nothing that it finds in its golden frames is clearly above "
        "the threshold, so that a wrong engine would look the same. Have pictures that hold "
        "objects in the tuning set, train the model further, or lower `evaluate.confidence` in the "
        "target's params.yaml."
    )
    return (Reason("golden", text),)
