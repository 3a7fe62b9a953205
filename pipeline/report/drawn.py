"""Boxes drawn on a picture, for people to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.config.names import shown
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
        text = f"{_name(classes[index], int(index))} {confidence:.2f}"
        _put_inside(drawn, text, (x1, max(y1 - 2 * thick, 12 * thick)), colour, thick)
    whole, data = cv2.imencode(".png", drawn)
    if not whole:
        raise InputError(f"Expected OpenCV to write a PNG for {path}, but it did not.")
    write_atomic(path, data.tobytes())


def _name(name: str, index: int) -> str:
    """With its number where letters may lack: OpenCV 5 has no emoji, and 4 has ASCII only."""
    text = shown(name)
    return text if text == name and text.isascii() else f"{index} {text}"


def _put_inside(
    drawn: NDArray[np.uint8],
    text: str,
    where: tuple[int, int],
    colour: tuple[int, int, int],
    thick: int,
) -> None:
    """Write `text` on `colour` from `where`, left end and baseline; further left, and then smaller,
    where it would leave the picture."""
    import cv2

    font, width = cv2.FONT_HERSHEY_SIMPLEX, drawn.shape[1]
    (wide, high), below = cv2.getTextSize(text, font, thick / 2, thick)
    scale = thick / 2 * min(1, width / wide)
    x, y = max(0, min(where[0], width - wide)), where[1]
    cv2.rectangle(drawn, (x, y - high - thick), (x + wide, y + below // 2), colour, cv2.FILLED)
    cv2.putText(drawn, text, (x, y), font, scale, (0, 0, 0), thick)
