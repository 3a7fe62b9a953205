"""`pipeline export` and `pipeline verify` together against `yolo export`, whole processes."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from comparison import Comparison
from figures import Figure
from timing import run_process, take_turns

LIMIT = 1.3
BIN = Path(sys.executable).parent


def exporting(comparison: Comparison) -> list[Figure]:
    """Wall-clock time in a copy of the repository."""
    folder = comparison.scratch / "export"
    comparison.copy_repository(folder, outputs=False)
    weights = Path(shutil.copy(comparison.weights, comparison.scratch / "weights.pt"))
    name = comparison.model.name
    taken = take_turns(
        {
            "ours": lambda: [_pipeline(comparison, folder, step) for step in ("export", "verify")],
            "theirs": lambda: _yolo(comparison, weights),
        },
        rounds=comparison.effort.process_rounds,
    )
    parts = [median(one[step] for one in taken["ours"]) for step in (0, 1)]
    slim = "with" if find_spec("onnxslim") else "without"
    return [
        Figure(
            key="export",
            name="export + verify",
            unit="s",
            ours=tuple(sum(one) for one in taken["ours"]),
            theirs=tuple(taken["theirs"]),
            limit=LIMIT,
            notes=(
                f"Export: ours is `pipeline export {name}` ({parts[0]:.1f} s) and `pipeline verify "
                f"{name}` ({parts[1]:.1f} s), which also measures the FP32 accuracy on the "
                "evaluation set; theirs `yolo export format=onnx dynamic=True simplify=True`, "
                f"{slim} onnxslim installed. Whole processes.",
            ),
            raw={"export_and_verify_s": taken["ours"]},
        )
    ]


def _pipeline(comparison: Comparison, folder: Path, step: str) -> float:
    command: list[str | Path] = [BIN / "pipeline", step, comparison.model.name]
    return run_process(command, cwd=folder, environment=comparison.environment).seconds


def _yolo(comparison: Comparison, weights: Path) -> float:
    command: list[str | Path] = [
        BIN / "yolo",
        "export",
        f"model={weights}",
        "format=onnx",
        "dynamic=True",
    ]
    height, width = comparison.model.imgsz
    options = ["simplify=True", f"imgsz={height},{width}"]
    done = run_process(
        [*command, *options], cwd=comparison.scratch, environment=comparison.environment
    )
    return done.seconds
