"""`pipeline evaluate` against Ultralytics' `val` on its OpenVINO export, by the image."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from comparison import Comparison
from figures import Figure
from peer import exported
from timing import run_process, take_turns

LIMITS = {"process": 0.65}
OURS = Path(__file__).parent / "child_evaluate.py"
THEIRS = Path(__file__).parent / "child_val.py"


def evaluating(comparison: Comparison) -> list[Figure]:
    """Time of an image: of the whole process, and of the loop from image file to boxes."""
    folder = comparison.scratch / "evaluate"
    comparison.copy_repository(folder, outputs=True)
    data = data_yaml(comparison, folder)
    model = exported(comparison)
    arguments = [comparison.engine("fp16").name, "--target", comparison.target.target]
    validate(comparison, model, data)  # writes the cache of labels
    taken = take_turns(
        {
            "ours": lambda: _run(comparison, folder, OURS, arguments),
            "theirs": lambda: validate(comparison, model, data),
        },
        rounds=comparison.effort.process_rounds,
    )
    return [_figure(what, taken) for what in ("process", "loop")]


def _figure(what: str, taken: dict[str, list[dict[str, Any]]]) -> Figure:
    images = taken["theirs"][0]["images"]
    ours, theirs = (
        tuple(run[f"{what}_s"] / images * 1e3 for run in taken[side]) for side in ("ours", "theirs")
    )
    return Figure(
        key="evaluate",
        name=f"evaluate, {what}",
        unit="ms",
        ours=ours,
        theirs=theirs,
        limit=LIMITS.get(what),
        notes=(_explain(taken),),
        raw=taken,
    )


def _explain(taken: dict[str, list[dict[str, Any]]]) -> str:
    ours, theirs = (taken[side][-1]["map50_95"] for side in ("ours", "theirs"))
    return (
        "Evaluate: time of an image. `process` is the whole process divided by the images: start, "
        "imports, load, images, accuracy; ours also the reference, the drop and its bootstrap, "
        "theirs without importing torchvision. `loop` is from image file to boxes: read, "
        "letterbox, inference, decode, NMS; theirs is less the matching of boxes, which it does "
        "in its loop. In both, the time in their NMS is left out. mAP50-95 on "
        f"{taken['theirs'][0]['images']:.0f} images: ours {ours:.4f}, theirs {theirs:.4f} by its "
        "own formula."
    )


def validate(comparison: Comparison, model: Path, data: Path) -> dict[str, Any]:
    """What Ultralytics' `val` takes and finds, with its NMS for free (see peer.py)."""
    arguments = [model, data, comparison.target.evaluate.iou, *comparison.model.imgsz]
    return _run(comparison, data.parent, THEIRS, arguments)


def data_yaml(comparison: Comparison, folder: Path) -> Path:
    """Write an Ultralytics data.yaml of the evaluation set in a copy of the repository."""
    root = comparison.workspace.root
    model = folder / comparison.workspace.model(comparison.model.name).relative_to(root)
    content = {
        "path": str(model / comparison.model.data.evaluation),
        "train": "images",
        "val": "images",
        "names": list(comparison.model.classes),
    }
    path = folder / "data.yaml"
    path.write_text(json.dumps(content))  # JSON is YAML
    return path


def _run(
    comparison: Comparison, folder: Path, script: Path, arguments: list[Any]
) -> dict[str, Any]:
    """Run a child; what it reports, with the time of its whole process."""
    report = comparison.scratch / "report.json"
    command: list[str | Path] = [sys.executable, script, report, *(str(one) for one in arguments)]
    done = run_process(command, cwd=folder, environment=comparison.environment)
    said: dict[str, Any] = json.loads(report.read_text())
    return {**said, "process_s": done.seconds - said.get("nms_s", 0.0)}
