from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.utils.nms import non_max_suppression

from engines.detect.decode import decode, suppress
from engines.detect.detections import Detections
from engines.detect.letterbox import place

IMGSZ = (320, 320)
SAME_SIZE = place(IMGSZ, IMGSZ)


def _random_head(seed: int, anchors: int, classes: int) -> np.ndarray:
    """Boxes anywhere, scores anywhere: many candidates, few of which overlap."""
    random = np.random.default_rng(seed)
    centre = random.uniform(60, 260, (2, anchors))
    size = random.uniform(2, 120, (2, anchors))
    scores = _without_ties(random.random((classes, anchors)) ** 3 * 0.9)
    return np.concatenate([centre, size, scores]).astype(np.float32)


def _without_ties(scores: np.ndarray) -> np.ndarray:
    """The order of equal scores is nobody's promise."""
    order = scores.ravel().argsort().argsort().reshape(scores.shape)
    return np.asarray(scores + order * 1e-7, np.float32)


def _real_head(seed: int, anchors: int, classes: int, objects: int = 12) -> np.ndarray:
    """As of a trained network: for each object a cluster of anchors that nearly agree, and a low
    floor of scores everywhere else."""
    random = np.random.default_rng(seed)
    raw = _random_head(seed, anchors, classes)
    raw[4:] = random.random((classes, anchors)) ** 8 * 0.02
    centres = random.uniform(70, 250, (2, objects))
    sizes = random.uniform(10, 100, (2, objects))
    owner = random.integers(0, objects, anchors)
    members = np.flatnonzero(random.random(anchors) < 0.15)
    owner = owner[members]
    raw[:2, members] = centres[:, owner] + random.normal(0, 2, (2, len(members)))
    raw[2:4, members] = sizes[:, owner] * random.normal(1, 0.05, (2, len(members)))
    raw[4 + owner % classes, members] = random.uniform(0.1, 0.95, len(members))
    raw[4 + (owner + 1) % classes, members] = random.uniform(0, 0.4, len(members))
    raw[4:] = _without_ties(raw[4:])
    return raw


def _reference(raw: np.ndarray, confidence: float, multi_label: bool) -> np.ndarray:
    found = non_max_suppression(
        torch.from_numpy(raw[None].copy()),
        conf_thres=confidence,
        iou_thres=0.7,
        max_det=300,
        multi_label=multi_label,
        max_nms=30_000,
        nc=raw.shape[0] - 4,
    )
    return np.asarray(found[0].numpy())


def _rows(found: Detections) -> np.ndarray:
    return np.column_stack([found.boxes, found.confidences, found.classes])


def _same_as_ultralytics(raw: np.ndarray, confidence: float, multi_label: bool) -> None:
    expected = _reference(raw, confidence, multi_label)
    found = decode(
        raw,
        SAME_SIZE,
        confidence=confidence,
        iou=0.7,
        max_detections=300,
        multi_label=multi_label,
    )
    expected[:, :4] = expected[:, :4].clip(0, 320)
    np.testing.assert_allclose(_rows(found), expected, rtol=0, atol=1e-4)


Head = Callable[[int, int, int], np.ndarray]
VALIDATION, PREDICTION = (True, 0.001), (False, 0.25)


@pytest.mark.parametrize(
    ("head", "way", "anchors", "classes"),
    [
        (_real_head, VALIDATION, 500, 10),
        (_real_head, PREDICTION, 2100, 10),
        (_real_head, PREDICTION, 8400, 80),
        (_real_head, VALIDATION, 300, 1),
        (_random_head, VALIDATION, 400, 3),
        (_random_head, PREDICTION, 2100, 10),
        (_random_head, PREDICTION, 50, 1),
    ],
)
def test_agrees_with_ultralytics(
    head: Head, way: tuple[bool, float], anchors: int, classes: int
) -> None:
    multi_label, confidence = way
    _same_as_ultralytics(head(11, anchors, classes), confidence, multi_label)


