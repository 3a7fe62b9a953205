"""Boxes that a detector found in a picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Detections in one image, by falling confidence."""

    boxes: NDArray[np.float32]
    """x1, y1, x2, y2 in pixels of the original image, shape (n, 4)."""
    confidences: NDArray[np.float32]
    """0 to 1, shape (n,)."""
    classes: NDArray[np.int64]
    """Index into the model's classes, shape (n,)."""

    def __len__(self) -> int:
        return len(self.confidences)

    @classmethod
    def empty(cls) -> Self:
        """No detections."""
        return cls(
            boxes=np.zeros((0, 4), np.float32),
            confidences=np.zeros(0, np.float32),
            classes=np.zeros(0, np.int64),
        )
