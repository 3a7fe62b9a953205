"""Boxes that a detector found in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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


def iou_matrix(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union of all pairs of boxes x1, y1, x2, y2, shape (len(one), len(other)),
    in the floating-point type of the boxes."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    overlap = np.clip(high - low, 0, None).prod(axis=2)
    area_one = (one[:, 2:] - one[:, :2]).prod(axis=1)
    area_other = (other[:, 2:] - other[:, :2]).prod(axis=1)
    union = area_one[:, None] + area_other[None, :] - overlap
    return np.asarray(overlap / np.maximum(union, np.finfo(union.dtype).tiny))
