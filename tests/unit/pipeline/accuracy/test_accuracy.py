"""Accuracy, its bootstrap, and the confidence shift."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.detect.detections import Detections, iou_matrix
from pipeline.accuracy import bootstrap
from pipeline.accuracy.bootstrap import drop_interval, match, mean_average_precision
from pipeline.accuracy.coco import Truth, accuracy
from pipeline.accuracy.confidence import confidence_shift

CLASSES = ("zero", "one", "two")
Scene = tuple[dict[str, Truth], dict[str, Detections]]


def random_boxes(generator: np.random.Generator, count: int) -> NDArray[np.float64]:
    corner = generator.uniform(0, 250, (count, 2))
    return np.concatenate([corner, corner + generator.uniform(5, 120, (count, 2))], axis=1)


def random_scene(seed: int, pictures: int, noise: float) -> Scene:
    """Labels, and detections that are the labels moved, dropped, doubled and mislabelled."""
    generator = np.random.default_rng(seed)
    truth, found = {}, {}
    for index in range(pictures):
        boxes = random_boxes(generator, int(generator.integers(0, 6)))
        classes = generator.integers(0, len(CLASSES), len(boxes))
        truth[f"{index}.jpg"] = Truth(boxes=boxes, classes=classes, height=400, width=400)
        kept = generator.integers(0, 3, len(boxes))
        moved = np.repeat(boxes, kept, axis=0)
        moved = moved + generator.normal(0, noise, moved.shape)
        # No detector gives boxes of negative size, and COCO leaves those out.
        moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
        strays = random_boxes(generator, int(generator.integers(0, 4)))
        guessed = np.concatenate(
            [np.repeat(classes, kept), generator.integers(0, len(CLASSES), len(strays))]
        )
        # Distinct confidences: COCO leaves the order of equal ones open.
        confidences = generator.permutation(np.linspace(0.01, 0.99, len(guessed)) + index * 1e-5)
        order = np.argsort(-confidences)
        found[f"{index}.jpg"] = Detections(
            boxes=np.concatenate([moved, strays])[order].astype(np.float32),
            confidences=confidences[order].astype(np.float32),
            classes=guessed[order].astype(np.int64),
        )
    if not any(len(one.classes) for one in truth.values()):
        return random_scene(seed + 1, pictures, noise)
    return truth, found


def as_detections(truth: dict[str, Truth]) -> dict[str, Detections]:
    return {
        name: Detections(
            boxes=one.boxes.astype(np.float32),
            confidences=np.full(len(one.classes), 0.9, np.float32),
            classes=one.classes,
        )
        for name, one in truth.items()
    }


def test_the_labels_themselves_are_perfect() -> None:
    truth, _ = random_scene(0, 12, 0)
    result = accuracy(truth, as_detections(truth), CLASSES)
    assert result.map50_95 == pytest.approx(1.0)
    assert result.objects == sum(len(one.classes) for one in truth.values())
    assert sum(one.objects for one in result.per_class.values()) == result.objects


def test_nothing_found_is_zero_and_no_object_is_none() -> None:
    truth = {
        "a.jpg": Truth(
            boxes=np.array([[0.0, 0.0, 20.0, 20.0]]), classes=np.array([1]), height=99, width=99
        )
    }
    result = accuracy(truth, {"a.jpg": Detections.empty()}, CLASSES)
    assert result.map50_95 == 0
    assert result.map50_95_small == 0
    assert result.map50_95_large is None
    assert result.per_class["one"].map50 == 0
    assert result.per_class["zero"].map50_95 is None


def test_a_detection_of_another_class_does_not_count() -> None:
    truth, _ = random_scene(0, 12, 0)
    shifted = {
        name: Detections(
            boxes=one.boxes, confidences=one.confidences, classes=(one.classes + 1) % len(CLASSES)
        )
        for name, one in as_detections(truth).items()
    }
    assert accuracy(truth, shifted, CLASSES).map50_95 < 0.2


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000), pictures=st.integers(1, 15), noise=st.floats(0, 20))
def test_the_bootstrap_s_figure_is_coco_s(seed: int, pictures: int, noise: float) -> None:
    truth, found = random_scene(seed, pictures, noise)
    (ours,) = mean_average_precision(match(truth, found), np.ones((1, pictures)))
    assert ours == pytest.approx(accuracy(truth, found, CLASSES).map50_95, abs=1e-9)


def test_what_stands_behind_a_hundred_of_its_class_does_not_count() -> None:
    """The box of class `one` stands behind a hundred as well, but of another class."""
    boxes = np.array([[0.0, 0.0, 30.0, 30.0], [50.0, 50.0, 99.0, 99.0]])
    truth = {"a.jpg": Truth(boxes=boxes, classes=np.array([0, 1]), height=400, width=400)}
    strays = np.repeat([[200.0, 200.0, 220.0, 220.0]], 100, axis=0)
    found = {
        "a.jpg": Detections(
            boxes=np.concatenate([strays, boxes]).astype(np.float32),
            confidences=np.linspace(0.9, 0.1, 102, dtype=np.float32),
            classes=np.array([0] * 101 + [1]),
        )
    }
    assert mean_average_precision(match(truth, found), np.ones((1, 1))).tolist() == [0.5]
    assert accuracy(truth, found, CLASSES).map50_95 == 0.5


def tray(count: int) -> Truth:
    """A picture with so many objects of class `one`, side by side."""
    corners = np.stack(np.divmod(np.arange(count), 20), axis=1) * 20.0
    boxes = np.concatenate([corners, corners + 15], axis=1)
    return Truth(boxes=boxes, classes=np.ones(count, np.int64), height=400, width=400)


@pytest.mark.parametrize("count", [100, 101, 196])
def test_who_finds_all_of_a_tray_has_found_all(count: int) -> None:
    """COCO's hundred detections a picture and class would leave the rest out."""
    truth = {"a.jpg": tray(count), "b.jpg": tray(3)}
    found = as_detections(truth)
    assert accuracy(truth, found, CLASSES).map50_95 == pytest.approx(1)
    assert mean_average_precision(match(truth, found), np.ones((1, 2))).tolist() == [1]


