"""The loader that MLflow calls for a released engine: pictures in, a table of boxes out.

    model = mlflow.pyfunc.load_model("models:/meter-yolov8n.x86-openvino@candidate")
    model.predict(pictures)

`pictures`: one, uint8 BGR of shape (height, width, 3), or the path of a file; a list of those, of
any sizes; or a batch of shape (n, height, width, 3). MLflow's signature names no input, since it
has no word for that and would refuse all but one of them before this code sees it.

The answer is a DataFrame with a row for each box: `image` (index into the pictures), `x1`, `y1`,
`x2`, `y2` (pixels of that image), `confidence`, `class_id`, `class_name`. It runs
`engines.detect.detector`, which is what was measured, and only on the device that the engine was
built for (WrongEngine elsewhere). Thresholds are those of the manifest; `load_model(uri,
model_config={"confidence": 0.1})` replaces one.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.detect.pictures import check_pixels, decode_picture
from engines.errors import InputError

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
        from pydantic import ValidationError

        from engines.detect.detector import Detector
        from engines.machine.fingerprint import read_fingerprint
        from engines.records.explain import explain
        from engines.records.thresholds import Thresholds

        if find_spec("cv2") is None:
            raise InputError(
                "Expected OpenCV, which prepares pictures as where the engine was measured, but it "
                "is not installed. Run `pip install opencv-python-headless`."
            )
        try:
            chosen = Thresholds.model_validate(thresholds)
        except ValidationError as error:
            raise InputError(
                f"Expected thresholds in model_config: {explain(error, of=Thresholds)}."
            ) from error
        self._one_at_a_time = threading.Lock()
        self._open = ExitStack()
        self._detector = self._open.enter_context(
            Detector.open(folder, read_fingerprint(), thresholds=chosen)
        )

    def predict(self, pictures: Any, params: dict[str, Any] | None = None) -> Any:
        """Boxes in `pictures` (see above) as a DataFrame. Raises InputError for anything else."""
        frames = to_frames(pictures)
        with self._one_at_a_time:
            found = self._detector.detect(frames)
        return to_table(found, self._detector.manifest.classes)


def to_frames(pictures: Any) -> list[NDArray[np.uint8]]:
    """Each picture as uint8 BGR, shape (height, width, 3). Raises InputError with the number of the
    one that is none."""
    one = isinstance(pictures, str | PathLike) or _dimensions(pictures) == 3
    every = [pictures] if one else pictures
    if not isinstance(every, list | tuple) and _dimensions(every) != 4:
        raise InputError(_expected(pictures))
    return [_frame(picture, None if one else number) for number, picture in enumerate(every)]


def _frame(picture: Any, number: int | None) -> NDArray[np.uint8]:
    where = "" if number is None else f" at {number} of the list"
    if isinstance(picture, str | PathLike):
        return _read(Path(picture), where)
    if _dimensions(picture) != 3 or picture.shape[2] != 3 or not picture.size:
        raise InputError(_expected(picture, where))
    if picture.dtype == np.uint8:
        return np.asarray(picture)
    # What comes as JSON is of int64 (`mlflow models serve`).
    if not np.issubdtype(picture.dtype, np.integer) or picture.min() < 0 or picture.max() > 255:
        raise InputError(_expected(picture, where))
    return np.asarray(picture, np.uint8)


def _read(path: Path, where: str) -> NDArray[np.uint8]:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(
                f"Expected a picture{where} in {path}, got a pipe or a device, whose end nobody "
                "knows. Give a file."
            )
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        why = getattr(error, "strerror", None) or error
        raise InputError(f"Expected a picture{where} in {path}, got: {why}.") from error
    check_pixels(path)
    picture = decode_picture(content, path.suffix)
    if picture is None:
        raise InputError(
            f"Expected a picture{where} in {path}, but OpenCV reads none from it. Save it as JPEG "
            "or PNG."
        )
    return picture


def _dimensions(value: Any) -> int | None:
    return value.ndim if isinstance(value, np.ndarray) else None


def _expected(value: Any, where: str = "") -> str:
    array = isinstance(value, np.ndarray)
    got = f"{value.dtype} of shape {value.shape}" if array else f"a {type(value).__name__}"
    return (
        f"Expected a picture{where} as uint8 BGR of shape (height, width, 3) with values from 0 to "
        f"255, the path of one, a list of those or a batch (n, height, width, 3); got {got}."
    )


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
