"""Whether an engine is still as sure as the checkpoint was.

mAP alone misses a model whose confidences collapsed, since it looks at their order only
(https://github.com/ultralytics/ultralytics/issues/24668), while a pod reports what is above a fixed
threshold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.detect.detections import Detections, iou_matrix

MATCH_IOU = 0.5
"""Overlap from which on two boxes of one class are taken for the same object."""


@dataclass(frozen=True, kw_only=True)
class ConfidenceShift:
    """How confidences moved against the reference."""

    shift: float
    """Mean absolute change, 0 to 1; one without a partner counts with its whole confidence."""
    references: int
    """Reference detections at or above the threshold."""
    lost: int
    """Those of them without a partner."""


def confidence_shift(
    reference: Mapping[str, Detections],
    engine: Mapping[str, Detections],
    threshold: float | NDArray[np.float32],
) -> ConfidenceShift:
    """Compare, picture by picture, every reference detection at or above `threshold`: one number,
    or one for each class."""
    changes: list[float] = []
    lost = 0
    for name, expected in reference.items():
        limits = threshold if isinstance(threshold, float) else threshold[expected.classes]
        sure = np.flatnonzero(expected.confidences >= limits)
        partners = _partners(expected, sure, engine[name])
        confidences = np.append(engine[name].confidences, 0.0)[partners]
        changes.extend(np.abs(expected.confidences[sure] - confidences).tolist())
        lost += int((partners == -1).sum())
    return ConfidenceShift(
        shift=float(np.mean(changes)) if changes else 0.0, references=len(changes), lost=lost
    )


def _partners(expected: Detections, sure: NDArray[np.int64], got: Detections) -> NDArray[np.int64]:
    """For each index in `sure` the engine's detection of the same object, or -1; none twice."""
    partners = np.full(len(sure), -1)
    if not len(got):
        return partners
    ious = iou_matrix(expected.boxes[sure].astype(np.float64), got.boxes.astype(np.float64))
    ious[expected.classes[sure][:, None] != got.classes[None, :]] = 0.0
    for row in range(len(sure)):
        best = int(ious[row].argmax())
        if ious[row, best] >= MATCH_IOU:
            partners[row] = best
            ious[:, best] = 0.0
    return partners
