"""pipeline predict: a drawn picture for each that can be read, in its sub-folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from factories import paper, records
from typer.testing import CliRunner

from engines.config.workspace import Workspace
from engines.detect.detections import Detections
from pipeline.cli import commands
from pipeline.steps import predict as step

FOUND = Detections(
    boxes=np.array([[4, 4, 20, 20], [8, 8, 28, 28]], np.float32),
    confidences=np.array([0.9, 0.8], np.float32),
    classes=np.array([1, 1]),
)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with an engine that always finds two things, and a folder as people have it."""
    workspace = Workspace(root=tmp_path)
    paper.lay_out(workspace)
    monkeypatch.chdir(tmp_path)

    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(
            manifest=records.manifest(classes=("nut", "bolt")),
            detect=lambda frames: [FOUND for _ in frames],
        )

    monkeypatch.setattr(step, "Detector", SimpleNamespace(open=opened))
    folder = tmp_path / "photos"
    (folder / "day 1").mkdir(parents=True)
    for place in ("a.png", "day 1/b.JPG"):
        cv2.imwrite(str(folder / place), np.full((32, 32, 3), 90, np.uint8))
    (folder / "notes.txt").write_text("none")
    (folder / "broken.jpg").write_bytes(b"none")
    return folder


def predict(*words: str) -> Any:
    return CliRunner().invoke(commands, ["predict", *words, "--engine", "meter-fp16"])


def test_a_folder_is_drawn_with_its_sub_folders(photos: Path) -> None:
    result = predict("photos")
    assert result.exit_code == 0, result.output
    drawn = {path.relative_to("predictions") for path in Path("predictions").rglob("*.png")}
    assert drawn == {Path("a.png.png"), Path("day 1/b.JPG.png")}
    assert (cv2.imread("predictions/a.png.png") != 90).any()
    assert "predictions/a.png.png: bolt (2)\n" in result.stdout
    assert "left out: Expected an image" in result.stderr
    assert "broken.jpg" in result.stderr


def test_what_was_drawn_before_is_not_drawn_again(photos: Path) -> None:
    assert predict(".").exit_code == 0
    first = sorted(Path("predictions").rglob("*.png"))
    result = predict(".")
    assert result.exit_code == 0
    assert sorted(Path("predictions").rglob("*.png")) == first
    assert "2 picture(s) drawn into predictions" in result.stdout
    result = predict("photos", "--out", "photos/../photos")
    assert result.exit_code == 2
    assert "Expected a folder of its own for the drawn pictures" in result.stderr
    assert sorted(path.name for path in photos.rglob("*.png")) == ["a.png"]


def test_a_folder_of_which_no_picture_can_be_read(photos: Path) -> None:
    folder = photos / "broken"
    folder.mkdir()
    for name in ("a.png", "b.jpg"):
        (folder / name).write_bytes(b"none")
    result = predict("photos/broken")
    assert result.exit_code == 2
    assert "got none among 2" in result.stderr
    assert "drawn into" not in result.stdout


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_boxes_that_are_no_numbers(
    photos: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    """As of an engine whose float16 overflows in the boxes, and not in the scores."""
    boxes = np.array([[4, 4, value, 20]], np.float32)
    odd = Detections(boxes=boxes, confidences=FOUND.confidences[:1], classes=FOUND.classes[:1])

    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        manifest = records.manifest(classes=("nut", "bolt"))
        yield SimpleNamespace(manifest=manifest, detect=lambda frames: [odd for _ in frames])

    monkeypatch.setattr(step, "Detector", SimpleNamespace(open=opened))
    result = predict("photos/a.png")
    assert result.exit_code == 5
    assert "Expected numbers for the boxes that meter-fp16 finds in photos/a.png" in result.stderr


def test_names_that_would_move_the_cursor(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def opened(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(
            manifest=records.manifest(classes=("nut", "bolt\x1b[2J\nnut")),
            detect=lambda frames: [FOUND for _ in frames],
        )

    monkeypatch.setattr(step, "Detector", SimpleNamespace(open=opened))
    (photos / "a.png").rename(photos / "a\x1b[2J.png")
    (photos / "broken.jpg").rename(photos / "broken\x1b[2J.jpg")
    result = predict("photos")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout + result.stderr
    assert "predictions/a\\x1b[2J.png.png: bolt [2J nut (2)\n" in result.stdout


@pytest.mark.parametrize(("weights", "said"), [("b" * 64, False), ("c" * 64, True)])
def test_an_engine_of_the_weights_of_before_is_said(photos: Path, weights: str, said: bool) -> None:
    """After `update-model`, and before `dvc repro`."""
    model = Path("models/m/model.yaml")
    model.parent.mkdir(exist_ok=True)
    model.write_text(
        "schema: 1\nname: m\nversion: '1.1'\ntask: detect\n"
        f"weights: {{path: weights.pt, sha256: {weights}}}\n"
        "imgsz: [320, 320]\nclasses: [nut, bolt]\n"
        "data: {calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}\n"
    )
    result = predict("photos/a.png")
    assert result.exit_code == 0
    told = "m-fp16 is of the weights of version 1.0; models/m has others by now, of version 1.1"
    assert (told in result.stderr) is said


def test_one_picture_and_what_is_none(photos: Path) -> None:
    assert predict("photos/a.png", "--out", "drawn").exit_code == 0
    assert [path.name for path in Path("drawn").iterdir()] == ["a.png.png"]
    for wrong, said in (
        ("photos/broken.jpg", "is damaged or of another kind"),
        ("photos/notes.txt", "got another kind of file (pictures end in "),
        ("nowhere", "Expected a picture, or a folder with pictures, at nowhere, got nothing"),
    ):
        result = predict(wrong)
        assert result.exit_code == 2
        assert said in result.stderr
    result = predict("photos/a.png", "--out", "photos/notes.txt")
    assert result.exit_code == 2
    assert "Expected photos/notes.txt to be a folder" in result.stderr
