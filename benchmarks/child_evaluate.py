"""Run `pipeline evaluate`, and report the time of its loop: REPORT ENGINE --target TARGET."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path

from engines.config.workspace import find_workspace
from engines.detect.detections import Detections
from engines.detect.detector import Detector, Frame
from engines.records.evaluation import Evaluation
from pipeline.cli.app import commands

loop_seconds = 0.0
stream = Detector.stream


def timed(self: Detector, frames: Iterable[Frame]) -> Generator[Detections, None, None]:
    """As `Detector.stream`; its consumer in `pipeline evaluate` only collects."""
    global loop_seconds
    started = time.perf_counter()
    yield from stream(self, frames)
    loop_seconds += time.perf_counter() - started


def main(report: Path, engine: str, target: str) -> None:
    """Evaluate, then write the report."""
    Detector.stream = timed  # type: ignore[method-assign]
    commands(["evaluate", engine, "--target", target], standalone_mode=False)
    record = find_workspace().engine(target, engine).read(Evaluation)
    result = {"loop_s": loop_seconds, "map50_95": record.map50_95, "images": record.images}
    report.write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[4])
