"""How far a built engine is from its own ONNX file.

A drop in mAP does not say who lost it: the ONNX file, or what a builder or a processor made of it.
The raw outputs on the same pixels do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engines.records.evaluation import OnnxShift


def onnx_shift(
    expected: NDArray[np.float32],
    computed: NDArray[np.float32],
    sure: float | NDArray[np.float32],
    *,
    onnx_map50_95_drop: float,
) -> OnnxShift:
    """Compare two raw head outputs, shape (frames, 4 + classes, anchors), where either finds an
    object: a score at or above `sure`, one for all classes or one for each.

    Where neither finds any, scores at or above half of the highest count. What is no number in
    `computed` counts as 0. `onnx_map50_95_drop` is only noted.
    """
    computed = np.nan_to_num(computed, nan=0.0, posinf=0.0, neginf=0.0)
    scores, others = expected[:, 4:], computed[:, 4:]
    highest = np.maximum(scores, others)
    found = highest >= np.reshape(np.asarray(sure, np.float32), (-1, 1))
    if not found.any():
        found = highest >= highest.max() / 2
    apart = np.abs(scores - others)[found]
    boxes = np.abs(expected[:, :4] - computed[:, :4]).transpose(0, 2, 1)[found.any(axis=1)]
    return OnnxShift(
        frames=len(expected),
        objects=int(found.sum()),
        scores_mean=float(apart.mean()),
        scores_max=float(apart.max()),
        boxes_mean_px=float(boxes.mean()),
        boxes_max_px=float(boxes.max()),
        onnx_map50_95_drop=onnx_map50_95_drop,
    )
