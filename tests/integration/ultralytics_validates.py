"""Runs in a child process: what Ultralytics' validator finds in data sets.

`OUT WEIGHTS HEIGHT WIDTH DATA_YAML...` writes, for each data set, the labels and detections of
every picture in its own pixels, and the validator's own figures.
"""

from __future__ import annotations

import json
import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.intake.checkpoint import ultralytics_module


def validator(height: int, width: int) -> Any:
    """Ultralytics' validator for an input of that size, which notes what it compares."""
    base = ultralytics_module("ultralytics.models.yolo.detect").DetectionValidator

    class Noting(base):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.pictures: list[dict[str, Any]] = []

        def build_dataset(self, *arguments: Any, **options: Any) -> Any:
            dataset = super().build_dataset(*arguments, **options)
            if height != width:  # else it takes each picture's own shape, and half a stride more
                dataset.batch_shapes = np.array([[height, width]] * len(dataset.batch_shapes))
            return dataset

        def update_metrics(self, predictions: list[Any], batch: dict[str, Any]) -> None:
            super().update_metrics(predictions, batch)
            for index, found in enumerate(predictions):
                labelled = self._prepare_batch(index, batch)
                scale, padding = (np.array(one) for one in labelled["ratio_pad"])

                def in_picture(boxes: Any, scale: Any = scale, padding: Any = padding) -> Any:
                    boxes = boxes.numpy().reshape(-1, 4) - np.tile(padding, 2)
                    return (boxes / np.tile(scale[::-1], 2)).tolist()

                self.pictures.append(
                    {
                        "shape": list(labelled["ori_shape"]),
                        "truth": in_picture(labelled["bboxes"]),
                        "truth_classes": labelled["cls"].reshape(-1).tolist(),
                        "boxes": in_picture(found["bboxes"]),
                        "classes": found["cls"].tolist(),
                        "confidences": found["conf"].tolist(),
                    }
                )

    return Noting


def main(out: Path, weights: str, height: int, width: int, files: list[str]) -> None:
    # torchvision's operators cannot be loaded beside a torch for CPUs alone: Ultralytics has one.
    torchvision: Any = types.ModuleType("torchvision")
    torchvision.__version__ = "0"
    sys.modules["torchvision"] = torchvision
    nms = ultralytics_module("ultralytics.utils.nms").TorchNMS.nms
    torchvision.ops = types.SimpleNamespace(nms=nms)
    # The sides of a resized picture are rounded up for training, and to the nearest by LetterBox
    # where it predicts, as a pod does.
    reading: Any = ultralytics_module("ultralytics.data.base")
    assert reading.math is math
    reading.math = types.SimpleNamespace(ceil=round)
    ultralytics_module("ultralytics.data.utils").check_font = lambda *_: None  # it would fetch one
    settings = {
        **{"mode": "val", "imgsz": max(height, width), "conf": 0.001, "iou": 0.7, "max_det": 300},
        **{"rect": height != width, "batch": 1, "workers": 0, "device": "cpu"},
        **{"plots": False, "verbose": False, "project": str(out.parent), "exist_ok": True},
    }
    answers = []
    for file in files:
        run = validator(height, width)(args={**settings, "model": weights, "data": file})
        run()
        box = run.metrics.box
        answers.append({"pictures": run.pictures, "map50_95": box.map, "map50": box.map50})
    out.write_text(json.dumps(answers))


if __name__ == "__main__":
    place, weights, height, width, *files = sys.argv[1:]
    main(Path(place), weights, int(height), int(width), files)
