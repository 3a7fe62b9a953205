"""Detections as the arrays of an .npz, and what reading a damaged one raises."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from engines.detect.detections import Detections

DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, BadZipFile),
    *(NotImplementedError, zlib.error),
)
"""What NumPy and zipfile raise for a damaged archive, beside the MemoryError of a header that asks
for more than there is."""


def to_arrays(found: Sequence[Detections]) -> dict[str, Any]:
    """How many there are in each picture, then those of all pictures in order."""
    every = [Detections.empty(), *found]
    return {
        "counts": np.array([len(one) for one in found], np.int64),
        "boxes": np.concatenate([one.boxes for one in every]),
        "confidences": np.concatenate([one.confidences for one in every]),
        "classes": np.concatenate([one.classes for one in every]),
    }


def from_arrays(file: Mapping[str, NDArray[Any]]) -> tuple[Detections, ...]:
    """The detections of each picture. Raises ValueError unless the arrays fit together, KeyError
    where one is missing."""
    counts, *parts = (file[key] for key in ("counts", "boxes", "confidences", "classes"))
    if counts.ndim != 1 or counts.min(initial=0) < 0:
        raise ValueError(f"counts have the shape {counts.shape}, or are below 0")
    total = int(counts.sum())
    if [part.shape for part in parts] != [(total, 4), (total,), (total,)]:
        raise ValueError(f"the boxes are not the {total} that the counts say")
    ends = np.cumsum(counts)
    split = (np.split(part, ends)[:-1] for part in parts)
    return tuple(
        Detections(boxes=boxes, confidences=confidences, classes=classes)
        for boxes, confidences, classes in zip(*split, strict=True)
    )
