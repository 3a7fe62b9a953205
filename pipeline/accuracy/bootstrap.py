"""How sure an accuracy drop is: a paired bootstrap over pictures.

Matching detections to labels does not depend on which pictures are drawn, so it is done once. A
resample then only gives each picture a weight, and the COCO average precision is taken over
weighted counts: hundreds of resamples in seconds. With all weights 1 it is COCO's own figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engines.detect.detections import Detections, iou_matrix
from engines.records.evaluation import Interval
from pipeline.accuracy.coco import Truth, counting

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
MOST_NUMBERS = 2**15
"""In one array of several resamples: larger arrays are slower again, since their memory is fetched
anew from the system each time."""


@dataclass(frozen=True, kw_only=True)
class ClassMatches:
    """All detections of one class over a set, by falling confidence, matched to the labels."""

    images: NDArray[np.int64]
    """Index of the picture of each detection, shape (n,)."""
    rows: NDArray[np.int64]
    """Detections that are a true positive at any IoU threshold, shape (m,). Precision rises only
    there, so its envelope needs no others; that is a tenth of all."""
    hits: NDArray[np.bool_]
    """Whether each of those is a true positive at each IoU threshold, shape (m, 10)."""
    objects: NDArray[np.int64]
    """Labelled objects of the class in each picture, shape (pictures,)."""


class _Matched(NamedTuple):
    """The detections in one picture that count, by falling confidence."""

    classes: NDArray[np.int64]
    confidences: NDArray[np.float32]
    hits: NDArray[np.bool_]
    """Shape (n, 10)."""


def match(truth: Mapping[str, Truth], detections: Mapping[str, Detections]) -> list[ClassMatches]:
    """Match detections to labels as COCO does; one entry for each class that has objects."""
    limit = counting(truth)
    found = [_match_picture(one, detections[name], limit) for name, one in truth.items()]
    images = np.repeat(np.arange(len(found)), [len(one.classes) for one in found])
    matched = _Matched(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    labelled = sorted({int(index) for one in truth.values() for index in one.classes})
    return [_of_class(truth, images, matched, category) for category in labelled]


def _match_picture(truth: Truth, found: Detections, limit: int) -> _Matched:
    rows = np.flatnonzero(_place_in_class(found.classes) < limit)
    classes = found.classes[rows]
    ious = iou_matrix(found.boxes[rows].astype(np.float64), truth.boxes)
    ious[classes[:, None] != truth.classes] = 0.0
    return _Matched(classes, found.confidences[rows], _greedy_hits(ious))


def _place_in_class(classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of the same class stand before each."""
    order = np.argsort(classes, kind="stable")
    sorted_classes = classes[order]
    places = np.empty_like(order)
    places[order] = np.arange(len(order)) - np.searchsorted(sorted_classes, sorted_classes)
    return places


def _of_class(
    truth: Mapping[str, Truth], images: NDArray[np.int64], matched: _Matched, category: int
) -> ClassMatches:
    chosen = np.flatnonzero(matched.classes == category)
    chosen = chosen[np.argsort(-matched.confidences[chosen], kind="stable")]
    hits = matched.hits[chosen]
    rows = np.flatnonzero(hits.any(axis=1))
    objects = [np.count_nonzero(one.classes == category) for one in truth.values()]
    return ClassMatches(
        images=images[chosen], rows=rows, hits=hits[rows], objects=np.array(objects, np.int64)
    )


def _greedy_hits(ious: NDArray[np.float64]) -> NDArray[np.bool_]:
    """COCO's matching: each detection in turn takes the free object that it overlaps most."""
    count, objects = ious.shape
    hits = np.zeros((count, len(IOU_THRESHOLDS)), np.bool_)
    if not objects:
        return hits
    taken = np.zeros((len(IOU_THRESHOLDS), objects), np.bool_)
    thresholds = np.arange(len(IOU_THRESHOLDS))
    for detection in np.flatnonzero(ious.max(axis=1) >= IOU_THRESHOLDS[0]):
        free = np.where(taken, -1.0, ious[detection])
        # COCO lets a later object win a tie.
        best = objects - 1 - np.argmax(free[:, ::-1], axis=1)
        hit = free[thresholds, best] >= IOU_THRESHOLDS
        taken[thresholds[hit], best[hit]] = True
        hits[detection] = hit
    return hits


