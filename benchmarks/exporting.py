"""`pipeline export` and `pipeline verify` together against `yolo export`, whole processes."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from comparison import Comparison
from evaluating import data_yaml, validate
from figures import Figure
from timing import run_process, take_turns

LIMIT = 0.7
BIN = Path(sys.executable).parent


def exporting(comparison: Comparison) -> list[Figure]:
    """Wall-clock time in a copy of the repository.

    `yolo export` checks nothing. `pipeline verify` runs the float32 network over the evaluation
    set, and the like of that is `yolo val` on the ONNX file: the second figure counts it in.
    """
    folder = comparison.scratch / "export"
    comparison.copy_repository(folder, outputs=False)
    data = data_yaml(comparison, folder)
    weights = Path(shutil.copy(comparison.weights, comparison.scratch / "weights.pt"))
    _yolo(comparison, weights)
    validate(comparison, weights.with_suffix(".onnx"), data)  # writes the cache of labels
    taken = take_turns(
        {
            "export": lambda: _pipeline(comparison, folder, "export"),
            "verify": lambda: _pipeline(comparison, folder, "verify"),
            "yolo export": lambda: _yolo(comparison, weights),
            "yolo val": lambda: validate(comparison, weights.with_suffix(".onnx"), data)[
                "process_s"
            ],
        },
        rounds=comparison.effort.process_rounds,
    )
    slim = "with" if find_spec("onnxslim") else "without"
    parts = ", ".join(f"`{name}` {median(values):.1f} s" for name, values in taken.items())
    notes = (
        f"Export: whole processes; {parts}. Ours also measures the FP32 accuracy on the "
        "evaluation set. `yolo export` is with format=onnx dynamic=True simplify=True, "
        f"{slim} onnxslim installed, and checks nothing; `yolo val` runs its ONNX file on the "
        "evaluation set.",
    )
    return [
        _figure("export + verify", taken, ("yolo export",), notes, None),
        _figure("  with yolo val", taken, ("yolo export", "yolo val"), notes, LIMIT),
    ]


def _figure(
    name: str,
    taken: dict[str, list[Any]],
    theirs: tuple[str, ...],
    notes: tuple[str, ...],
    limit: float | None,
) -> Figure:
    return Figure(
        key="export",
        name=name,
        unit="s",
        ours=_sums(taken, ("export", "verify")),
        theirs=_sums(taken, theirs),
        limit=limit,
        notes=notes,
        raw=taken,
    )


def _sums(taken: dict[str, list[Any]], names: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(sum(values) for values in zip(*(taken[name] for name in names), strict=True))


def _pipeline(comparison: Comparison, folder: Path, step: str) -> float:
    command: list[str | Path] = [BIN / "pipeline", step, comparison.model.name]
    return run_process(command, cwd=folder, environment=comparison.environment).seconds


def _yolo(comparison: Comparison, weights: Path) -> float:
    height, width = comparison.model.imgsz
    command: list[str | Path] = [BIN / "yolo", "export", f"model={weights}", "format=onnx"]
    options = ("dynamic=True", "simplify=True", f"imgsz={height},{width}")
    done = run_process(
        [*command, *options], cwd=comparison.scratch, environment=comparison.environment
    )
    return done.seconds
