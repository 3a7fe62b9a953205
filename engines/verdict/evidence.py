"""What was measured on one engine: its manifest, benchmark and evaluation, and its own file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.backends.loading import device_differences
from engines.config.target import Budgets, TargetConfig
from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import describe
from engines.records.benchmark import Benchmark, Latency
from engines.records.evaluation import Evaluation
from engines.records.folder import GOLDEN, EngineFolder
from engines.records.manifest import Manifest
from engines.records.record import Part
from engines.records.verdict import Verdict
from engines.verdict.judge import judge

RECORDS = (Manifest.file, Benchmark.file, Evaluation.file, GOLDEN)
"""Names of the files that a verdict is about, beside the engine's own."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a verdict is about, of one engine."""

    folder: EngineFolder
    manifest: Manifest
    benchmark: Benchmark
    evaluation: Evaluation

    @property
    def engine_file(self) -> Path:
        return self.folder.engine_file(self.manifest)

    @property
    def frame(self) -> Latency:
        """Whole frame at batch 1: what one camera frame waits."""
        return self.benchmark.frame["1"]

    def sha256(self) -> dict[str, str]:
        """File name to SHA-256, of every file that there is."""
        names = (self.manifest.engine_file, *RECORDS)
        return {name: sha256 for name in names if (sha256 := self.folder.sha256(name))}


def read_evidence(workspace: Workspace, config: TargetConfig, engine: str) -> Evidence:
    """The evidence on an engine of a target.

    Raises InputError when a record is missing, is of another engine, was measured on another device
    or is not by what the target's row says now, and WrongEngine when the engine's file is not the
    manifest's.
    """
    target = config.target
    folder = workspace.engine(target, engine)
    evidence = Evidence(
        folder=folder,
        manifest=folder.read(Manifest),
        benchmark=folder.read(Benchmark),
        evaluation=folder.read(Evaluation),
    )
    _check_place(evidence, target, engine)
    folder.check_measured(evidence.manifest, evidence.benchmark, evidence.evaluation)
    _check_of_this_build(evidence)
    _check_golden(evidence)
    _check_batch_1(evidence)
    _check_device(evidence)
    _check_by_row(evidence, config)
    if problem := folder.altered(evidence.manifest):
        raise WrongEngine(
            f"Expected the engine that {folder.file(Manifest)} is of, but {problem}. "
            f"{build_again(target, engine)}"
        )
    return evidence


def judge_evidence(evidence: Evidence, budgets: Budgets, soak_minutes: float) -> Verdict:
    """The verdict by some budgets; `soak_minutes` is how long the row's soak is."""
    return judge(
        evidence.manifest,
        evidence.benchmark,
        evidence.evaluation,
        budgets,
        judged=evidence.sha256(),
        soak_minutes=soak_minutes,
    )


def build_again(target: str, engine: str) -> str:
    """The last sentence of an error: the commands that make all files of an engine anew."""
    return (
        f"Build and measure it again: `dvc repro engines/targets/{target}/dvc.yaml`, or `pipeline "
        f"build {engine} --target {target}`, then `benchmark`, `evaluate` and `gate` likewise."
    )


def _measure_again(target: str, engine: str) -> str:
    """Likewise, of an engine that may stay: TensorRT would build another one, for a release of its
    own."""
    return (
        f"Measure it again: `dvc repro engines/targets/{target}/dvc.yaml`, or `pipeline benchmark "
        f"{engine} --target {target}`, then `gate` likewise."
    )


def _check_place(evidence: Evidence, target: str, engine: str) -> None:
    manifest = evidence.manifest
    if (manifest.target, manifest.engine) != (target, engine):
        raise InputError(
            f"Expected {evidence.folder.file(Manifest)} to be of {engine} on {target}, got that "
            f"of {manifest.engine} on {manifest.target}. {build_again(target, engine)}"
        )


