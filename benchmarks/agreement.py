"""Whether both detectors find the same boxes: a faster detector that finds others is no peer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from peer import Frame, Peer

from engines.detect.detections import Detections, iou_matrix
from engines.detect.detector import Detector
from pipeline.accuracy.confidence import MATCH_IOU


def agreement(ours: Detector, theirs: Peer, frames: Sequence[Frame]) -> str:
    """Say how far the boxes in the frames lie apart."""
    pairs = [_differences(ours.detect([frame])[0], theirs.detections(frame)) for frame in frames]
    counts = ", ".join(f"{one.ours}/{one.theirs}" for one in pairs)
    return (
        f"Boxes in the {len(frames)} frames, ours (fp16) / theirs: {counts}. Without a partner of "
        f"the same class at an IoU of {MATCH_IOU:g}: {sum(one.alone for one in pairs)}. The others "
        f"differ by at most {max(one.box for one in pairs):.2f} pixels and "
        f"{max(one.confidence for one in pairs):.4f} of confidence."
    )


@dataclass(frozen=True, kw_only=True)
class _Differences:
    ours: int
    theirs: int
    alone: int
    """Of either side, without a partner on the other."""
    box: float
    """Largest of a coordinate, in pixels of the frame."""
    confidence: float


def _differences(ours: Detections, theirs: Detections) -> _Differences:
    ious = iou_matrix(ours.boxes.astype(np.float64), theirs.boxes.astype(np.float64))
    ious[ours.classes[:, None] != theirs.classes[None, :]] = 0
    pairs: list[tuple[int, int]] = []
    for row in range(len(ours)):
        best = int(ious[row].argmax()) if len(theirs) else -1
        if best >= 0 and ious[row, best] >= MATCH_IOU:
            pairs.append((row, best))
            ious[:, best] = 0
    boxes = [np.abs(ours.boxes[one] - theirs.boxes[other]).max() for one, other in pairs]
    sure = [abs(ours.confidences[one] - theirs.confidences[other]) for one, other in pairs]
    return _Differences(
        ours=len(ours),
        theirs=len(theirs),
        alone=len(ours) + len(theirs) - 2 * len(pairs),
        box=float(max(boxes, default=0)),
        confidence=float(max(sure, default=0)),
    )