@settings(deadline=None, max_examples=100)
@given(
    seed=st.integers(0, 2**31),
    # Ultralytics takes a last axis of 6 for boxes that went through suppression already.
    anchors=st.integers(7, 400),
    classes=st.integers(1, 5),
    confidence=st.sampled_from([0.001, 0.25, 0.6]),
    multi_label=st.booleans(),
)
def test_agrees_with_ultralytics_on_anything(
    seed: int, anchors: int, classes: int, confidence: float, multi_label: bool
) -> None:
    raw = _real_head(seed, anchors, classes, objects=4)
    _same_as_ultralytics(raw, confidence, multi_label)


def test_nothing_above_the_threshold() -> None:
    raw = _random_head(0, 100, 3)
    raw[4:] = 0.1
    found = decode(raw, SAME_SIZE, confidence=0.25, iou=0.7, max_detections=300)
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_same_place_of_two_classes_is_two_objects() -> None:
    raw = np.zeros((6, 2), np.float32)
    raw[:4] = [[100], [100], [40], [40]]
    raw[4, 0], raw[5, 1] = 0.9, 0.8
    found = decode(raw, SAME_SIZE, confidence=0.25, iou=0.7, max_detections=300)
    assert found.classes.tolist() == [0, 1]
    raw[4, 1], raw[5, 1] = 0.8, 0.0
    found = decode(raw, SAME_SIZE, confidence=0.25, iou=0.7, max_detections=300)
    assert found.classes.tolist() == [0]


def test_boxes_are_in_frame_pixels() -> None:
    raw = np.zeros((5, 1), np.float32)
    raw[:, 0] = [160, 160, 80, 40, 0.9]
    placement = place((720, 1280), IMGSZ)
    found = decode(raw, placement, confidence=0.25, iou=0.7, max_detections=300)
    np.testing.assert_allclose(found.boxes, [[480, 280, 800, 440]], atol=1e-3)
    assert found.boxes.dtype == np.float32
    assert found.classes.dtype == np.int64


def test_raw_is_left_as_it_was() -> None:
    raw = _real_head(1, 500, 4)
    before = raw.copy()
    decode(raw, SAME_SIZE, confidence=0.01, iou=0.5, max_detections=10, multi_label=True)
    assert np.array_equal(raw, before)


def test_keeps_the_most_confident_ones_up_to_the_limit() -> None:
    raw = _random_head(5, 2000, 10)
    all_of_them = decode(raw, SAME_SIZE, confidence=0.25, iou=0.7, max_detections=1000)
    some = decode(raw, SAME_SIZE, confidence=0.25, iou=0.7, max_detections=17)
    assert len(all_of_them) > 300
    assert np.array_equal(_rows(some), _rows(all_of_them)[:17])
    assert (np.diff(all_of_them.confidences) <= 0).all()


def test_a_chain_of_overlaps_is_resolved_in_order() -> None:
    # Each box overlaps its neighbour alone: of five in a chain, the 1st, 3rd and 5th stay.
    left = np.arange(5, dtype=np.float32) * 2
    boxes = np.column_stack([left, left * 0, left + 12, left * 0 + 10])
    assert suppress(boxes, 0.7, 300).tolist() == [0, 2, 4]


def test_many_blocks_give_the_same_as_one() -> None:
    # 1000 boxes in sorted order, each a little beside one of 40 places.
    random = np.random.default_rng(2)
    places = np.tile(np.arange(40) * 50, 25)
    boxes = np.zeros((1000, 4), np.float32)
    boxes[:, 0] = places + random.uniform(0, 2, 1000)
    boxes[:, 2:] = boxes[:, :2] + [40, 30]
    assert suppress(boxes, 0.5, 300).tolist() == list(range(40))


