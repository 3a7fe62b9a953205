"""`golden.npz` of an engine: a few frames, and the boxes that it found in them on its own device.

Whoever loads the engine later, on that kind of device, finds these boxes again or has another
engine, another device or a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.detect.arrays import DAMAGED, from_arrays, to_arrays
from engines.detect.detections import Detections, iou_matrix
from engines.detect.detector import Detector
from engines.errors import InputError
from engines.files import atomic_path, sha256_file

MIN_OVERLAP = 0.9
"""Intersection over union from which two boxes are the same one."""
MAX_CONFIDENCE_DIFFERENCE = 0.05
"""The same engine on the same kind of device differs by rounding: bfloat16 has 3 digits, and the
order in which processors add is not fixed."""


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Frames, and what an engine found in each."""

    frames: NDArray[np.uint8]
    """Letterboxed BGR, shape (n, height, width, 3)."""
    found: tuple[Detections, ...]
    """At the manifest's thresholds, in pixels of these frames."""

    @property
    def objects(self) -> int:
        return sum(len(one) for one in self.found)

    def telling(self, confidence: float | NDArray[np.float32]) -> list[int]:
        """The frames with a box so clearly above the threshold (see `compare`) that it may not be
        missing: in the others an engine that finds nothing would pass."""
        found = enumerate(self.found)
        return [index for index, one in found if _clear(one, confidence, without=[])]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Boxes that an engine found against those that it found on its own device."""

    frames: int
    objects: int
    """Boxes of then."""
    missing: int
    """Of those, boxes that are not there now."""
    unexpected: int
    """Boxes of now that were not there then."""
    confidence_difference: float
    """The largest of two that are the same."""

    @property
    def same(self) -> bool:
        return not self.missing and not self.unexpected


def find_golden(detector: Detector, frames: NDArray[np.uint8]) -> Golden:
    """Run the engine on `frames` (uint8 BGR, shape (n, height, width, 3)), one by one, as a pod
    does. `detector` has the manifest's thresholds."""
    found = tuple(detector.detect([frame])[0] for frame in frames)
    return Golden(frames=frames, found=found)


def write_golden(golden: Golden, path: Path) -> str:
    """Write it as one .npz, atomically, the same content as the same bytes; gives its SHA-256."""
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            arrays = to_arrays(golden.found)
            np.savez(file, frames=golden.frames, **arrays)
        return sha256_file(temporary)


def read_golden(path: Path) -> Golden:
    """Read what `write_golden` wrote. Raises InputError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            golden = Golden(frames=file["frames"], found=from_arrays(file))
        _check(golden)
        return golden
    except (*DAMAGED, MemoryError) as error:
        raise InputError(
            f"Expected golden frames, and what the engine found in them, in {path}, but they "
            f"cannot be read ({error}). `pipeline evaluate` writes them."
        ) from error


def compare(
    expected: Detections, found: Detections, confidence: float | NDArray[np.float32]
) -> Comparison:
    """Boxes of now, `found`, against those of then in the same frame.

    `confidence` is the threshold, one number or one for each class: a box that is that close to it
    may come or go.
    """
    pairs = _pairs(expected, found)
    ours, theirs = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    differences = np.abs(expected.confidences[ours] - found.confidences[theirs])
    return Comparison(
        frames=1,
        objects=len(expected),
        missing=_clear(expected, confidence, without=ours),
        unexpected=_clear(found, confidence, without=theirs),
        confidence_difference=float(differences.max(initial=0)),
    )


def compare_all(
    golden: Golden, found: Sequence[Detections], confidence: float | NDArray[np.float32]
) -> Comparison:
    """`compare` over all golden frames."""
    each = [compare(*pair, confidence) for pair in zip(golden.found, found, strict=True)]
    return Comparison(
        frames=len(golden.frames),
        objects=golden.objects,
        missing=sum(one.missing for one in each),
        unexpected=sum(one.unexpected for one in each),
        confidence_difference=max(one.confidence_difference for one in each),
    )


def _pairs(expected: Detections, found: Detections) -> list[tuple[int, int]]:
    """Indices of boxes that are the same: each with the nearest that no other has."""
    if not len(expected) or not len(found):
        return []
    overlap = iou_matrix(expected.boxes, found.boxes)
    difference = np.abs(expected.confidences[:, None] - found.confidences[None, :])
    same = expected.classes[:, None] == found.classes[None, :]
    overlap[~same | (overlap < MIN_OVERLAP) | (difference > MAX_CONFIDENCE_DIFFERENCE)] = 0
    pairs = []
    for row in range(len(expected)):
        column = int(overlap[row].argmax())
        if overlap[row, column] > 0:
            pairs.append((row, column))
            overlap[:, column] = 0
    return pairs


def _clear(
    boxes: Detections, confidence: float | NDArray[np.float32], *, without: list[int]
) -> int:
    """How many of the boxes, some left out, are clearly above the threshold."""
    limits = np.asarray(confidence)[boxes.classes] if np.ndim(confidence) else confidence
    clear = boxes.confidences > limits + MAX_CONFIDENCE_DIFFERENCE
    clear[without] = False
    return int(clear.sum())


def _check(golden: Golden) -> None:
    """Raise ValueError unless frames and boxes are such, and as many."""
    frames = golden.frames
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise ValueError(f"frames are {frames.dtype} of shape {frames.shape}")
    if len(frames) != len(golden.found):
        raise ValueError(f"there are boxes of {len(golden.found)} frames, and {len(frames)} frames")
    for one in golden.found:
        numbers = np.isfinite(one.boxes).all() and np.isfinite(one.confidences).all()
        if not numbers or not (one.classes >= 0).all():
            raise ValueError("a box is no box")
