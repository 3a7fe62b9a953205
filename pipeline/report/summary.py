"""`out/summary/<engine>.json`: the few figures of an engine that people choose by.

One flat file an engine, since `dvc metrics` and `dvc plots` make a column of every key.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from engines.files import write_atomic
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.manifest import Manifest
from engines.records.record import Precision, Record, VerdictName
from engines.records.verdict import Verdict


class Summary(Record):
    """Whole-frame figures are at batch 1; throughput is with several frames in flight."""

    written_by: ClassVar[str] = "pipeline gate"

    engine: str
    precision: Precision
    verdict: VerdictName
    frame_p50_ms: float
    frame_p99_ms: float
    inference_p50_ms: float
    throughput_fps: float
    map50_95: float
    map50_95_drop: float
    confidence_shift: float
    onnx_shift: float
    """Mean change of the scores against the engine's own ONNX file."""
    memory_peak_mib: float
    engine_size_mib: float
    hot_frame_p99_ms: float | None = None
    energy_per_frame_mj: float | None = None

    def write(self, path: Path) -> None:
        """Write without what was not measured, since DVC's metrics are numbers."""
        text = self.model_dump_json(indent=2, by_alias=True, exclude_none=True)
        write_atomic(path, text + "\n")


def summarise(
    manifest: Manifest, benchmark: Benchmark, evaluation: Evaluation, verdict: Verdict
) -> Summary:
    """The summary of one engine from its records."""
    return Summary(
        engine=manifest.engine,
        precision=manifest.precision,
        verdict=verdict.verdict,
        frame_p50_ms=benchmark.frame["1"].p50_ms,
        frame_p99_ms=benchmark.frame["1"].p99_ms,
        inference_p50_ms=benchmark.inference["1"].p50_ms,
        throughput_fps=benchmark.throughput.frames_per_second,
        map50_95=evaluation.map50_95,
        map50_95_drop=evaluation.map50_95_drop,
        confidence_shift=evaluation.confidence_shift,
        onnx_shift=evaluation.onnx_shift.scores_mean,
        memory_peak_mib=benchmark.memory_peak_mib,
        engine_size_mib=manifest.engine_bytes / (1 << 20),
        hot_frame_p99_ms=benchmark.soak.hot.p99_ms if benchmark.soak else None,
        energy_per_frame_mj=benchmark.energy_per_frame_mj,
    )


def table_text(rows: Iterable[Mapping[str, object]]) -> str:
    """Rows of equal keys as CSV with a header."""
    rows = list(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
