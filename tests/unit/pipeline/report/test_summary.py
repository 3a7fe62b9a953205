"""The figures that DVC's metrics and plots read."""

from __future__ import annotations

from pathlib import Path

from factories.records import BUDGETS, benchmark, evaluation, judge, manifest, soaked

from engines.records.benchmark import Benchmark
from pipeline.report.summary import Summary, summarise


def _summary(of: Benchmark) -> Summary:
    return summarise(manifest(), of, evaluation(), judge(manifest(), of, evaluation(), BUDGETS))


def test_the_summary_leaves_out_what_was_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    _summary(benchmark()).write(path)
    assert "hot" not in path.read_text()
    assert "null" not in path.read_text()
    assert Summary.read(path).energy_per_frame_mj is None
    _summary(soaked(20)).write(path)
    assert (Summary.read(path).hot_frame_p99_ms, Summary.read(path).energy_per_frame_mj) == (
        20,
        93.25,
    )
