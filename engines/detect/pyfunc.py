"""The loader that MLflow calls for a released engine: images in, a table of boxes out.

    model = mlflow.pyfunc.load_model("models:/meter-yolov8n.x86-openvino@candidate")
    model.predict(images)   # uint8 BGR, shape (n, height, width, 3), any height and width

gives a DataFrame with a row for each box: `image` (index into the batch), `x1`, `y1`, `x2`, `y2`
(pixels of that image), `confidence`, `class_id`, `class_name`. It runs `engines.detect.detector`,
which is what was measured, and only on the device that the engine was built for (WrongEngine
elsewhere). Thresholds are those of the manifest; `load_model(uri,
model_config={"confidence": 0.1})` replaces one.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from engines.detect.detections import Detections

COLUMNS = {
    "image": "int64",
    "x1": "float32",
    "y1": "float32",
    "x2": "float32",
    "y2": "float32",
    "confidence": "float32",
    "class_id": "int64",
    "class_name": "str",
}
"""Columns of the answer and their types."""


class EngineModel:
    """A released engine, loaded; closed when nobody holds it any more."""

    def __init__(self, folder: Path, thresholds: dict[str, Any]) -> None:
        from engines.detect.detector import Detector
        from engines.machine.fingerprint import read_fingerprint
        from engines.records.thresholds import Thresholds

        self._one_at_a_time = threading.Lock()
        self._open = ExitStack()
        self._detector = self._open.enter_context(
            Detector.open(
                folder, read_fingerprint(), thresholds=Thresholds.model_validate(thresholds)
            )
        )

    def predict(self, images: NDArray[np.uint8], params: dict[str, Any] | None = None) -> Any:
        """Boxes in `images`, uint8 BGR, shape (n, height, width, 3), as a DataFrame."""
        with self._one_at_a_time:
            found = self._detector.detect(list(images))
        return to_table(found, self._detector.manifest.classes)


def to_table(found: list[Detections], classes: tuple[str, ...]) -> Any:
    """Detections of a batch as one DataFrame, by image and falling confidence."""
    import pandas as pd  # type: ignore[import-untyped]

    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for one in found)])
    class_ids = np.concatenate([np.zeros(0, np.int64), *(one.classes for one in found)])
    confidences = [np.zeros(0, np.float32), *(one.confidences for one in found)]
    table = pd.DataFrame(boxes, columns=["x1", "y1", "x2", "y2"])
    table.insert(0, "image", np.repeat(np.arange(len(found)), [len(one) for one in found]))
    table["confidence"] = np.concatenate(confidences)
    table["class_id"] = class_ids
    table["class_name"] = [classes[index] for index in class_ids]
    return table.astype(COLUMNS)


def _load_pyfunc(path: str, model_config: dict[str, Any]) -> EngineModel:
    """Called by MLflow with the folder of engine and manifest, and the thresholds."""
    return EngineModel(Path(path), model_config)
