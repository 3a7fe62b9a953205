"""golden.npz: an engine finds its own boxes again, and another one is told apart."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.detect.detections import Detections
from engines.detect.detector import Detector
from engines.detect.golden import (
    Comparison,
    Golden,
    compare,
    compare_all,
    find_golden,
    read_golden,
    write_golden,
)
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint

BOXES = [[10, 10, 50, 40], [12, 60, 30, 90], [100, 100, 120, 140]]


def boxes(
    corners: list[list[float]], confidences: list[float] | None = None, classes: Any = None
) -> Detections:
    return Detections(
        boxes=np.array(corners, np.float32).reshape(-1, 4),
        confidences=np.array(confidences or [0.9] * len(corners), np.float32),
        classes=np.array([0] * len(corners) if classes is None else classes, np.int64),
    )


THEN = boxes(BOXES, [0.9, 0.8, 0.7], [0, 1, 2])


@pytest.fixture
def golden() -> Golden:
    frames = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    return Golden(frames=frames, found=(THEN, Detections.empty()))


@pytest.mark.parametrize(("confidence", "telling"), [(0.29, []), (0.31, [1])])
def test_only_what_is_clearly_above_the_threshold_tells(
    confidence: float, telling: list[int]
) -> None:
    found = (Detections.empty(), boxes(BOXES[:1], [confidence]))
    frames = np.zeros((2, 32, 32, 3), np.uint8)
    assert Golden(frames=frames, found=found).telling(0.25) == telling


def test_is_read_as_it_was_written_and_always_the_same_bytes(
    golden: Golden, tmp_path: Path
) -> None:
    path = tmp_path / "golden.npz"
    write_golden(golden, path)
    found = read_golden(path)
    np.testing.assert_array_equal(found.frames, golden.frames)
    assert found.objects == golden.objects == 3
    for one, other in zip(found.found, golden.found, strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.confidences, other.confidences)
        np.testing.assert_array_equal(one.classes, other.classes)
    before = path.read_bytes()
    write_golden(found, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off", b"\x80\x04."])
def test_anything_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "golden.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="`pipeline evaluate` writes them"):
        read_golden(path)


@pytest.mark.parametrize(
    "change",
    [
        {"frames": np.zeros((2, 64, 96, 3), np.float32)},
        {"frames": np.zeros((64, 96, 3), np.uint8)},
        {"frames": np.zeros((0, 64, 96, 3), np.uint8)},
        {"counts": np.array([3])},
        {"counts": np.array([4, -1])},
        {"counts": np.array([3, 1])},
        {"boxes": np.zeros((3, 3), np.float32)},
        {"boxes": np.full((3, 4), np.nan, np.float32)},
        {"confidences": np.zeros(2, np.float32)},
        {"confidences": np.full(3, np.inf, np.float32)},
        {"classes": np.full(3, -1)},
        {"classes": np.array([{}, {}, {}])},
    ],
    ids=lambda change: " ".join(change),
)
def test_arrays_that_do_not_fit_together_are_refused(
    golden: Golden, tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "golden.npz"
    write_golden(golden, path)
    content = dict(np.load(path))
    np.savez(path, **content | change)
    with pytest.raises(InputError, match="cannot be read"):
        read_golden(path)


def test_one_array_is_missing(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(golden, path)
    content = dict(np.load(path))
    del content["counts"]
    np.savez(path, **content)
    with pytest.raises(InputError, match="cannot be read"):
        read_golden(path)


def test_an_engine_finds_its_own_boxes_again(built_engine: Path, pictures: Any) -> None:
    device = read_fingerprint()
    with Detector.open(built_engine, device) as detector:
        golden = find_golden(detector, pictures[:3])
        again = [detector.detect([frame])[0] for frame in golden.frames]
    assert golden.objects > 0
    confidence = detector.manifest.thresholds.confidence
    assert compare_all(golden, again, confidence) == Comparison(
        frames=3, objects=golden.objects, missing=0, unexpected=0, confidence_difference=0.0
    )
    other = compare_all(golden, again[::-1], confidence)
    assert not other.same


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_damage_is_refused_or_harmless(golden: Golden, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "golden.npz"
    write_golden(golden, path)
    content = bytearray(path.read_bytes())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=3)):
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(InputError):
        assert read_golden(path).frames.dtype == np.uint8


# --- what is the same ----------------------------------------------------------------------------


def test_rounding_is_no_difference() -> None:
    now = boxes((np.array(BOXES) + 0.3).tolist(), [0.92, 0.78, 0.7], [0, 1, 2])
    found = compare(THEN, now, 0.25)
    assert found.same
    assert found.objects == 3
    assert found.confidence_difference == pytest.approx(0.02, abs=1e-6)


@pytest.mark.parametrize(
    ("now", "missing", "unexpected"),
    [
        (Detections.empty(), 3, 0),
        (boxes(BOXES[:2], [0.9, 0.8], [0, 1]), 1, 0),
        (boxes([*BOXES, [200, 200, 220, 220]], [0.9, 0.8, 0.7, 0.6], [0, 1, 2, 0]), 0, 1),
        (boxes(BOXES, [0.9, 0.8, 0.7], [0, 1, 1]), 1, 1),
        (boxes(BOXES, [0.9, 0.8, 0.5], [0, 1, 2]), 1, 1),
        (boxes([*BOXES[:2], [100, 100, 120, 130]], [0.9, 0.8, 0.7], [0, 1, 2]), 1, 1),
        (boxes([*BOXES, BOXES[0]], [0.9, 0.8, 0.7, 0.9], [0, 1, 2, 0]), 0, 1),
    ],
    ids=["none", "one less", "one more", "class", "confidence", "place", "twice"],
)
def test_another_box_is_a_difference(now: Detections, missing: int, unexpected: int) -> None:
    found = compare(THEN, now, 0.25)
    assert not found.same
    assert (found.missing, found.unexpected) == (missing, unexpected)


def test_a_box_is_the_same_as_one_other_only() -> None:
    twins = boxes([BOXES[0], BOXES[0]], [0.9, 0.9])
    assert compare(twins, boxes(BOXES[:1], [0.9]), 0.25).missing == 1
    assert compare(twins, twins, 0.25).same


def test_a_box_at_the_threshold_may_come_and_go() -> None:
    at = boxes([[1, 1, 9, 9]], [0.27])
    assert compare(at, Detections.empty(), 0.25).same
    assert compare(Detections.empty(), at, 0.25).same
    assert not compare(at, Detections.empty(), 0.2).same
    # The threshold is that of the box's class.
    each = np.array([0.1, 0.25], np.float32)
    assert not compare(at, Detections.empty(), each).same
    assert compare(boxes([[1, 1, 9, 9]], [0.27], [1]), Detections.empty(), each).same


@given(st.permutations(range(3)), st.floats(-0.04, 0.04))
def test_order_does_not_matter(order: list[int], shift: float) -> None:
    now = Detections(
        boxes=THEN.boxes[order],
        confidences=THEN.confidences[order] + np.float32(shift),
        classes=THEN.classes[order],
    )
    assert compare(THEN, now, 0.25).same
    assert compare(now, THEN, 0.25).same
