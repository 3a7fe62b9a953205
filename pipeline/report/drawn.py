"""Boxes drawn on a picture, for people to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.detect.detections import Detections
from engines.errors import InputError
from engines.files import write_atomic

_COLOURS = ((64, 64, 255), (64, 200, 64), (255, 144, 32), (0, 192, 255), (224, 64, 224))
"""Blue, green, red."""


def write_drawn(
    path: Path, picture: NDArray[np.uint8], found: Detections, classes: tuple[str, ...]
) -> None:
    """Write `picture`, uint8 BGR of shape (height, width, 3), with its boxes, as PNG."""
    import cv2

    drawn = picture.copy()
    thick = max(1, round(max(drawn.shape[:2]) / 400))
    rows = zip(found.boxes, found.confidences, found.classes, strict=True)
    for box, confidence, index in rows:
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        colour = _COLOURS[int(index) % len(_COLOURS)]
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, thick)
        # OpenCV's font has ASCII only; other letters would be question marks.
        name = classes[index] if classes[index].isascii() else f"class {index}"
        where = (x1, max(y1 - 2 * thick, 12 * thick))
        text = f"{name} {confidence:.2f}"
        cv2.putText(drawn, text, where, cv2.FONT_HERSHEY_SIMPLEX, thick / 2, colour, thick)
    whole, data = cv2.imencode(".png", drawn)
    if not whole:
        raise InputError(f"Expected OpenCV to write a PNG for {path}, but it did not.")
    write_atomic(path, data.tobytes())
