"""One engine together with the numbers that were measured on it, and on no other engine.

A release must never go out on numbers of an older build: manifest, benchmark, evaluation and
verdict must all carry the sha256 of the engine file that is on the disk. Nor may it go out on a
verdict by budgets that somebody has changed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from engines.records.benchmark import Benchmark, Latency
from engines.records.evaluation import Evaluation
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from release.tags import Tag, make_tag


@dataclass(frozen=True, kw_only=True)
class Measured:
    """An engine that passed, with its files."""

    folder: Path
    manifest: Manifest
    benchmark: Benchmark
    evaluation: Evaluation
    verdict: Verdict

    @property
    def engine_file(self) -> Path:
        return self.folder / self.manifest.engine_file

    @property
    def frame(self) -> Latency:
        """Whole frame at batch 1: what one camera frame waits."""
        return self.benchmark.frame["1"]

    @property
    def tag(self) -> Tag:
        return make_tag(self.manifest)


def load_verdict(workspace: Workspace, target: str, engine: str) -> Verdict:
    """The gate's word on the engine that is there now. Raises InputError when it is of another."""
    folder = workspace.engine(target, engine)
    verdict = Verdict.read(folder / "verdict.json")
    _same_engine(folder, Manifest.read(folder / "manifest.json"), verdict)
    return verdict


def load_measured(workspace: Workspace, target: str, engine: str) -> Measured:
    """The files of an engine. Raises InputError unless all speak of the same engine, which is this
    target's and passed by the budgets that the target has now."""
    folder = workspace.engine(target, engine)
    measured = Measured(
        folder=folder,
        manifest=Manifest.read(folder / "manifest.json"),
        benchmark=Benchmark.read(folder / "benchmark.json"),
        evaluation=Evaluation.read(folder / "evaluation.json"),
        verdict=Verdict.read(folder / "verdict.json"),
    )
    _right_place(measured.manifest, target, engine)
    for record in (measured.benchmark, measured.evaluation, measured.verdict):
        _same_engine(folder, measured.manifest, record)
    _same_file(measured)
    _passed(workspace, measured)
    if "1" not in measured.benchmark.frame:
        raise InputError(
            f"{folder / 'benchmark.json'}: expected whole-frame figures at batch 1, came batches "
            f"{', '.join(measured.benchmark.frame) or '(none)'}. {_again(target, engine)}"
        )
    return measured


def _right_place(manifest: Manifest, target: str, engine: str) -> None:
    if (manifest.target, manifest.engine) != (target, engine):
        raise InputError(
            f"Expected the manifest of {engine} on {target}, came that of {manifest.engine} on "
            f"{manifest.target}. {_again(target, engine)}"
        )


def _same_engine(
    folder: Path, manifest: Manifest, record: Benchmark | Evaluation | Verdict
) -> None:
    ours = (manifest.engine, manifest.target, manifest.engine_sha256)
    if (record.engine, record.target, record.engine_sha256) != ours:
        raise InputError(
            f"What `{record.written_by}` wrote in {folder} is stale: expected measurements of "
            f"engine {manifest.engine_sha256[:12]} of manifest.json, came those of "
            f"{record.engine} on {record.target}, {record.engine_sha256[:12]}. "
            f"{_again(manifest.target, manifest.engine)}"
        )


def _same_file(measured: Measured) -> None:
    path, expected = measured.engine_file, measured.manifest.engine_sha256
    found = sha256_file(path) if path.is_file() else "no file"
    if found != expected:
        raise InputError(
            f"Expected {path} with sha256 {expected[:12]}… as manifest.json says, came "
            f"{found[:12]}. {_again(measured.manifest.target, measured.manifest.engine)}"
        )


def _passed(workspace: Workspace, measured: Measured) -> None:
    verdict, manifest = measured.verdict, measured.manifest
    path = measured.folder / "verdict.json"
    if verdict.verdict != "PASS":
        raise InputError(
            f"Expected an engine that passed, but {path} says {verdict.verdict}. Only PASS is "
            "released: see its `checks` and `reasons`."
        )
    gate = f"`pipeline gate {manifest.engine} --target {manifest.target}`"
    missed = [check.name for check in verdict.checks if check.verdict != "PASS"]
    if missed or not verdict.checks:
        raise InputError(
            f"{path} says PASS, but its checks do not: expected every one to be PASS, came "
            f"{', '.join(missed) or 'no check at all'}. Judge the engine again: run {gate}."
        )
    if not measured.benchmark.validity.valid:
        raise InputError(
            f"{path} says PASS, but benchmark.json, measured again since, is INVALID: "
            f"{' '.join(measured.benchmark.validity.reasons)} Judge the engine again: run {gate}."
        )
    config = load_target(workspace, manifest.target)
    config.engine(manifest.engine)
    now = config.budgets_of(manifest.engine).limits()
    then = {check.name: check.limit for check in verdict.checks}
    if then != now:
        raise InputError(
            f"{path} was judged by other budgets than params.yaml has now: "
            f"{_difference(then, now)}. Judge the engine again: run {gate}."
        )


def _difference(then: dict[str, float], now: dict[str, float]) -> str:
    """For example `frame_p99_ms 30 then and 25 now`."""
    return ", ".join(
        f"{name} {then.get(name, 'no limit')} then and {now.get(name, 'no limit')} now"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name)
    )


def _again(target: str, engine: str) -> str:
    return (
        f"Build and measure it again: `pipeline build|benchmark|evaluate|gate {engine} "
        f"--target {target}`, or `dvc repro`."
    )
