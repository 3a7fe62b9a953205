"""Boxes that a detector found, and a file of them for a whole data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

from engines.errors import InputError
from engines.files import atomic_path


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


def save_detections(path: Path, images: Mapping[str, Detections]) -> None:
    """Write the detections of many images, keyed by file name, as one .npz, atomically."""
    found = [Detections.empty(), *images.values()]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            names=np.array(list(images), dtype=np.str_),
            counts=np.array([len(one) for one in images.values()], np.int64),
            boxes=np.concatenate([one.boxes for one in found]),
            confidences=np.concatenate([one.confidences for one in found]),
            classes=np.concatenate([one.classes for one in found]),
        )


def load_detections(path: Path) -> dict[str, Detections]:
    """Read what `save_detections` wrote. Raises InputError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            ends = np.cumsum(file["counts"])
            parts = (np.split(file[key], ends)[:-1] for key in ("boxes", "confidences", "classes"))
            return {
                str(name): Detections(boxes=boxes, confidences=confidences, classes=classes)
                for name, boxes, confidences, classes in zip(file["names"], *parts, strict=True)
            }
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(
            f"Expected the FP32 reference detections in {path}, but they cannot be read ({error}). "
            "Make them again with `pipeline verify MODEL`."
        ) from error
