"""A verdict with its evidence, which counts only while neither was changed.

A verdict names the sha256 of every file that it is about, and it is what judging those files again
gives. So nothing that is edited after the gate gets past here: not a figure in benchmark.json, and
not the word in verdict.json.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from engines.config.target import Budgets, TargetConfig, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest
from engines.records.verdict import Check, Verdict
from engines.verdict.evidence import RECORDS, Evidence, build_again, judge_evidence, read_evidence


@dataclass(frozen=True, kw_only=True)
class JudgedEngine(Evidence):
    """An engine with the gate's word on it and all that it was judged by."""

    verdict: Verdict


def load_judged(workspace: Workspace, target: str, engine: str) -> JudgedEngine:
    """The engine that lies there, with its verdict.

    Raises InputError when it was not built, measured and judged by what its target's row says now,
    and WrongEngine when a file was changed after it was judged, the verdict itself among them.
    """
    config = load_target(workspace, target)
    config.engine(engine)
    folder = workspace.engine(target, engine)
    verdict = _read_verdict(folder)
    for name in RECORDS:
        _check_unchanged(folder, verdict, name, target)
    _check_unchanged(folder, verdict, folder.read(Manifest).engine_file, target)
    evidence = read_evidence(workspace, config, engine)
    _check_verdict(evidence, verdict, config)
    return JudgedEngine(
        folder=folder,
        manifest=evidence.manifest,
        benchmark=evidence.benchmark,
        evaluation=evidence.evaluation,
        verdict=verdict,
    )


def load_passed(workspace: Workspace, target: str, engine: str) -> JudgedEngine:
    """`load_judged`, and InputError unless the engine passed."""
    judged = load_judged(workspace, target, engine)
    if judged.verdict.verdict != "PASS":
        raise InputError(
            f"Expected an engine that passed, but {judged.folder.file(Verdict)} says "
            f"{judged.verdict.verdict}. Only PASS is released: see its `checks` and `reasons`."
        )
    return judged


def _read_verdict(folder: EngineFolder) -> Verdict:
    try:
        return folder.read(Verdict)
    except InputError as error:
        if not folder.file(Verdict).exists():
            raise
        # There is one that the gate did not write, or one of an older version did.
        raise WrongEngine(str(error)) from error


def _check_unchanged(folder: EngineFolder, verdict: Verdict, name: str, target: str) -> None:
    expected, found = verdict.judged.get(name), folder.sha256(name)
    if found is None or found != expected:
        then = f"with sha256 {expected[:12]}…" if expected else "(which verdict.json does not name)"
        now = f"got {found[:12]}…" if found else "but it is not there"
        raise WrongEngine(
            f"{folder.path / name} was changed after the engine was judged: expected the file "
            f"that {Verdict.file} speaks of, {then}, {now}. {build_again(target, folder.path.name)}"
        )


def _check_verdict(evidence: Evidence, verdict: Verdict, config: TargetConfig) -> None:
    """Judge again, by the budgets of now and, where they are others, by those of then."""
    path, engine = evidence.folder.file(Verdict), evidence.manifest.engine
    now, soak_minutes = config.budgets_of(engine), config.benchmark.soak_minutes
    expected = judge_evidence(evidence, now, soak_minutes)
    if _the_same(expected, verdict):
        return
    again = (
        f"Judge the engine again: run `{Verdict.written_by} {engine} --target {config.target}`, or "
        f"`dvc repro engines/targets/{config.target}/dvc.yaml` for all of them."
    )
    if then := _budgets_of(verdict):
        expected = judge_evidence(evidence, then, soak_minutes)
        if _the_same(expected, verdict):
            raise InputError(
                f"{path} was judged by other budgets than the target's params.yaml has now: "
                f"{_other_limits(then, now)}. {again}"
            )
    raise WrongEngine(
        f"{path} is not what judging {engine} on {config.target} gives: "
        f"{_first_difference(expected, verdict)}. {again}"
    )


def _the_same(expected: Verdict, got: Verdict) -> bool:
    """Whether two verdicts say the same; one of before does not tell causes from other reasons."""
    return got == (expected if got.causes else expected.model_copy(update={"causes": ()}))


def _budgets_of(verdict: Verdict) -> Budgets | None:
    """The budgets that a verdict says it was judged by; None when no row can have them."""
    try:
        return Budgets.model_validate({check.name: check.limit for check in verdict.checks})
    except ValidationError:
        return None


def _other_limits(then: Budgets, now: Budgets) -> str:
    """For example `frame_p99_ms 30 then and 25 now`."""
    old, new = then.limits(), now.limits()
    return ", ".join(
        f"{name} {old.get(name, 'no limit')} then and {new.get(name, 'no limit')} now"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    )


def _first_difference(expected: Verdict, got: Verdict) -> str:
    """For example `checks.frame_p99_ms.measured: expected 12.5, got 9.5`."""
    pairs = zip(_leaves(expected), _leaves(got), strict=False)
    for (key, ours), (their_key, theirs) in pairs:
        if key != their_key:
            return f"expected {key} {ours}, got {their_key} {theirs}"
        if ours != theirs:
            return f"{key}: expected {ours}, got {theirs}"
    return f"expected {len(expected.checks)} checks, got {len(got.checks)}"


def _leaves(verdict: Verdict) -> Iterator[tuple[str, object]]:
    """Everything that a verdict says, in a fixed order."""
    yield from verdict.model_dump(include={"engine", "target", "engine_sha256"}).items()
    for check in verdict.checks:
        for key in Check.model_fields:
            yield f"checks.{check.name}.{key}", getattr(check, key)
    yield "verdict", verdict.verdict
    yield "reasons", " ".join(verdict.reasons) or "none"
    yield "causes", " ".join(verdict.causes) or "none"
    yield "judged", ", ".join(sorted(verdict.judged))
