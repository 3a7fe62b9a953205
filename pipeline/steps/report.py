"""`pipeline report`: all verdicts of a target side by side, and the data of its plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence

from engines.config.target import BudgetSource, load_target
from engines.config.workspace import Workspace
from engines.errors import GateFailed, GateInvalid, InputError
from engines.files import write_changed
from engines.records.benchmark import Benchmark
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from engines.verdict.judged import JudgedEngine, load_judged
from pipeline.report.again import measure_again
from pipeline.report.older import older
from pipeline.report.ran import what_ran
from pipeline.report.summary import Summary, summarise, table_text


def report(workspace: Workspace, target_name: str) -> list[tuple[Summary, Verdict]]:
    """Read every engine of the target that was judged; write
    `out/report/{latency,accuracy,tradeoff}.csv`.

    What DVC's metrics and GitLab read of engines that the row no longer names goes: an engine that
    somebody else took out, or that a runner kept, would be shown for ever.

    Raises InputError when none has been judged yet, or one by another row than the target has now,
    and WrongEngine when a file was changed after it was judged.
    """
    folder = workspace.target(target_name) / "out" / "report"
    engines = load_target(workspace, target_name).engines
    _forget_others(workspace, target_name, engines)
    lacking = _not_judged(workspace, target_name)
    here = [engine for engine in engines if engine not in lacking] or engines
    judged = [load_judged(workspace, target_name, engine) for engine in here]
    rows = [(_summary(one), one.verdict) for one in judged]
    summaries = [summary for summary, _ in rows]
    write_changed(folder / "accuracy.csv", table_text(map(_accuracy_row, summaries)))
    write_changed(folder / "tradeoff.csv", table_text(map(_tradeoff_row, summaries)))
    write_changed(folder / "latency.csv", table_text(_latency_rows(judged)))
    return rows


def _not_judged(workspace: Workspace, target_name: str) -> list[str]:
    return [
        engine
        for engine in load_target(workspace, target_name).engines
        if not workspace.engine(target_name, engine).file(Verdict).is_file()
    ]


def raise_unless_all_are_judged(workspace: Workspace, target_name: str) -> None:
    """Raise InputError that names the engines without a verdict, as right after `add-model`."""
    if lacking := _not_judged(workspace, target_name):
        raise InputError(
            f"Expected a verdict on every engine of {target_name}, but {', '.join(lacking)} "
            f"{'has' if len(lacking) == 1 else 'have'} none yet. Run `dvc repro "
            f"engines/targets/{target_name}/dvc.yaml`."
        )


def _forget_others(workspace: Workspace, target_name: str, engines: Collection[str]) -> None:
    out = workspace.target(target_name) / "out"
    there = {path.stem for path in out.glob("summary/*.json")}
    there |= {path.parent.name for path in out.glob("*/verdict.junit.xml")}
    for engine in there.difference(engines):
        folder = workspace.engine(target_name, engine)
        folder.summary.unlink(missing_ok=True)
        folder.junit.unlink(missing_ok=True)


def budget_sources(workspace: Workspace, target_name: str) -> dict[str, BudgetSource]:
    """Engine to where its budgets are from."""
    target = load_target(workspace, target_name)
    return {
        engine: row.budgets_from or target.budgets_from for engine, row in target.engines.items()
    }


def executed(workspace: Workspace, target_name: str, engines: Iterable[str]) -> list[str]:
    """What really ran, a sentence for each of the engines and each processor, and one for each
    engine of older weights."""
    built = [workspace.engine(target_name, engine).read(Manifest) for engine in engines]
    return [*what_ran(built), *(text for one in built for text in older(workspace, one))]


def invalid_engines(workspace: Workspace, target_name: str) -> list[str]:
    """Engines of the target whose last verdict is INVALID; one that has none yet is left out."""
    engines = load_target(workspace, target_name).engines
    return [
        engine
        for engine in engines
        if _last_verdict(workspace.engine(target_name, engine)) == "INVALID"
    ]


def _last_verdict(folder: EngineFolder) -> str | None:
    try:
        return folder.read(Verdict).verdict
    except InputError:  # not judged yet, or by another version: `dvc repro` judges it anyway
        return None


def _summary(judged: JudgedEngine) -> Summary:
    """The figures to report, which DVC's metrics and plots read from a file: it must have them."""
    summary = summarise(judged.manifest, judged.benchmark, judged.evaluation, judged.verdict)
    path = judged.folder.summary
    if Summary.read(path) != summary:
        raise InputError(
            f"Expected {path} to hold the figures that {judged.manifest.engine} was judged by, but "
            f"it is of another time. Run `{Summary.written_by} {judged.manifest.engine} --target "
            f"{judged.manifest.target}`, or `dvc repro engines/targets/"
            f"{judged.manifest.target}/dvc.yaml`."
        )
    return summary


def _accuracy_row(summary: Summary) -> dict[str, object]:
    return {
        "engine": summary.engine,
        "precision": summary.precision,
        "map50_95": summary.map50_95,
        "map50_95_drop": summary.map50_95_drop,
    }


def _tradeoff_row(summary: Summary) -> dict[str, object]:
    return {
        "engine": summary.engine,
        "frame_p50_ms": summary.frame_p50_ms,
        "map50_95": summary.map50_95,
    }


def _latency_rows(judged: Iterable[JudgedEngine]) -> Iterable[dict[str, str]]:
    for one in judged:
        path = one.folder.latency_table
        if not path.is_file():
            raise InputError(
                f"Expected {path}, which `{Benchmark.written_by} {one.manifest.engine} --target "
                f"{one.manifest.target}` writes, but it is not there. Bring it back with `dvc "
                f"checkout engines/targets/{one.manifest.target}/dvc.yaml`, or measure again."
            )
        text = path.read_text(encoding="utf-8")
        yield from csv.DictReader(io.StringIO(text))


def raise_unless_one_passes(rows: Sequence[tuple[Summary, Verdict]], *, bare: bool = False) -> None:
    """As `raise_unless_all_pass`, but content with one engine that may be released."""
    if all(verdict.verdict != "PASS" for _, verdict in rows):
        raise_unless_all_pass(rows, bare=bare)


def raise_unless_all_pass(rows: Sequence[tuple[Summary, Verdict]], *, bare: bool = False) -> None:
    """Raise GateFailed if an engine fails, else GateInvalid if one is INVALID.

    `bare`: whether `dvc repro` without a target is about this one.
    """
    failed = [summary.engine for summary, verdict in rows if verdict.verdict == "FAIL"]
    invalid = [summary.engine for summary, verdict in rows if verdict.verdict == "INVALID"]
    if failed:
        raise GateFailed(
            f"Expected every engine to keep its budgets, but {', '.join(failed)} did not. "
            f"The figures above say which; make it better, or change the budget in "
            f"engines/targets/{rows[0][1].target}/params.yaml."
        )
    if invalid:
        raise GateInvalid(
            f"Expected measurements that can be trusted, but those of {', '.join(invalid)} cannot "
            "be. Do what the reasons above say, then measure again, in the repository's root:\n"
            + measure_again(rows[0][1].target, invalid, bare=bare)
        )
