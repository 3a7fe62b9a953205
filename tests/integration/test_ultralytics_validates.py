"""verify's accuracy is that of Ultralytics' own validator, on odd data sets as well: both read the
same objects and find the same boxes, so scored in one way they have the same figures.

What differs by design is set equal (docs/measuring.md): Ultralytics interpolates between recall
points where COCO steps, does not clip boxes to the picture, and rounds the sides of a resized
picture up.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from engines.detect.detections import Detections
from engines.records.evaluation import Accuracy
from pipeline.accuracy.coco import Truth, accuracy, in_pixels, read_set_labels
from pipeline.intake.checkpoint import Checkpoint, export_onnx, load_checkpoint
from pipeline.intake.data_yaml import read_data_yaml
from pipeline.intake.dataset import load_set
from pipeline.intake.sets import copy_set
from pipeline.intake.split import split
from pipeline.onnx.inference import detect_in_files, for_map

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "models" / "meter-yolov8n"
CLASSES = tuple("0123456789")
PICTURES = 24
SIDE = 320
"""Of the sample's pictures, in pixels."""

Pixels = NDArray[np.uint8]
Rows = NDArray[np.float64]
"""Class, cx, cy, w, h, as in a label file; shape (n, 5)."""


class Labelled(NamedTuple):
    pixels: Pixels
    rows: Rows


def sample(index: int, purpose: str = "evaluation") -> Labelled:
    name = f"{purpose}-{index:04d}"
    pixels = cv2.imread(str(SAMPLE / "data" / purpose / "images" / f"{name}.jpg"))
    label = (SAMPLE / "data" / purpose / "labels" / f"{name}.txt").read_text()
    return Labelled(np.asarray(pixels, np.uint8), np.array(label.split(), float).reshape(-1, 5))


def text(rows: Rows) -> str:
    return "".join(
        f"{int(row[0])} " + " ".join(f"{one:.6f}" for one in row[1:]) + "\n" for row in rows
    )


def crop(one: Labelled, x: int, y: int, width: int, height: int, *, over: bool = False) -> Labelled:
    """With the objects that are at least half inside, cut at the border or lying over it."""
    low = (one.rows[:, 1:3] - one.rows[:, 3:] / 2) * SIDE - (x, y)
    high = (one.rows[:, 1:3] + one.rows[:, 3:] / 2) * SIDE - (x, y)
    inside = (high.clip(0, (width, height)) - low.clip(0, (width, height))).prod(axis=1)
    kept = inside > 0.5 * (high - low).prod(axis=1)
    size = np.array([width, height])
    if not over:
        low, high = low.clip(0, size), high.clip(0, size)
    parts = (one.rows[:, :1], (low + high) / 2 / size, (high - low) / size)
    return Labelled(one.pixels[y : y + height, x : x + width].copy(), np.hstack(parts)[kept])


Written = Iterator[tuple[str, Callable[[Path], object], str]]
"""Name of the picture below the folder, what writes it, and its label file."""


def as_pixels(pixels: Pixels) -> Callable[[Path], object]:
    return lambda path: cv2.imwrite(str(path), pixels)


def odd_rows() -> Written:
    """Rows twice, polygons, objects over the border, pictures with some classes or none."""
    for index in range(PICTURES):
        one = sample(index)
        match index % 4:
            case 0:
                rows = text(one.rows) * 2
            case 1:
                rows = "".join(_polygon(row) for row in one.rows)
            case 2:
                one = crop(one, 37, 61, 200, 200, over=True)
                rows = text(one.rows)
            case _:
                rows = text(one.rows[one.rows[:, 0] < 5]) if index % 8 == 3 else ""
        yield f"line {index % 3}/{index}.png", as_pixels(one.pixels), rows


def _polygon(row: Rows) -> str:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    points = row[1:3] + row[3:] / 2 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return f"{int(row[0])} " + " ".join(f"{one:.6f}" for one in points.clip(0, 1).ravel()) + "\n"