def mean_average_precision(
    matches: Sequence[ClassMatches], weights: NDArray[np.float64] | NDArray[np.int64]
) -> NDArray[np.float64]:
    """mAP50-95 of each resample, shape (resamples,), where picture i counts `weights[:, i]` times.

    `weights` are whole numbers of the shape (resamples, pictures). A resample without an object of
    a class is judged by the others; one without any object is 0.
    """
    total, classes = np.zeros(len(weights)), np.zeros(len(weights))
    drawn = weights.T.astype(np.int32)
    for one in matches:
        objects = one.objects @ drawn
        total += np.where(objects > 0, _average_precision(one, drawn, objects), 0.0)
        classes += objects > 0
    return total / np.maximum(classes, 1)


def _average_precision(
    matches: ClassMatches, drawn: NDArray[np.int32], objects: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of each resample; `drawn` is how often each picture was, shape (pictures, resamples).

    In arrays of the shape (m, IoU thresholds, resamples): the sums run along the first axis, so
    that the processor adds whole rows at a time.
    """
    rows, resamples = matches.rows, drawn.shape[1]
    if not len(rows):
        return np.zeros(resamples)
    weight = drawn[matches.images[: rows[-1] + 1]]
    between = np.add.reduceat(weight, np.append(0, rows[:-1] + 1), axis=0, dtype=np.int32)
    counted = np.cumsum(between, axis=0, dtype=np.int32)
    gained = matches.hits[..., None] * weight[rows][:, None]
    true = np.cumsum(gained, axis=0, dtype=np.int32)
    precision = true / np.maximum(counted, 1)[:, None]
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    # How many recall points each true positive is the first to reach.
    place = true * np.int32(resamples) + np.arange(resamples, dtype=np.int32)
    points = np.diff(_recall_points(objects).ravel()[place], axis=0, prepend=np.int8(0))
    areas = (envelope * points).reshape(-1, resamples)
    # Laid out so that the same numbers are added in the same order for any number of resamples.
    total = np.ascontiguousarray(areas.T).sum(axis=1)
    return np.asarray(total / (len(RECALL_POINTS) * len(IOU_THRESHOLDS)))


def _recall_points(objects: NDArray[np.int64]) -> NDArray[np.int8]:
    """How many of the recall points so many true positives reach, in each resample with its number
    of objects: shape (largest number of objects + 1, resamples)."""
    true = np.arange(objects.max() + 1)[:, None]
    recall = true / np.maximum(objects, 1)
    return np.searchsorted(RECALL_POINTS, recall, side="right").astype(np.int8)


def drop_interval(
    reference: Sequence[ClassMatches],
    engine: Sequence[ClassMatches],
    *,
    resamples: int = 300,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of the drop in mAP50-95, reference minus engine, on the same draws."""
    pictures = len(reference[0].objects)
    generator = np.random.default_rng(seed)
    largest = max(one.images.size + one.hits.size for one in (*reference, *engine))
    at_once = max(1, MOST_NUMBERS // max(largest, 1))
    drops: list[float] = []
    for start in range(0, resamples, at_once):
        weights = np.stack(
            [
                np.bincount(generator.integers(0, pictures, pictures), minlength=pictures)
                for _ in range(min(at_once, resamples - start))
            ]
        )
        drop = mean_average_precision(reference, weights) - mean_average_precision(engine, weights)
        drops += drop.tolist()
    low, high = np.quantile(drops, [(1 - level) / 2, (1 + level) / 2])
    return Interval(low=float(low), high=float(high), level=level, resamples=resamples)
