"""`pipeline gate`: the measurements of an engine against the budgets of its target."""

from __future__ import annotations

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import GateFailed, GateInvalid
from engines.records.verdict import Verdict
from engines.verdict.evidence import judge_evidence, read_evidence
from pipeline.progress import note
from pipeline.report.again import measure_again
from pipeline.report.junit import write_junit
from pipeline.report.older import older
from pipeline.report.summary import Summary, summarise


def gate(workspace: Workspace, target_name: str, engine: str) -> tuple[Verdict, Summary]:
    """Judge one engine; write `verdict.json`, `verdict.junit.xml` and its summary.

    Raises InputError when a measurement is missing or is not of the engine that lies there, and
    WrongEngine when that is not the manifest's.
    """
    target = load_target(workspace, target_name)
    target.engine(engine)
    evidence = read_evidence(workspace, target, engine)
    for sentence in older(workspace, evidence.manifest):
        note(sentence)
    verdict = judge_evidence(evidence, target.budgets_of(engine), target.benchmark.soak_minutes)
    write_junit(verdict, evidence.folder.junit)
    summary = summarise(evidence.manifest, evidence.benchmark, evidence.evaluation, verdict)
    summary.write(evidence.folder.summary)
    evidence.folder.write(verdict)
    return verdict, summary


def raise_unless_pass(verdict: Verdict, *, bare: bool = False) -> None:
    """Raise GateFailed or GateInvalid (exit codes 3 and 4) unless the verdict is PASS.

    `bare`: whether `dvc repro` without a target is about this one.
    """
    if verdict.verdict == "FAIL":
        missed = ", ".join(check.name for check in verdict.checks if check.verdict == "FAIL")
        raise GateFailed(
            f"{verdict.engine} on {verdict.target} misses its budget: {missed}. Make the engine "
            f"better, or change `budgets:` in engines/targets/{verdict.target}/params.yaml."
        )
    if verdict.verdict == "INVALID":
        raise GateInvalid(
            f"{verdict.engine} on {verdict.target} could not be judged: its measurement is "
            "INVALID, for the reasons in verdict.json. Do what they say, then measure again, in "
            "the repository's root:\n" + measure_again(verdict.target, [verdict.engine], bare=bare)
        )
