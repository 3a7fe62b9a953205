"""Data sets on disk: a folder with `images/` and, by the same names, YOLO labels in `labels/`.

A label file has a line `class cx cy w h` for each object, all but the class as parts of the image's
width and height, or `class x1 y1 x2 y2 x3 y3 …` for a polygon; an empty file (or none) is a picture
without objects.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.config.model import ModelConfig
from engines.errors import InputError

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})

TOLERANCE = 0.01
"""How far a coordinate may lie outside the image, as in Ultralytics' training; it is clipped."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Objects of one image."""

    classes: NDArray[np.int64]
    """Index into the model's classes, shape (n,)."""
    boxes: NDArray[np.float64]
    """cx, cy, w, h as parts of the image's width and height, shape (n, 4)."""

    def pixels(self, height: int, width: int) -> NDArray[np.float64]:
        """The boxes as x1, y1, x2, y2 in pixels, shape (n, 4)."""
        centre, size = self.boxes[:, :2], self.boxes[:, 2:]
        corners = np.concatenate([centre - size / 2, centre + size / 2], axis=1)
        scale = np.array([width, height, width, height], dtype=np.float64)
        return np.asarray(corners * scale, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image file and where its labels are."""

    image: Path
    label: Path

    def read_image(self) -> NDArray[np.uint8]:
        """Pixels, uint8 BGR, shape (height, width, 3). Raises InputError when not an image."""
        import cv2

        data = np.fromfile(self.image, dtype=np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if pixels is None:
            raise InputError(
                f"Expected an image that OpenCV can read, but {self.image} is damaged or of "
                "another kind. Replace it or take it out of the data set, with its label file."
            )
        return np.asarray(pixels, dtype=np.uint8)

    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels. Raises InputError when not an image."""
        height, width = self.read_image().shape[:2]
        return height, width

    def read_labels(self, classes: int) -> Labels:
        """Objects of the image; none where there is no label file. Raises InputError."""
        if not self.label.is_file():
            return Labels(classes=np.zeros(0, np.int64), boxes=np.zeros((0, 4)))
        try:
            lines = self.label.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(
                f"Expected {self.label} as UTF-8 text with a line `class cx cy w h` for each "
                "object, came something else. Save it as UTF-8."
            ) from error
        rows = [
            _label_row(self.label, number, line, classes)
            for number, line in enumerate(lines, start=1)
            if line.strip()
        ]
        table = np.array(rows, dtype=np.float64).reshape(-1, 5)
        # A box without area, which polygon tools leave behind, is no object.
        table = table[(table[:, 3:] > 0).all(axis=1)]
        return Labels(classes=table[:, 0].astype(np.int64), boxes=table[:, 1:])


def _label_row(path: Path, number: int, line: str, classes: int) -> list[float]:
    try:
        row = [float(part) for part in line.split()]
    except ValueError:
        row = []
    if len(row) >= 7 and len(row) % 2:
        # A polygon; Ultralytics takes its bounding box for detection, and so do we.
        row = [row[0], *_bounding_box(row[1::2], row[2::2])]
    if len(row) != 5:
        problem = "expected five numbers `class cx cy w h`"
    elif row[0] not in range(classes):
        problem = f"expected a class from 0 to {classes - 1}"
    elif not all(-TOLERANCE <= part <= 1 + TOLERANCE for part in row[1:]):
        problem = "expected cx cy w h as parts of the image, from 0 to 1"
    else:
        return [row[0], *(min(max(part, 0.0), 1.0) for part in row[1:])]
    raise InputError(f"{path}, line {number}: {problem}, came {line.strip()!r}. Mend the label.")


def _bounding_box(xs: list[float], ys: list[float]) -> list[float]:
    x1, y1, x2, y2 = min(xs), min(ys), max(xs), max(ys)
    return [(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1]


def load_set(folder: Path, purpose: str) -> list[Sample]:
    """The samples of one data set, by name; `purpose` names it in messages.

    Raises InputError when the folder is missing or has no image.
    """
    images = folder / "images"
    if not images.is_dir():
        raise InputError(
            f"Expected the {purpose} set in {folder} with the folders images/ and labels/, "
            f"but {images} is not there. Fetch it with `dvc pull`, or mend `data:` in model.yaml."
        )
    samples = [
        Sample(image=path, label=(folder / "labels" / path.name).with_suffix(".txt"))
        for path in sorted(images.iterdir())
        if path.suffix.lower() in IMAGE_ENDINGS
    ]
    if not samples:
        raise InputError(
            f"Expected images in {images} for the {purpose} set, came none. Images are never "
            "replaced by random data: put real ones there, or mend `data:` in model.yaml."
        )
    return samples


def load_sets(folder: Path, model: ModelConfig) -> dict[str, list[Sample]]:
    """The sets `calibration`, `tuning` and `evaluation` of a model whose folder is `folder`.

    Raises InputError when two of them share an image: by content, since a copy under another name
    would flatter the accuracy just as well.
    """
    sets = {
        purpose: load_set(folder / path, purpose)
        for purpose, path in model.data.model_dump().items()
    }
    prints = {
        purpose: {hashlib.sha256(sample.image.read_bytes()).digest(): sample for sample in samples}
        for purpose, samples in sets.items()
    }
    for one, other in combinations(prints, 2):
        if shared := prints[one].keys() & prints[other].keys():
            example = next(iter(shared))
            raise InputError(
                f"Expected the {one} and {other} sets to be disjoint, but {len(shared)} image(s) "
                f"are in both, for example {prints[one][example].image} and "
                f"{prints[other][example].image}. Take them out of one of the two."
            )
    return sets