def _check_of_this_build(evidence: Evidence) -> None:
    """Refuse an evaluation by other thresholds, or of another version of the model, as with new
    data and the same weights: the engine is built anew byte for byte then."""
    manifest, evaluation = evidence.manifest, evidence.evaluation
    built = (manifest.model_version, manifest.thresholds)
    evaluated = (evaluation.model_version, evaluation.thresholds)
    if evaluated not in (built, (None, None)):
        raise InputError(
            f"Expected {evidence.folder.file(Evaluation)} to be of version {built[0]} of the model "
            f"by {built[1]}, as the engine was built, but it is of version {evaluated[0]} by "
            f"{evaluated[1]}. Run `{Evaluation.written_by} {manifest.engine} --target "
            f"{manifest.target}`."
        )


def _check_golden(evidence: Evidence) -> None:
    """Refuse golden frames of another evaluation."""
    manifest, expected = evidence.manifest, evidence.evaluation.golden_sha256
    found = evidence.folder.sha256(GOLDEN)
    if found != expected:
        raise InputError(
            f"Expected {evidence.folder.golden} as `{Evaluation.written_by}` wrote it beside "
            f"{Evaluation.file}, with sha256 {expected[:12]}…, but it is "
            f"{f'{found[:12]}…' if found else 'not there'}. Run `{Evaluation.written_by} "
            f"{manifest.engine} --target {manifest.target}`."
        )


def _check_batch_1(evidence: Evidence) -> None:
    """Budgets are for one camera frame at a time."""
    manifest, benchmark = evidence.manifest, evidence.benchmark
    for name, batches in (("frame", benchmark.frame), ("inference", benchmark.inference)):
        if "1" not in batches:
            raise InputError(
                f"Expected figures at batch 1 in {evidence.folder.file(Benchmark)}, got "
                f"`{name}` at batches {', '.join(batches) or '(none)'}. Run "
                f"`{Benchmark.written_by} {manifest.engine} --target {manifest.target}`."
            )


def _check_device(evidence: Evidence) -> None:
    """Refuse figures of a device that the engine is not tied to; a record of before this was noted
    names none."""
    manifest, here = evidence.manifest, evidence.benchmark.device
    wrong = device_differences(manifest, here) if here else []
    if here and wrong:
        raise InputError(
            f"Expected {evidence.folder.file(Benchmark)} to be measured where {manifest.engine} "
            f"was built, on {describe(manifest.device)}, but it is of {describe(here)} "
            f"({'; '.join(wrong)}). Run `{Benchmark.written_by} {manifest.engine} --target "
            f"{manifest.target}` there, or `{Manifest.written_by} {manifest.engine} --target "
            f"{manifest.target}` here and measure again."
        )


def _check_by_row(evidence: Evidence, config: TargetConfig) -> None:
    """Refuse what was built or measured by a row that was edited since: a pod would report by other
    thresholds than the commit of its release says, or the budgets be for other frames."""
    manifest, benchmark = evidence.manifest, evidence.benchmark
    then = {
        "backend": manifest.backend,
        **_fields("batch", manifest.batch),
        **_fields("evaluate", manifest.thresholds),
        "benchmark.frame_size": benchmark.frame_size,
    }
    now = {
        "backend": config.backend,
        **_fields("batch", config.batch),
        **_fields("evaluate", config.evaluate),
        "benchmark.frame_size": config.benchmark.frame_size,
    }
    for key, value in now.items():
        if then[key] != value:
            measured = key.startswith("benchmark.")
            again = _measure_again if measured else build_again
            raise InputError(
                f"Expected {evidence.folder.file(Benchmark if measured else Manifest)} to be by "
                f"the target's params.yaml, whose `{key}` is {value} now, but it is by "
                f"{then[key]}. {again(config.target, manifest.engine)}"
            )


def _fields(key: str, part: Part) -> dict[str, object]:
    return {f"{key}.{name}": value for name, value in part}