def test_a_weight_of_two_is_the_picture_twice() -> None:
    truth, found = random_scene(3, 8, 6)
    weights = np.array([2, 1, 0, 1, 3, 1, 1, 0], np.float64)
    drawn = [index for index, weight in enumerate(weights) for _ in range(int(weight))]
    twice_truth = {f"{i}": truth[f"{index}.jpg"] for i, index in enumerate(drawn)}
    twice_found = {f"{i}": found[f"{index}.jpg"] for i, index in enumerate(drawn)}
    (weighted,) = mean_average_precision(match(truth, found), weights[None])
    # Equal confidences of the copies may change places, which moves a precision step a little.
    assert weighted == pytest.approx(accuracy(twice_truth, twice_found, CLASSES).map50_95, abs=0.02)


def test_the_interval_holds_the_drop_and_is_the_same_every_time() -> None:
    truth, worse = random_scene(5, 40, 8)
    _, better = random_scene(5, 40, 3)
    drop = accuracy(truth, better, CLASSES).map50_95 - accuracy(truth, worse, CLASSES).map50_95
    pair = match(truth, better), match(truth, worse)
    interval = drop_interval(*pair, resamples=100)
    assert interval.low < drop < interval.high
    assert interval == drop_interval(*pair, resamples=100)


def test_a_class_counts_in_the_resamples_that_have_objects_of_it() -> None:
    truth, found = random_scene(3, 8, 6)
    weights = np.eye(8)
    together = mean_average_precision(match(truth, found), weights)
    alone = [
        accuracy({name: one}, {name: found[name]}, CLASSES).map50_95 for name, one in truth.items()
    ]
    assert together.tolist() == pytest.approx(alone, abs=1e-9)


