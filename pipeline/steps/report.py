"""`pipeline report`: all verdicts of a target side by side, and the data of its plots."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import GateFailed, GateInvalid, InputError
from engines.files import write_atomic
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from pipeline.report.summary import Summary, table_text


def report(workspace: Workspace, target_name: str) -> list[tuple[Summary, Verdict]]:
    """Read every engine of the target; write `out/report/{latency,accuracy,tradeoff}.csv`.

    Raises InputError when an engine has not been judged yet, or was built again since.
    """
    out = workspace.target(target_name) / "out"
    engines = load_target(workspace, target_name).engines
    rows = [_row(out, engine) for engine in engines]
    summaries = [summary for summary, _ in rows]
    write_atomic(out / "report" / "accuracy.csv", table_text(map(_accuracy_row, summaries)))
    write_atomic(out / "report" / "tradeoff.csv", table_text(map(_tradeoff_row, summaries)))
    write_atomic(out / "report" / "latency.csv", table_text(_latency_rows(out, engines)))
    return rows


def invalid_engines(workspace: Workspace, target_name: str) -> list[str]:
    """Engines of the target whose last verdict is INVALID; one that has none yet is left out."""
    out = workspace.target(target_name) / "out"
    engines = load_target(workspace, target_name).engines
    return [engine for engine in engines if _last_verdict(out / engine) == "INVALID"]


def _last_verdict(folder: Path) -> str | None:
    try:
        return Verdict.read(folder / "verdict.json").verdict
    except InputError:  # not judged yet, or by another version: `dvc repro` judges it anyway
        return None


def _row(out: Path, engine: str) -> tuple[Summary, Verdict]:
    manifest = Manifest.read(out / engine / "manifest.json")
    verdict = Verdict.read(out / engine / "verdict.json")
    summary = Summary.read(out / "summary" / f"{engine}.json")
    if verdict.engine_sha256 != manifest.engine_sha256 or summary.verdict != verdict.verdict:
        raise InputError(
            f"Expected the verdict of the engine {manifest.engine_sha256[:12]} that lies in "
            f"{out / engine}, came one of {verdict.engine_sha256[:12]} ({verdict.verdict}; the "
            f"summary says {summary.verdict}). Measure and judge it again with `dvc repro`."
        )
    return summary, verdict


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


def _latency_rows(out: Path, engines: Iterable[str]) -> Iterable[dict[str, str]]:
    for engine in engines:
        path = out / "latency" / f"{engine}.csv"
        if not path.is_file():
            raise InputError(
                f"Expected {path}, which `pipeline benchmark {engine}` writes, but it is not there."
            )
        text = path.read_text(encoding="utf-8")
        yield from csv.DictReader(io.StringIO(text))


def raise_unless_all_pass(rows: Sequence[tuple[Summary, Verdict]]) -> None:
    """Raise GateFailed if an engine fails, else GateInvalid if one is INVALID."""
    failed = [summary.engine for summary, verdict in rows if verdict.verdict == "FAIL"]
    invalid = [summary.engine for summary, verdict in rows if verdict.verdict == "INVALID"]
    if failed:
        raise GateFailed(
            f"Expected every engine to keep its budgets, but {', '.join(failed)} did not. "
            "Its verdict.json says which; make it better or change the budget in params.yaml."
        )
    if invalid:
        raise GateInvalid(
            f"Expected measurements that can be trusted, but those of {', '.join(invalid)} cannot "
            "be. Do what the reasons above say, then run `pipeline benchmark` again."
        )
