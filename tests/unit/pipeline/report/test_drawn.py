"""Boxes drawn on a picture."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from engines.detect.detections import Detections
from pipeline.report.drawn import write_drawn
from pipeline.terminal.predicted import print_predicted


def test_a_box_is_where_it_was_found(tmp_path: Path) -> None:
    picture = np.full((100, 200, 3), 90, np.uint8)
    found = Detections(
        boxes=np.array([[20, 30, 80, 70]], np.float32),
        confidences=np.array([0.9], np.float32),
        classes=np.array([0]),
    )
    write_drawn(tmp_path / "sub" / "a.png", picture, found, ("größe <b>",))
    drawn = cv2.imread(str(tmp_path / "sub" / "a.png"))
    assert drawn is not None
    assert drawn.shape == picture.shape
    assert (drawn[50, 20] != 90).any()
    assert (drawn[50, 50] == 90).all()
    assert (drawn[90, 150] == 90).all()
    assert (picture == 90).all()


def drawn_above(tmp_path: Path, name: str, left: int, number: int = 0) -> np.ndarray:
    """The letters above a box that begins at `left`, in a white picture of 320 pixels' width."""
    found = Detections(
        boxes=np.array([[left, 60, left + 10, 90]], np.float32),
        confidences=np.array([0.9], np.float32),
        classes=np.array([number]),
    )
    place = tmp_path / "a.png"
    picture = np.full((100, 320, 3), 255, np.uint8)
    write_drawn(place, picture, found, ("",) * number + (name,))
    drawn = cv2.imread(str(place))
    assert drawn is not None
    return (drawn[:60] == 0).all(axis=2)


def test_a_name_at_the_border_is_whole(tmp_path: Path) -> None:
    assert drawn_above(tmp_path, "helmet", 310).sum() == drawn_above(tmp_path, "helmet", 0).sum()


def test_a_name_wider_than_the_picture_is_drawn_smaller(tmp_path: Path) -> None:
    inside = drawn_above(tmp_path, "w" * 40, 0)
    assert inside.any()
    assert not inside[:, -2:].any()


def test_names_that_the_font_lacks_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    one, other = (drawn_above(tmp_path, name, 0) for name in ("部\n品", "部 品"))
    assert (one == other).all()
    numbered = drawn_above(tmp_path, "\U0001f529", 0, number=1)
    assert (numbered != drawn_above(tmp_path, "\U0001f6e0", 0, number=2)).any()


def test_a_newline_in_a_picture_s_name_makes_no_line_of_its_own() -> None:
    text = StringIO()
    print_predicted({Path("a\nb.png"): {}}, Path("out"), Console(file=text, width=80))
    assert text.getvalue().splitlines()[0] == "a\\nb.png: nothing"


def test_what_is_said_names_every_picture_whole() -> None:
    text = StringIO()
    place = Path("predictions") / f"{'a' * 90}.png"
    print_predicted({place: {"[red]": 2}}, Path("predictions"), Console(file=text, width=80))
    assert text.getvalue().splitlines() == [
        f"{place}: [red] (2)",
        "1 picture(s) drawn into predictions",
    ]
