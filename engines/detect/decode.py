"""Raw head output into boxes: threshold, decode, class-aware non-maximum suppression.

Agrees with `ultralytics.utils.nms.non_max_suppression` on the same raw output, down to its float32
arithmetic: classes are kept apart by moving the boxes of class c by c * 7680 pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.detect.detections import Detections
from engines.detect.letterbox import Placement

CLASS_OFFSET = np.float32(7680)
MAX_CANDIDATES = 30_000
"""Most confident candidates that enter suppression; Ultralytics' `max_nms`."""
BLOCK = 128
"""Candidates that are compared with each other at once. Time is flat from 64 to 256."""


def decode(
    raw: NDArray[np.float32],
    placement: Placement,
    *,
    confidence: float | NDArray[np.float32],
    iou: float,
    max_detections: int,
    multi_label: bool = False,
) -> Detections:
    """Boxes of one image, in frame pixels, by falling confidence.

    `raw` has the shape (4 + classes, anchors): cx, cy, w, h in input pixels, then the scores. An
    anchor counts with its best class, or, with `multi_label`, once for each class, which is what
    mAP is measured with; where that class is above `confidence`, one number or one for each class.
    """
    least = confidence.min() if isinstance(confidence, np.ndarray) else confidence
    anchors = (raw[4:].max(axis=0) > least).nonzero()[0]
    if not len(anchors):
        return Detections.empty()
    candidates = raw.take(anchors, axis=1)
    scores = candidates[4:]
    if multi_label:
        index, classes = np.greater(scores.T, confidence).nonzero()
        confidences = scores[classes, index]
    else:
        index, classes = np.arange(len(anchors)), scores.argmax(axis=0)
        confidences = scores.max(axis=0)
        if isinstance(confidence, np.ndarray):
            sure = confidences > confidence[classes]
            index, classes, confidences = index[sure], classes[sure], confidences[sure]
    order = (-confidences).argsort(kind="stable")[:MAX_CANDIDATES]
    index, classes, confidences = index[order], classes[order], confidences[order]
    boxes = _corners(candidates[:4])[index]
    apart = boxes + (classes.astype(np.float32) * CLASS_OFFSET)[:, None]
    kept = suppress(apart, iou, max_detections)
    return Detections(
        boxes=placement.to_frame(boxes[kept]),
        confidences=confidences[kept],
        classes=classes[kept],
    )


def suppress(boxes: NDArray[np.float32], iou: float, limit: int) -> NDArray[np.int64]:
    """Indices of the boxes that non-maximum suppression keeps, at most `limit`.

    `boxes` has the shape (n, 4), x1, y1, x2, y2, by falling confidence. Goes through them in
    blocks, so that many candidates cost n * kept comparisons and not n * n.
    """
    kept = _greedy(_overlap(boxes[:BLOCK], boxes[:BLOCK], iou))
    for start in range(BLOCK, len(boxes), BLOCK):
        if len(kept) >= limit:
            break
        block = np.arange(start, min(start + BLOCK, len(boxes)))
        block = block[~_overlap(boxes[kept], boxes[block], iou).any(axis=0)]
        kept = np.concatenate([kept, block[_greedy(_overlap(boxes[block], boxes[block], iou))]])
    return kept[:limit]


def _greedy(overlap: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Which boxes stay when each one that stays removes those after it that it overlaps."""
    alive = np.ones(len(overlap), np.bool_)
    overlap.flat[:: len(overlap) + 1] = False  # each one with itself
    for row in overlap.any(axis=1).nonzero()[0]:
        if alive[row]:
            alive[row + 1 :] &= ~overlap[row, row + 1 :]
    return alive.nonzero()[0]


def _overlap(one: NDArray[np.float32], other: NDArray[np.float32], iou: float) -> NDArray[np.bool_]:
    """Whether the boxes `one` (rows) and `other` (columns) overlap by more than `iou`."""
    first, second = one.T[:, :, None], other.T[:, None, :]
    width = np.minimum(first[2], second[2]) - np.maximum(first[0], second[0])
    height = np.minimum(first[3], second[3]) - np.maximum(first[1], second[1])
    shared = np.maximum(width, 0, out=width) * np.maximum(height, 0, out=height)
    union = _areas(first) + _areas(second) - shared
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(shared / union > iou)


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of x1, y1, x2, y2 along the first axis."""
    return np.asarray((boxes[2] - boxes[0]) * (boxes[3] - boxes[1]))


def _corners(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """cx, cy, w, h in rows, shape (4, n), as x1, y1, x2, y2 in columns, shape (n, 4)."""
    centre, half = boxes[:2], boxes[2:] / 2
    return np.asarray(np.concatenate([centre - half, centre + half]).T)
