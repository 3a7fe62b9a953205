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


def test_what_is_said_names_every_picture_whole() -> None:
    text = StringIO()
    place = Path("predictions") / f"{'a' * 90}.png"
    print_predicted({place: {"[red]": 2}}, Path("predictions"), Console(file=text, width=80))
    assert text.getvalue().splitlines() == [
        f"{place}: [red] (2)",
        "1 picture(s) drawn into predictions",
    ]