def kinds_of_files() -> Written:
    """Pixel formats, and every orientation that a camera may write."""
    turned = Image.Transpose
    turns = (
        *(None, turned.FLIP_LEFT_RIGHT, turned.ROTATE_180, turned.FLIP_TOP_BOTTOM),
        *(turned.TRANSPOSE, turned.ROTATE_90, turned.TRANSVERSE, turned.ROTATE_270),
    )
    formats = [
        ("jpg", "CMYK"),
        ("png", "P"),
        ("png", "LA"),
        ("tif", "CMYK"),
        ("jp2", "RGB"),
        ("bmp", "L"),
    ]
    for index in range(PICTURES):
        one = sample(index)
        picture = Image.fromarray(cv2.cvtColor(one.pixels, cv2.COLOR_BGR2RGB))
        if index % 3 == 0:
            exif = Image.Exif()
            exif[0x0112] = 1 + index // 3 % 8
            turn = turns[index // 3 % 8]
            picture = picture if turn is None else picture.transpose(turn)
            yield f"{index}.jpg", _saving(picture, exif=exif, quality=95), text(one.rows)
        elif index % 3 == 1:
            ending, mode = formats[index // 3 % len(formats)]
            yield f"{index}.{ending}", _saving(picture.convert(mode)), text(one.rows)
        else:
            deep = one.pixels.astype(np.uint16) * 257
            yield f"{index}.png", as_pixels(deep), text(one.rows)  # type: ignore[arg-type]


def _saving(picture: Image.Image, **options: Any) -> Callable[[Path], object]:
    return lambda path: picture.save(path, **options)


def sizes() -> Written:
    """Narrow, wide, large and small pictures."""
    for index in range(PICTURES):
        width, height = [(320, 40), (40, 320), (300, 200), (157, 233)][index % 4]
        one = crop(sample(index), (SIDE - width) // 2, (SIDE - height) // 2, width, height)
        factor = [0.7, 1.0, 1.37, 6.3][index // 4 % 4]
        size = (round(width * factor), round(height * factor))
        yield (
            f"{index}.png",
            as_pixels(np.asarray(cv2.resize(one.pixels, size), np.uint8)),
            text(one.rows),
        )


def wide() -> Written:
    """For an input that is no square, pictures of its shape: others the validator resizes twice."""
    for index in range(PICTURES):
        one = crop(sample(index), 0, 64, SIDE, 192)
        size = [(SIDE, 192), (SIDE * 2, 384), (266, 159)][index % 3]
        yield (
            f"{index}.png",
            as_pixels(np.asarray(cv2.resize(one.pixels, size), np.uint8)),
            text(one.rows),
        )


def crowds() -> Written:
    """More objects of one class in a picture than COCO counts detections, beside ordinary ones."""
    digits = _digits()
    for index in range(4):
        mosaic, rows = _mosaic([one for one in digits if one[0] == index * 2], cell=23, across=14)
        yield f"crowd-{index}.png", as_pixels(mosaic), text(rows)
    for index in range(8):
        yield f"{index}.png", as_pixels(sample(index).pixels), text(sample(index).rows)


def _digits() -> list[tuple[int, Pixels]]:
    found = []
    for index in range(60):
        one = sample(index)
        corners = np.hstack(
            [one.rows[:, 1:3] - one.rows[:, 3:] / 2, one.rows[:, 1:3] + one.rows[:, 3:] / 2]
        )
        for row, (x1, y1, x2, y2) in zip(
            one.rows, (corners * SIDE).round().astype(int), strict=True
        ):
            if 12 <= y2 - y1 <= 60 and min(x1, y1) > 3 and max(x2, y2) < SIDE - 3:
                found.append((int(row[0]), one.pixels[y1:y2, x1:x2]))
    return found


def _mosaic(digits: list[tuple[int, Pixels]], cell: int, across: int) -> Labelled:
    side = cell * across
    pixels = np.full((side, side, 3), 90, np.uint8)
    rows = []
    for number in range(across * across):
        digit, patch = digits[number % len(digits)]
        factor = (cell - 4) / max(patch.shape[:2])
        size = [max(2, round(one * factor)) for one in patch.shape[1::-1]]
        x = number % across * cell + (cell - size[0]) // 2
        y = number // across * cell + (cell - size[1]) // 2
        pixels[y : y + size[1], x : x + size[0]] = cv2.resize(
            patch, size, interpolation=cv2.INTER_AREA
        )
        rows.append(
            [digit, (x + size[0] / 2) / side, (y + size[1] / 2) / side, *np.divide(size, side)]
        )
    return Labelled(pixels, np.array(rows))


def lay_out(folder: Path, pictures: Written) -> Path:
    for kind in ("images", "labels"):
        for part in ("train", "val"):
            (folder / kind / part).mkdir(parents=True)
    for index in range(4):
        for kind, ending in (("images", "jpg"), ("labels", "txt")):
            file = SAMPLE / "data" / "calibration" / kind / f"calibration-{index:04d}.{ending}"
            shutil.copy(file, folder / kind / "train")
    for name, write, rows in pictures:
        image = folder / "images" / "val" / name
        label = (folder / "labels" / "val" / name).with_suffix(".txt")
        image.parent.mkdir(parents=True, exist_ok=True)
        label.parent.mkdir(parents=True, exist_ok=True)
        write(image)
        label.write_text(rows)
    names = json.dumps(CLASSES)
    file = folder / "data.yaml"
    file.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: {names}\n")
    return file


SETS = {one.__name__: one for one in (odd_rows, kinds_of_files, sizes, wide, crowds)}
INPUTS = dict.fromkeys(SETS, (SIDE, SIDE)) | {"wide": (192, SIDE)}
"""Height and width of the network's input."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sets")
    return {name: lay_out(folder / name, pictures()) for name, pictures in SETS.items()}


@pytest.fixture(scope="module")
def theirs(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for imgsz in sorted(set(INPUTS.values())):
        names = [name for name in SETS if INPUTS[name] == imgsz]
        out = tmp_path_factory.mktemp("validator") / "answers.json"
        script = Path(__file__).with_name("ultralytics_validates.py")
        words = [out, SAMPLE / "weights.pt", *imgsz, *(files[name] for name in names)]
        command = [sys.executable, script, *words]
        done = subprocess.run(
            [str(word) for word in command], cwd=ROOT, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, done.stderr
        answers |= dict(zip(names, json.loads(out.read_text()), strict=True))
    return answers


@pytest.fixture(scope="module")
def exported() -> dict[tuple[int, int], bytes]:
    checkpoint = load_checkpoint(SAMPLE / "weights.pt")
    return {imgsz: _onnx(checkpoint, imgsz) for imgsz in set(INPUTS.values())}


def _onnx(checkpoint: Checkpoint, imgsz: tuple[int, int]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        export_onnx(checkpoint, file, imgsz)
        return file.read_bytes()


@pytest.mark.parametrize("name", SETS)
def test_the_accuracy_is_the_validator_s(
    name: str,
    files: dict[str, Path],
    theirs: dict[str, Any],
    exported: dict[tuple[int, int], bytes],
    tmp_path: Path,
) -> None:
    found = scored(theirs[name]["pictures"])
    ours = verified(files[name], exported[INPUTS[name]], INPUTS[name], tmp_path)
    assert ours.images == found.images
    assert ours.objects == found.objects
    for one in CLASSES:
        measured, wanted = ours.per_class[one], found.per_class[one]
        assert measured.objects == wanted.objects
        assert measured.map50_95 == pytest.approx(wanted.map50_95, abs=0.002), one
        assert measured.map50 == pytest.approx(wanted.map50, abs=0.002), one
    # And what the validator itself says, which interpolates and does not clip.
    assert ours.map50_95 == pytest.approx(theirs[name]["map50_95"], abs=0.015)


def scored(pictures: list[dict[str, Any]]) -> Accuracy:
    truth, detections = {}, {}
    for name, one in enumerate(pictures):
        height, width = one["shape"]
        limits = (width, height, width, height)
        order = np.argsort(-np.array(one["confidences"]), kind="stable")
        truth[str(name)] = Truth(
            boxes=np.array(one["truth"]).reshape(-1, 4).clip(0, limits),
            classes=np.array(one["truth_classes"], np.int64),
            height=height,
            width=width,
        )
        detections[str(name)] = Detections(
            boxes=np.array(one["boxes"], np.float32).reshape(-1, 4).clip(0, limits)[order],
            confidences=np.array(one["confidences"], np.float32)[order],
            classes=np.array(one["classes"], np.int64)[order],
        )
    return accuracy(truth, detections, CLASSES)


def verified(file: Path, onnx: bytes, imgsz: tuple[int, int], folder: Path) -> Accuracy:
    """As add-model copies the data set, and verify measures the reference on it."""
    samples = split(read_data_yaml(file)).sets["evaluation"]
    copy_set(folder / "evaluation", samples, "evaluation", len(CLASSES))
    copied = load_set(folder / "evaluation", "evaluation")
    labels = read_set_labels(copied, len(CLASSES))
    thresholds = for_map(labels)
    found, shapes = detect_in_files(onnx, copied, imgsz, "detect", thresholds)
    return accuracy(in_pixels(labels, shapes), found, CLASSES)
