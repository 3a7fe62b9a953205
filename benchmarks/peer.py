"""Ultralytics as a peer: its environment, its exports, and its detector for one frame.

The only module here that imports Ultralytics in the process of `compare.py`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from comparison import Comparison
from numpy.typing import NDArray

from engines.detect.decode import suppress
from engines.detect.detections import Detections

Frame = NDArray[np.uint8]

EVERYTHING = 1 << 30


def environment(scratch: Path) -> dict[str, str]:
    """Variables that keep Ultralytics in `scratch`, off the network and from installing.

    To be taken before Ultralytics is imported: it sets OMP_NUM_THREADS in its own process, which
    must not reach the others.
    """
    own = {
        "YOLO_CONFIG_DIR": str(scratch / "ultralytics"),
        "YOLO_AUTOINSTALL": "false",
        "YOLO_OFFLINE": "true",
        "YOLO_VERBOSE": "false",
    }
    Path(own["YOLO_CONFIG_DIR"]).mkdir(parents=True, exist_ok=True)
    return {**os.environ, **own}


class StandIn:
    """In the place of torchvision, whose compiled operators cannot be loaded beside a torch that
    was built for CPUs only. Of it, Ultralytics' detectors use `torchvision.ops.nms` alone.

    It takes longer than the compiled operator, so its time is counted apart: with `seconds` taken
    off, Ultralytics is measured as if its non-maximum suppression took no time at all.
    """

    def __init__(self) -> None:
        self.seconds = 0.0

    def install(self) -> None:
        """Be what `import torchvision` finds from now on."""
        module: Any = types.ModuleType("torchvision")
        module.__version__ = "0"
        module.ops = types.SimpleNamespace(nms=self.nms)
        sys.modules["torchvision"] = module

    def nms(self, boxes: Any, scores: Any, iou_threshold: float) -> Any:
        """As `torchvision.ops.nms`: indices of the boxes that stay, by falling score."""
        import torch

        started = time.perf_counter()
        order = np.argsort(-scores.numpy(), kind="stable")
        kept = order[suppress(boxes.numpy()[order], iou_threshold, EVERYTHING)]
        result = torch.from_numpy(kept)
        self.seconds += time.perf_counter() - started
        return result


class Peer:
    """Ultralytics' detector on one of its exports."""

    def __init__(self, name: str, model: Path, comparison: Comparison, stand_in: StandIn) -> None:
        """`model`: folder of the export."""
        from ultralytics.models import YOLO

        thresholds = comparison.target.evaluate
        self.name = name
        self._model: Any = YOLO(model, task="detect")
        self._stand_in = stand_in
        self._options = {
            "imgsz": list(comparison.model.imgsz),
            "conf": thresholds.confidence,
            "iou": thresholds.iou,
            "max_det": thresholds.max_detections,
            "device": "cpu",
            "verbose": False,
            "project": str(comparison.scratch / "runs"),
        }

    def detect(self, frames: Sequence[Frame]) -> list[Any]:
        """Ultralytics' results of the frames, which make one batch."""
        found: list[Any] = self._model.predict(list(frames), **self._options)
        return found

    def seconds(self, frames: Sequence[Frame]) -> float:
        """Time for the frames as one batch, with its suppression for free (see StandIn)."""
        before, started = self._stand_in.seconds, time.perf_counter()
        self.detect(frames)
        passed = time.perf_counter() - started
        return passed - (self._stand_in.seconds - before)

    def detections(self, frame: Frame) -> Detections:
        """The boxes of one frame, as ours."""
        boxes = self.detect([frame])[0].boxes
        return Detections(
            boxes=boxes.xyxy.numpy(),
            confidences=boxes.conf.numpy(),
            classes=boxes.cls.numpy().astype(np.int64),
        )


def exported(comparison: Comparison, **options: Any) -> Path:
    """Ultralytics' OpenVINO export of the model, made when it is not there yet.

    `options` are Ultralytics' own, such as `half` and `batch`.
    """
    from ultralytics.models import YOLO

    name = "-".join(["openvino", *(f"{key}-{value}" for key, value in options.items())])
    folder = comparison.scratch / name
    if found := list(folder.glob("*_openvino_model")):
        return found[0]
    folder.mkdir()
    weights = Path(shutil.copy(comparison.weights, folder / "weights.pt"))
    imgsz = list(comparison.model.imgsz)
    return Path(YOLO(weights).export(format="openvino", imgsz=imgsz, verbose=False, **options))
