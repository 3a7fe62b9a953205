from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ultralytics.data.augment import LetterBox
from ultralytics.utils.ops import scale_boxes

from engines.detect.letterbox import letterbox, place

frame_sides = st.integers(1, 400)
input_sides = st.integers(1, 8).map(lambda strides: strides * 32)


def _frame(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height * 1000 + width).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )


@settings(deadline=None, max_examples=200)
@given(height=frame_sides, width=frame_sides, rows=input_sides, columns=input_sides)
def test_same_pixels_as_ultralytics(height: int, width: int, rows: int, columns: int) -> None:
    frame = _frame(height, width)
    out = np.full((rows, columns, 3), 7, np.uint8)
    letterbox(frame, (rows, columns), out)
    assert np.array_equal(out, LetterBox((rows, columns))(image=frame))


@pytest.mark.parametrize(
    ("frame_size", "imgsz"),
    [((720, 1280), (320, 320)), ((1080, 1920), (384, 640)), ((480, 640), (640, 640))],
)
def test_writes_into_a_row_of_a_batch_and_nowhere_else(
    frame_size: tuple[int, int], imgsz: tuple[int, int]
) -> None:
    batch = np.full((3, *imgsz, 3), 7, np.uint8)
    frame = _frame(*frame_size)
    letterbox(frame, imgsz, batch[1])
    assert np.array_equal(batch[1], LetterBox(imgsz)(image=frame))
    assert (batch[[0, 2]] == 7).all()


def test_a_frame_of_another_size_leaves_nothing_of_the_last_one() -> None:
    out = np.zeros((96, 96, 3), np.uint8)
    wide, tall = _frame(50, 90), _frame(90, 50)
    painted = None
    for frame in (wide, tall, tall, wide):
        painted = letterbox(frame, (96, 96), out, painted=painted)
        assert np.array_equal(out, LetterBox((96, 96))(image=frame))


def test_padding_is_painted_once_for_frames_of_one_size() -> None:
    out = np.zeros((96, 96, 3), np.uint8)
    frame = _frame(50, 90)
    painted = letterbox(frame, (96, 96), out)
    out[0] = 5
    letterbox(frame, (96, 96), out, painted=painted)
    assert (out[0] == 5).all()


def test_takes_a_frame_that_is_a_view() -> None:
    camera = _frame(200, 300)
    view = camera[10:150, 20:280][:, ::-1]
    out = np.zeros((96, 128, 3), np.uint8)
    letterbox(view, (96, 128), out)
    assert np.array_equal(out, LetterBox((96, 128))(image=np.ascontiguousarray(view)))


@settings(deadline=None, max_examples=200)
@given(height=frame_sides, width=frame_sides, rows=input_sides, columns=input_sides)
def test_boxes_come_back_as_ultralytics_brings_them(
    height: int, width: int, rows: int, columns: int
) -> None:
    random = np.random.default_rng(height)
    boxes = random.uniform(-50, 350, (20, 4)).astype(np.float32)
    expected = scale_boxes((rows, columns), boxes.copy(), (height, width))
    found = place((height, width), (rows, columns)).to_frame(boxes)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)


def test_a_box_around_the_frame_is_the_frame() -> None:
    placement = place((720, 1280), (320, 320))
    whole = np.array([[0, 70, 320, 250]], np.float32)
    assert placement.to_frame(whole).tolist() == [[0, 0, 1280, 720]]
    assert placement.to_frame(np.zeros((0, 4), np.float32)).shape == (0, 4)
