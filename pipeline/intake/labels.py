"""Label files of YOLO: a line `class cx cy w h` for each object, all but the class as parts of the
image's width and height, or `class x1 y1 x2 y2 x3 y3 …` for a polygon, of which the bounding box
counts.

Read as Ultralytics reads them (`ultralytics.data.utils.verify_image_label`, whose numbers are
float32); a file that Ultralytics would leave out with its picture is refused by name.
"""

from __future__ import annotations

import errno
import stat
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError

TOLERANCE = 0.01
"""How far a number may lie outside 0 to 1, as in Ultralytics' training."""

MAX_BYTES = 16 << 20
"""Of a label file: 400,000 boxes. Read, it takes ten times that."""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Objects of one image."""

    classes: NDArray[np.int64]
    """Index into the model's classes, shape (n,)."""
    boxes: NDArray[np.float64]
    """cx, cy, w, h as parts of the image's width and height, inside it, shape (n, 4)."""
    rows: tuple[str, ...] = ()
    """The lines that count, as written."""
    equal: int = 0
    """Lines dropped because an equal one stands above."""
    empty: int = 0
    """Lines dropped because their box has no area inside the picture."""
    outlines: tuple[bytes, ...] = field(default=(), repr=False)

    def pixels(self, height: int, width: int) -> NDArray[np.float64]:
        """The boxes as x1, y1, x2, y2 in pixels, shape (n, 4)."""
        scale = np.array([width, height, width, height], dtype=np.float64)
        return np.asarray(_corners(self.boxes) * scale, dtype=np.float64)

    def content(self) -> frozenset[tuple[int, bytes]]:
        """What two copies of a picture have in common if they are labelled alike."""
        return frozenset(zip(self.classes.tolist(), self.outlines, strict=True))


def label_path(image: Path) -> Path:
    """The label file of an image: the last `images` folder becomes `labels`, the ending `.txt`."""
    parts = list(image.parts)
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")


def read_labels(path: Path, classes: int, *, single_class: bool = False) -> Labels:
    """The objects in a label file; none where there is no file. `classes` is how many there are;
    `single_class` takes every object for one of class 0, before equal lines are dropped, so that
    an object labelled under two classes is one; a training with `single_cls` counts it twice.

    Raises InputError that names the file and the line.
    """
    lines = [(n, line.split()) for n, line in enumerate(_lines(path), start=1) if line.strip()]
    polygons = any(len(parts) > 6 for _, parts in lines)
    boxes, outlines, kept = [], [], []
    seen: set[bytes] = set()
    equal = empty = 0
    for number, parts in lines:
        row = _numbers(path, number, parts, polygons=polygons)
        if single_class and row[0] >= 0 and float(row[0]).is_integer():
            row[0], parts = 0, ["0", *parts[1:]]
        box = _bounding_box(row[1:]) if polygons else row[1:]
        _check(path, number, parts, row[0], box, classes)
        # Ultralytics takes -0 and 0 for equal in boxes, and for different in polygons.
        exact = row if polygons else row + np.float32(0)
        if exact.tobytes() in seen:
            equal += 1
            continue
        seen.add(exact.tobytes())
        inside = _clip(box.astype(np.float64))
        if not (inside[2:] > 0).all():
            empty += 1
            continue
        boxes.append([float(row[0]), *inside.tolist()])
        outlines.append(exact[1:].tobytes())
        kept.append(" ".join(parts))
    table = np.array(boxes, dtype=np.float64).reshape(-1, 5)
    return Labels(
        classes=table[:, 0].astype(np.int64),
        boxes=table[:, 1:],
        rows=tuple(kept),
        equal=equal,
        empty=empty,
        outlines=tuple(outlines),
    )


def is_labelled(path: Path) -> bool:
    """Whether the label file is there. Raises PermissionError where its folder may not be entered:
    from Python 3.14 on `Path.is_file` says no there, and all its pictures would be background."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise


def _lines(path: Path) -> list[str]:
    if not is_labelled(path):
        return []
    if (size := path.stat().st_size) > MAX_BYTES:
        raise InputError(
            f"Expected a label file of at most {MAX_BYTES >> 20} MiB, got {size >> 20} MiB in "
            f"{path}. Write a line for each object of its picture, and nothing else."
        )
    try:
        return path.read_text(encoding="utf-8-sig").strip().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(
            f"Expected {path} as UTF-8 text with a line `class cx cy w h` for each "
            "object, got something else. Save it as UTF-8."
        ) from error


def _numbers(path: Path, number: int, parts: list[str], *, polygons: bool) -> NDArray[np.float32]:
    try:
        with np.errstate(over="ignore"):
            row = np.array([float(part) for part in parts], dtype=np.float32)
    except (ValueError, OverflowError):
        row = np.zeros(0, np.float32)
    if polygons and len(row) == 5:
        raise _refused(
            path,
            number,
            parts,
            "expected polygons only, since others of its lines are polygons, and Ultralytics "
            "leaves out a picture whose labels mix them with boxes",
        )
    if not (len(row) == 5 or (polygons and len(row) >= 7 and len(row) % 2)):
        raise _refused(path, number, parts, "expected five numbers `class cx cy w h`")
    return row


def _check(
    path: Path,
    number: int,
    parts: list[str],
    category: float,
    box: NDArray[np.float32],
    classes: int,
) -> None:
    if category not in range(classes):
        raise _refused(path, number, parts, f"expected a class from 0 to {classes - 1}")
    inside = (box >= np.float32(-TOLERANCE)).all() and (box <= np.float32(1 + TOLERANCE)).all()
    if not inside or not (box[2:] >= 0).all():
        problem = "expected cx cy w h as parts of the image, from 0 to 1"
        raise _refused(path, number, parts, problem)


def _refused(path: Path, number: int, parts: list[str], problem: str) -> InputError:
    return InputError(
        f"{path}, line {number}: {problem}, got {' '.join(parts)[:80]!r}. Fix the label."
    )


def _bounding_box(points: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = points.reshape(-1, 2).min(axis=0), points.reshape(-1, 2).max(axis=0)
    return np.concatenate([(low + high) / 2, high - low])


def _corners(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    centre, size = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([centre - size / 2, centre + size / 2], axis=-1)


def _clip(box: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of a box inside the picture, since detections are clipped there too; a box that lies
    inside stays as it is, to the last digit."""
    corners = _corners(box)
    clipped = corners.clip(0, 1)
    if (corners == clipped).all():
        return box
    return np.concatenate([(clipped[:2] + clipped[2:]) / 2, clipped[2:] - clipped[:2]])
