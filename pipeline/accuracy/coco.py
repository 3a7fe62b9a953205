"""COCO accuracy of detections against labels, through faster-coco-eval.

COCO's own settings: ten IoU thresholds from 0.50 to 0.95, 101 recall points, at most 100 detections
a picture and class, small below 32 x 32 pixels, large from 96 x 96 on
(https://cocodataset.org/#detection-eval); but see `counting`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detect.detections import Detections
from engines.errors import InputError
from engines.process.garbage import collected_later
from engines.records.evaluation import Accuracy, ClassAccuracy
from pipeline.intake.dataset import Sample
from pipeline.intake.labels import Labels
from pipeline.intake.pictures import Size

MAX_DETECTIONS = 100
"""Detections a picture and class that count, the most confident first; of crowds see `counting`."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """The labelled objects of one picture."""

    boxes: NDArray[np.float64]
    """x1, y1, x2, y2 in pixels, shape (n, 4)."""
    classes: NDArray[np.int64]
    """Shape (n,)."""
    height: int
    width: int


def read_set_labels(samples: Sequence[Sample], classes: int) -> dict[str, Labels]:
    """The labels of every sample, keyed by image file name.

    Raises InputError for a bad label, or a set without a single object.
    """
    labels = {sample.name: sample.read_labels(classes) for sample in samples}
    if not any(len(one.classes) for one in labels.values()):
        folder = samples[0].label.parent if samples else "the data set"
        raise InputError(
            f"Expected labelled objects in {folder}, got none in {len(labels)} pictures, so there "
            "is nothing to measure accuracy against. Put label files there, named as the images."
        )
    return labels


def in_pixels(labels: Mapping[str, Labels], sizes: Mapping[str, Size]) -> dict[str, Truth]:
    """The labels in pixels of pictures whose sizes are known, since they were decoded already."""
    return {
        name: Truth(
            boxes=one.pixels(*sizes[name]),
            classes=one.classes,
            height=sizes[name].height,
            width=sizes[name].width,
        )
        for name, one in labels.items()
    }


def counting(truth: Mapping[str, Truth]) -> int:
    """Detections a picture and class that count: COCO's hundred, or as many as one has objects.

    With fewer, who found a whole tray of 200 bolts would be told that half of it is lost;
    Ultralytics raises its own limit so (`DetectionValidator._check_max_det`).
    """
    most = (int(np.bincount(one.classes, minlength=1).max()) for one in truth.values())
    return max(MAX_DETECTIONS, *most)


def accuracy(
    truth: Mapping[str, Truth], detections: Mapping[str, Detections], classes: Sequence[str]
) -> Accuracy:
    """COCO accuracy of `detections` (by image file name) against `truth`."""
    result = _evaluate(truth, detections, classes)
    # Shape (IoU thresholds, recall points, classes, areas, detection limits); -1 means no objects.
    precision: NDArray[np.float64] = result["precision"][..., -1]
    objects = np.bincount(
        np.concatenate([one.classes for one in truth.values()]), minlength=len(classes)
    )
    return Accuracy(
        map50_95=_mean(precision[..., 0]) or 0.0,
        map50=_mean(precision[0, ..., 0]) or 0.0,
        map50_95_small=_mean(precision[..., 1]),
        map50_95_medium=_mean(precision[..., 2]),
        map50_95_large=_mean(precision[..., 3]),
        per_class={
            name: ClassAccuracy(
                map50_95=_mean(precision[:, :, index, 0]),
                map50=_mean(precision[0, :, index, 0]),
                objects=int(objects[index]),
            )
            for index, name in enumerate(classes)
        },
        images=len(truth),
        objects=int(objects.sum()),
    )


def _mean(precision: NDArray[np.float64]) -> float | None:
    measured = precision[precision > -1]
    return float(measured.mean()) if measured.size else None


def _evaluate(
    truth: Mapping[str, Truth], detections: Mapping[str, Detections], classes: Sequence[str]
) -> dict[str, Any]:
    from faster_coco_eval import COCO, COCOeval_faster

    names = list(truth)
    found = [_coco_rows(index, detections[name]) for index, name in enumerate(names)]
    rows = np.concatenate(found) if found else np.zeros((0, 7))
    with collected_later():  # a dictionary for each detection
        labelled = COCO(_coco_dataset(truth, classes))
        evaluation = COCOeval_faster(labelled, labelled.loadRes(rows), iouType="bbox")
        evaluation.params.maxDets = [counting(truth)]
        evaluation.params.catIds = list(range(len(classes)))
        evaluation.params.imgIds = list(range(len(names)))
        evaluation.evaluate()
        evaluation.accumulate()
    return dict(evaluation.eval)


def _coco_dataset(truth: Mapping[str, Truth], classes: Sequence[str]) -> dict[str, Any]:
    annotations = [
        {
            "image_id": index,
            "category_id": int(category),
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
            "iscrowd": 0,
        }
        for index, one in enumerate(truth.values())
        for category, (x1, y1, x2, y2) in zip(one.classes, one.boxes.tolist(), strict=True)
    ]
    return {
        "images": [
            {"id": index, "file_name": name, "height": one.height, "width": one.width}
            for index, (name, one) in enumerate(truth.items())
        ],
        # COCO takes id 0 for "not matched".
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
        "categories": [{"id": index, "name": name} for index, name in enumerate(classes)],
    }


def _coco_rows(image: int, found: Detections) -> NDArray[np.float64]:
    """Rows of image, x, y, width, height, confidence, class: shape (n, 7)."""
    boxes = found.boxes.astype(np.float64)
    return np.column_stack(
        [
            np.full(len(found), image),
            boxes[:, :2],
            boxes[:, 2:] - boxes[:, :2],
            found.confidences,
            found.classes,
        ]
    )
