"""`pipeline evaluate` against `yolo val` on the OpenVINO export, by the image."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from comparison import Comparison
from figures import Figure
from timing import run_process, take_turns

from engines.dataset import load_set

LIMIT = 1.0
OURS = Path(__file__).parent / "child_evaluate.py"
THEIRS = Path(__file__).parent / "child_val.py"


def evaluating(comparison: Comparison) -> list[Figure]:
    """Time of an image: of the whole process, and of the loop from image file to boxes."""
    folder = comparison.scratch / "evaluate"
    comparison.copy_repository(folder, outputs=True)
    data = _data_yaml(comparison, folder)
    engine = comparison.engine("fp16").name
    ours = [engine, "--target", comparison.target.target]
    theirs = [comparison.weights, data, comparison.target.evaluate.iou, *comparison.model.imgsz]
    _run(comparison, folder, THEIRS, theirs)  # exports, and writes the cache of labels
    taken = take_turns(
        {
            "ours": lambda: _run(comparison, folder, OURS, ours),
            "theirs": lambda: _run(comparison, folder, THEIRS, theirs),
        },
        rounds=comparison.effort.process_rounds,
    )
    return [_figure(what, taken) for what in ("process", "loop")]


def _figure(what: str, taken: dict[str, list[dict[str, Any]]]) -> Figure:
    images = taken["theirs"][0]["images"]
    last = {side: runs[-1]["map50_95"] for side, runs in taken.items()}
    notes = (
        "Evaluate: time of an image. `process` is the whole process divided by the images (start, imports, load, "
        "images, accuracy; ours also the bootstrap and the drop, theirs without importing "
        "torchvision). `loop` is from image file to boxes (read, letterbox, inference, decode, "
        "NMS); theirs is less the matching of boxes, which it does in its loop. In both, the time "
        f"in their NMS is left out. mAP50-95: ours {last['ours']:.4f}, theirs {last['theirs']:.4f} "
        f"(its own formula), {images} images.",
    )
    ours, theirs = (
        tuple(run[f"{what}_s"] / images * 1e3 for run in taken[side]) for side in ("ours", "theirs")
    )
    return Figure(
        key="evaluate",
        name=f"evaluate, {what}",
        unit="ms",
        ours=ours,
        theirs=theirs,
        limit=LIMIT,
        notes=notes,
        raw=taken,
    )


def _run(
    comparison: Comparison, folder: Path, script: Path, arguments: list[Any]
) -> dict[str, Any]:
    """Run a child; what it reports, with the time of its whole process."""
    report = comparison.scratch / "report.json"
    command: list[str | Path] = [sys.executable, script, report, *(str(part) for part in arguments)]
    done = run_process(command, cwd=folder, environment=comparison.environment)
    said: dict[str, Any] = json.loads(report.read_text())
    return {**said, "process_s": done.seconds - said.get("nms_s", 0.0)}


def _data_yaml(comparison: Comparison, folder: Path) -> Path:
    """An Ultralytics data.yaml of the copied evaluation set."""
    copied = folder / comparison.workspace.model(comparison.model.name).relative_to(
        comparison.workspace.root
    )
    evaluation = copied / comparison.model.data.evaluation
    load_set(evaluation, "evaluation")
    names = list(comparison.model.classes)
    path = folder / "data.yaml"
    content = {"path": str(evaluation), "train": "images", "val": "images", "names": names}
    path.write_text(json.dumps(content))  # JSON is YAML
    return path