@pytest.mark.parametrize("multi_label", [False, True])
@given(seed=st.integers(0, 2**32 - 1), classes=st.integers(1, 5))
@settings(deadline=None, max_examples=40)
def test_a_confidence_for_each_class(multi_label: bool, seed: int, classes: int) -> None:
    """As a plain loop over the anchors says, before suppression (nothing overlaps here)."""
    random = np.random.default_rng(seed)
    raw = np.empty((4 + classes, 12), np.float32)
    raw[:2], raw[2:4] = np.arange(12) * 20 + 10, 8.0
    raw[4:] = random.random((classes, 12))
    limits = random.random(classes).astype(np.float32)
    expected = set()
    for anchor in range(12):
        scores = raw[4:, anchor]
        chosen = range(classes) if multi_label else [int(scores.argmax())]
        expected |= {(anchor, one) for one in chosen if scores[one] > limits[one]}
    found = decode(
        raw, SAME_SIZE, confidence=limits, iou=0.7, max_detections=300, multi_label=multi_label
    )
    anchors = np.round((found.boxes[:, 0] + found.boxes[:, 2] - 20) / 40).astype(int)
    assert set(zip(anchors.tolist(), found.classes.tolist(), strict=True)) == expected


def anchors(*rows: tuple[float, ...]) -> np.ndarray:
    """A raw output: cx, cy, w, h and the scores of each anchor."""
    return np.array(rows, np.float32).T


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    """As in Ultralytics; 0.25 and 0.5 have no rounding."""
    raw = anchors((40, 40, 20, 20, 0.25, 0.1), (90, 90, 20, 20, 0.1, 0.5))
    ways = {"iou": 0.7, "max_detections": 300}
    assert decode(raw, SAME_SIZE, confidence=0.25, **ways).classes.tolist() == [1]
    assert len(decode(raw, SAME_SIZE, confidence=0.5, **ways)) == 0
    for_each = np.float32([0.25, 0.4])
    assert decode(raw, SAME_SIZE, confidence=for_each, **ways).classes.tolist() == [1]
    assert len(decode(raw, SAME_SIZE, confidence=np.float32([0.25, 0.5]), **ways)) == 0


def test_an_anchor_is_one_object_unless_it_is_asked_for_more() -> None:
    raw = anchors((40, 40, 20, 20, 0.6, 0.9))
    ways = {"confidence": 0.25, "iou": 0.7, "max_detections": 300}
    assert decode(raw, SAME_SIZE, **ways).classes.tolist() == [1]
    assert decode(raw, SAME_SIZE, **ways, multi_label=True).classes.tolist() == [1, 0]


def test_equal_scores_come_in_the_order_of_the_anchors() -> None:
    """So that a rerun, and another backend, gives the same list."""
    raw = np.zeros((5, 60), np.float32)
    raw[0], raw[1], raw[2:4] = 3 + 5 * np.arange(60), 100, 4
    raw[4] = np.where(np.arange(60) % 3, 0.5, 0.75)
    found = decode(raw, SAME_SIZE, confidence=0.25, iou=0.7, max_detections=300)
    order = [*range(0, 60, 3), *(index for index in range(60) if index % 3)]
    assert (found.boxes[:, 0] // 5).astype(int).tolist() == order


def test_boxes_of_one_pixel_beside_each_other_both_stay() -> None:
    side_by_side = np.float32([[10, 10, 11, 11], [12, 10, 13, 11], [10, 12, 11, 13]])
    assert suppress(side_by_side, 0.5, 300).tolist() == [0, 1, 2]


def test_an_overlap_of_just_the_limit_is_not_more_than_it() -> None:
    half = np.float32([[0, 0, 12, 4], [4, 0, 16, 4], [1, 0, 13, 4]])  # 1/2 and 11/13
    assert suppress(half, 0.5, 300).tolist() == [0, 1]


def test_boxes_without_area_are_told_apart_in_silence() -> None:
    points = np.float32([[5, 5, 5, 5], [5, 5, 5, 5], [0, 0, 10, 10]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert suppress(points, 0.5, 300).tolist() == [0, 1, 2]