def test_resamples_are_the_same_whatever_fits_into_an_array(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    truth, worse = random_scene(5, 40, 8)
    _, better = random_scene(5, 40, 3)
    pair = match(truth, better), match(truth, worse)
    together = drop_interval(*pair, resamples=10)
    monkeypatch.setattr(bootstrap, "MOST_NUMBERS", 1)
    assert drop_interval(*pair, resamples=10) == together


def test_no_change_has_no_drop() -> None:
    truth, found = random_scene(5, 20, 8)
    interval = drop_interval(match(truth, found), match(truth, found), resamples=20)
    assert (interval.low, interval.high) == (0, 0)


def test_iou_of_known_boxes() -> None:
    one = np.array([[0.0, 0.0, 2.0, 2.0]])
    other = np.array([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0], [0.0, 0.0, 2.0, 2.0]])
    assert iou_matrix(one, other).tolist() == [[pytest.approx(1 / 3), 0, 1]]


# --- confidence shift --------------------------------------------------------------------------


def one_image(*rows: tuple[float, float, int]) -> dict[str, Detections]:
    """Detections given as left edge, confidence and class; each box is 10 x 10."""
    return {
        "a.jpg": Detections(
            boxes=np.array([[x, 0, x + 10, 10] for x, _, _ in rows], np.float32).reshape(-1, 4),
            confidences=np.array([confidence for _, confidence, _ in rows], np.float32),
            classes=np.array([category for _, _, category in rows], np.int64),
        )
    }


def test_equal_detections_have_no_shift() -> None:
    _, found = random_scene(7, 10, 5)
    shift = confidence_shift(found, found, 0.25)
    assert shift.shift == 0
    assert shift.lost == 0
    assert shift.references > 0


def test_collapsed_confidences_are_seen_where_map_sees_nothing() -> None:
    truth, found = random_scene(7, 10, 5)
    collapsed = {
        name: Detections(boxes=one.boxes, confidences=one.confidences * 0.3, classes=one.classes)
        for name, one in found.items()
    }
    assert accuracy(truth, collapsed, CLASSES).map50_95 == pytest.approx(
        accuracy(truth, found, CLASSES).map50_95
    )
    assert confidence_shift(found, collapsed, 0.25).shift > 0.3


def test_a_lost_detection_counts_with_its_whole_confidence() -> None:
    reference = one_image((0, 0.8, 0), (100, 0.6, 1))
    shift = confidence_shift(reference, one_image((1, 0.7, 0)), 0.25)
    assert shift.shift == pytest.approx((0.1 + 0.6) / 2)
    assert (shift.references, shift.lost) == (2, 1)


def test_another_class_is_no_partner_and_a_partner_serves_once() -> None:
    assert confidence_shift(one_image((0, 0.8, 0)), one_image((0, 0.8, 1)), 0.25).lost == 1
    two = one_image((0, 0.8, 0), (1, 0.7, 0))
    assert confidence_shift(two, one_image((0, 0.8, 0)), 0.25).lost == 1


def test_only_what_a_pod_would_report_counts() -> None:
    reference = one_image((0, 0.24, 0), (100, 0.25, 0))
    assert confidence_shift(reference, one_image(), 0.25).references == 1


def test_a_threshold_for_each_class_and_the_sum_over_pictures() -> None:
    limits = np.array([0.5, 0.1, 0.9], np.float32)
    two = {"a.jpg": one_image((0, 0.4, 0), (1, 0.2, 1)), "b.jpg": one_image((0, 0.8, 0))}
    reference = {name: one["a.jpg"] for name, one in two.items()}
    nothing = dict.fromkeys(reference, one_image()["a.jpg"])
    found = confidence_shift(reference, nothing, limits)
    assert (found.references, found.lost) == (2, 2)  # class 1 of a.jpg, class 0 of b.jpg
    assert found.shift == pytest.approx((0.2 + 0.8) / 2)


@pytest.mark.parametrize(("left", "lost"), [(3, 0), (4, 1)])
def test_a_partner_overlaps_by_half(left: float, lost: int) -> None:
    """Of boxes 10 wide, 7 of 13 and 6 of 14."""
    assert confidence_shift(one_image((0, 0.8, 0)), one_image((left, 0.8, 0)), 0.25).lost == lost


def test_without_references_nothing_moved() -> None:
    assert confidence_shift(one_image((0, 0.1, 0)), one_image(), 0.25).shift == 0
