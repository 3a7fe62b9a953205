"""Make pictures of handwritten digits on photographs, with YOLO labels.

Run by hand to write the three sets that are committed::

    python models/meter-yolov8n/make_data.py

Flow: `load_sources` gives the photographs and the 8x8 digits of one set; `make_scene` composes
one picture from a seeded generator; `write_set` encodes JPEG and label files. Training calls
`make_scene` itself and writes nothing. A picture depends on its set's name and its index only.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from photos import Image, SetName, load_photos
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

SIZE = 320
"""Width and height of every picture, in pixels."""

# Samples of `load_digits`, by index. Neighbours share a writer, so ranges keep writers apart
# except at the borders.
DIGIT_RANGES: dict[SetName, tuple[int, int]] = {
    "train": (0, 1200),
    "calibration": (1200, 1320),
    "tuning": (1320, 1400),
    "evaluation": (1400, 1797),
}
SET_SIZES: dict[SetName, int] = {"calibration": 208, "tuning": 120, "evaluation": 320}
_SET_SEEDS: dict[SetName, int] = {"train": 1, "calibration": 2, "tuning": 3, "evaluation": 4}


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard the pictures are. Every pair is the range of a uniform draw."""

    empty_share: float = 0.08
    digits: tuple[int, int] = (2, 9)
    height: tuple[float, float] = (11.0, 120.0)  # pixels, drawn log-uniformly
    angle: tuple[float, float] = (-20.0, 20.0)  # degrees; more would confuse 6 and 9
    shear: tuple[float, float] = (-0.2, 0.2)
    aspect: tuple[float, float] = (0.75, 1.2)  # width over height, before the angle
    contrast: tuple[float, float] = (45.0, 160.0)  # grey levels between ink and background
    opacity: tuple[float, float] = (0.75, 1.0)
    overlap_share: float = 0.15  # digits that are placed so that they hide part of another one
    patch_share: float = 0.10  # digits over which a patch is laid
    row_share: float = 0.3  # pictures with a row of digits on a plate, as on a meter
    least_visible: float = 0.4  # a placement that leaves a digit less than this is undone
    blur: tuple[float, float] = (0.4, 1.2)  # standard deviation, pixels
    noise: tuple[float, float] = (0.0, 3.0)  # standard deviation, grey levels
    jpeg_quality: int = 74


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What one set's pictures are made of: BGR photographs, 8x8 digits in 0..1, and classes."""

    photos: list[Image]
    glyphs: NDArray[np.float32]
    classes: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One picture as a JPEG file's bytes, and float32 (n, 5) rows of class, cx, cy, w, h."""

    jpeg: bytes
    labels: NDArray[np.float32]

    def pixels(self) -> Image:
        """Return the picture decoded, BGR uint8 (SIZE, SIZE, 3)."""
        code = np.frombuffer(self.jpeg, dtype=np.uint8)
        return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class _Stamp:
    """A digit's ink over the whole picture: the cut-out, where it lies, and its class."""

    alpha: NDArray[np.float32]
    x: int
    y: int
    cls: int

    @property
    def ink(self) -> NDArray[np.bool_]:
        return self.alpha > 0.4

    @property
    def window(self) -> tuple[slice, slice]:
        height, width = self.alpha.shape
        return slice(self.y, self.y + height), slice(self.x, self.x + width)

    def at(self, x: int, y: int) -> _Stamp:
        return _Stamp(alpha=self.alpha, x=x, y=y, cls=self.cls)


@dataclass(kw_only=True)
class _Canvas:
    """A picture in the making. `owner` says which stamp (from 1) shows at each pixel."""

    image: NDArray[np.float32]
    owner: NDArray[np.int16] = field(default_factory=lambda: np.zeros((SIZE, SIZE), np.int16))
    stamps: list[_Stamp] = field(default_factory=list)
    inked: list[int] = field(default_factory=list)

    def visible_shares(self, owner: NDArray[np.int16]) -> NDArray[np.float64]:
        """Return for each stamp so far the share of its ink that `owner` leaves visible."""
        shown = np.bincount(owner.ravel(), minlength=len(self.stamps) + 1)
        return shown[1 : len(self.stamps) + 1] / np.maximum(self.inked, 1)


def load_sources(set_name: SetName) -> Sources:
    """Return the photographs and the digits that belong to one set."""
    digits = load_digits()
    part = slice(*DIGIT_RANGES[set_name])
    glyphs = (digits.images[part] / 16.0).astype(np.float32)
    return Sources(photos=load_photos(set_name), glyphs=glyphs, classes=digits.target[part])


def generator_for(set_name: SetName, index: int) -> Generator:
    """Return the seeded generator of one picture, the same on every run and machine."""
    return np.random.default_rng([_SET_SEEDS[set_name], index])


def make_scene(sources: Sources, rng: Generator, difficulty: Difficulty) -> Scene:
    """Compose one picture and its labels."""
    canvas = _Canvas(image=_background(sources.photos, rng))
    if rng.random() >= difficulty.empty_share:
        if rng.random() < difficulty.row_share:
            _add_row(canvas, sources, rng, difficulty)
        for _ in range(rng.integers(*difficulty.digits, endpoint=True)):
            _add_digit(canvas, sources, rng, difficulty)
    return Scene(jpeg=_photograph(canvas.image, rng, difficulty), labels=_labels(canvas.stamps))


def _background(photos: list[Image], rng: Generator) -> NDArray[np.float32]:
    """Return a random crop of a random photograph, scaled to the picture's size."""
    photo = photos[rng.integers(len(photos))]
    height, width = photo.shape[:2]
    side = int(rng.uniform(0.35, 1.0) * min(height, width))
    y, x = rng.integers(height - side + 1), rng.integers(width - side + 1)
    crop = cv2.resize(photo[y : y + side, x : x + side], (SIZE, SIZE))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    tint = rng.uniform(0.8, 1.2, 3).astype(np.float32)
    image: NDArray[np.float32] = crop.astype(np.float32) * tint
    if rng.random() < 0.15:
        image = 255.0 - image
    return np.clip(image, 0, 255)


def _add_digit(canvas: _Canvas, sources: Sources, rng: Generator, difficulty: Difficulty) -> None:
    """Add a digit at a free place, or over another one; do nothing if no place is found."""
    low, high = np.log(difficulty.height)
    stamp = _stamp(sources, rng, difficulty, height=float(np.exp(rng.uniform(low, high))))
    overlap = bool(canvas.stamps) and rng.random() < difficulty.overlap_share
    for _ in range(8):
        placed = _beside(stamp, canvas, rng) if overlap else _anywhere(stamp, rng)
        if _place(canvas, placed, difficulty, may_hide=overlap):
            _ink(canvas, placed, rng, difficulty)
            if rng.random() < difficulty.patch_share:
                _add_patch(canvas, placed, rng, difficulty)
            return


def _add_row(canvas: _Canvas, sources: Sources, rng: Generator, difficulty: Difficulty) -> None:
    """Add a plate with three to six digits of one height side by side, as a meter shows them."""
    height = rng.uniform(18, 46)
    count = int(rng.integers(3, 6, endpoint=True))
    pitch = min(height * rng.uniform(0.95, 1.2), (SIZE - 16) / count)
    row_w, row_h = int(pitch * count), int(height * 1.4)
    x, y = int(rng.integers(SIZE - row_w)), int(rng.integers(SIZE - row_h))
    plate = canvas.image[y : y + row_h, x : x + row_w]
    plate += rng.uniform(0.5, 0.95) * (_colour(rng) - plate)
    for column in range(count):
        stamp = _stamp(sources, rng, difficulty, height=height)
        ink_h, ink_w = stamp.alpha.shape
        left = x + int(pitch * (column + 0.5) - ink_w / 2 + rng.normal(0, 1))
        placed = stamp.at(left, y + (row_h - ink_h) // 2)
        if _place(canvas, placed, difficulty, may_hide=True):
            _ink(canvas, placed, rng, difficulty)


def _stamp(sources: Sources, rng: Generator, difficulty: Difficulty, *, height: float) -> _Stamp:
    """Return a randomly warped digit whose ink is about `height` pixels high, cut out tightly."""
    index = int(rng.integers(len(sources.classes)))
    angle = np.deg2rad(rng.uniform(*difficulty.angle))
    scale = height / 8.0
    shape = np.array([[rng.uniform(*difficulty.aspect), rng.uniform(*difficulty.shear)], [0, 1]])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = scale * (turn @ shape)
    side = int(np.ceil(np.abs(matrix).sum(axis=1).max() * 8)) + 4
    offset = np.array([side / 2, side / 2]) - matrix @ np.array([3.5, 3.5])
    warp = np.column_stack([matrix, offset])
    alpha = cv2.warpAffine(sources.glyphs[index], warp, (side, side), flags=cv2.INTER_CUBIC)
    # The scan is soft; steepen its edge so that a large digit looks like ink, not like fog.
    steepness = rng.uniform(1.2, 1.0 + scale * 0.7)
    alpha = np.clip((alpha - 0.45) * steepness + 0.5, 0, 1).astype(np.float32)
    return _Stamp(alpha=_cut_out(alpha), x=0, y=0, cls=int(sources.classes[index]))


def _cut_out(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    alpha = np.where(alpha > 0.08, alpha, 0).astype(np.float32)
    ys, xs = np.nonzero(alpha > 0.4)
    cut: NDArray[np.float32] = alpha[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    return cut


def _anywhere(stamp: _Stamp, rng: Generator) -> _Stamp:
    height, width = stamp.alpha.shape
    return stamp.at(int(rng.integers(SIZE - width + 1)), int(rng.integers(SIZE - height + 1)))


def _beside(stamp: _Stamp, canvas: _Canvas, rng: Generator) -> _Stamp:
    """Return the stamp moved so that it covers a part of a random earlier one."""
    other = canvas.stamps[rng.integers(len(canvas.stamps))]
    (height, width), (other_h, other_w) = stamp.alpha.shape, other.alpha.shape
    dx = rng.choice([-1, 1]) * rng.uniform(0.3, 0.8) * (width + other_w) / 2
    dy = rng.uniform(-0.6, 0.6) * (height + other_h) / 2
    x = other.x + other_w / 2 + dx - width / 2
    y = other.y + other_h / 2 + dy - height / 2
    return stamp.at(int(np.clip(x, 0, SIZE - width)), int(np.clip(y, 0, SIZE - height)))


def _place(canvas: _Canvas, stamp: _Stamp, difficulty: Difficulty, *, may_hide: bool) -> bool:
    """Record the stamp as the canvas's newest, unless it would hide too much of an earlier one."""
    height, width = stamp.alpha.shape
    if not (0 <= stamp.x <= SIZE - width and 0 <= stamp.y <= SIZE - height):
        return False
    if not may_hide and any(_boxes_meet(stamp, other) for other in canvas.stamps):
        return False
    owner = canvas.owner.copy()
    owner[stamp.window][stamp.ink] = len(canvas.stamps) + 1
    if (canvas.visible_shares(owner) < difficulty.least_visible).any():
        return False
    canvas.owner = owner
    canvas.stamps.append(stamp)
    canvas.inked.append(int(stamp.ink.sum()))
    return True


def _boxes_meet(one: _Stamp, two: _Stamp) -> bool:
    (h1, w1), (h2, w2) = one.alpha.shape, two.alpha.shape
    apart_x = one.x + w1 < two.x or two.x + w2 < one.x
    apart_y = one.y + h1 < two.y or two.y + h2 < one.y
    return not (apart_x or apart_y)


def _ink(canvas: _Canvas, stamp: _Stamp, rng: Generator, difficulty: Difficulty) -> None:
    """Paint the stamp in a colour that stands out from what it covers."""
    region = canvas.image[stamp.window]
    under = region.mean(axis=(0, 1))
    step = rng.uniform(*difficulty.contrast)
    brighter = under.mean() + step <= 255 and (under.mean() < step or rng.random() < 0.5)
    target = under.mean() + (step if brighter else -step)
    colour = _colour(rng)
    colour = np.clip(colour - colour.mean() + target, 0, 255).astype(np.float32)
    alpha = stamp.alpha[..., None] * np.float32(rng.uniform(*difficulty.opacity))
    region += alpha * (colour - region)


def _add_patch(canvas: _Canvas, stamp: _Stamp, rng: Generator, difficulty: Difficulty) -> None:
    """Lay a plain rectangle over a part of the stamp, unless it would hide too much."""
    height, width = stamp.alpha.shape
    w, h = int(width * rng.uniform(0.3, 0.7)) + 1, int(height * rng.uniform(0.2, 0.6)) + 1
    x = int(np.clip(stamp.x + rng.uniform(-0.2, 0.8) * width, 0, SIZE - w))
    y = int(np.clip(stamp.y + rng.uniform(-0.2, 0.8) * height, 0, SIZE - h))
    owner = canvas.owner.copy()
    owner[y : y + h, x : x + w] = 0
    if (canvas.visible_shares(owner) >= difficulty.least_visible).all():
        canvas.owner = owner
        canvas.image[y : y + h, x : x + w] = _colour(rng)


def _colour(rng: Generator) -> NDArray[np.float32]:
    """Return a random colour, greys more often than vivid ones."""
    grey, hue = rng.uniform(0, 255), rng.uniform(-1, 1, 3) * rng.uniform(0, 90)
    return np.clip(grey + hue, 0, 255).astype(np.float32)


def _photograph(image: NDArray[np.float32], rng: Generator, difficulty: Difficulty) -> bytes:
    """Return the picture as a camera would give it: exposure, blur, noise, JPEG."""
    image = (image - 127.0) * rng.uniform(0.75, 1.1) + 127.0 + rng.uniform(-25, 25)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*difficulty.blur)).astype(np.float32)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    pixels = np.clip(image + noise * np.float32(rng.uniform(*difficulty.noise)), 0, 255)
    options = [cv2.IMWRITE_JPEG_QUALITY, difficulty.jpeg_quality]
    _, code = cv2.imencode(".jpg", pixels.astype(np.uint8), options)
    return code.tobytes()


def _labels(stamps: list[_Stamp]) -> NDArray[np.float32]:
    rows = []
    for stamp in stamps:
        height, width = stamp.alpha.shape
        rows.append((stamp.cls, stamp.x + width / 2, stamp.y + height / 2, width, height))
    labels = np.array(rows, dtype=np.float32).reshape(-1, 5)
    labels[:, 1:] /= SIZE
    return labels


def write_set(folder: Path, set_name: SetName, difficulty: Difficulty) -> None:
    """Write `images/*.jpg` and `labels/*.txt` of one set, replacing what was there."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    sources = load_sources(set_name)
    for index in range(SET_SIZES[set_name]):
        scene = make_scene(sources, generator_for(set_name, index), difficulty)
        name = f"{set_name}-{index:04d}"
        (folder / "images" / f"{name}.jpg").write_bytes(scene.jpeg)
        lines = [f"{int(row[0])} " + " ".join(f"{v:.6f}" for v in row[1:]) for row in scene.labels]
        (folder / "labels" / f"{name}.txt").write_text("".join(line + "\n" for line in lines))


def main() -> None:
    """Write the calibration, tuning and evaluation sets."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    default = Path(__file__).parent / "data"
    parser.add_argument("--data", type=Path, default=default, help="folder of the three sets")
    data: Path = parser.parse_args().data
    for set_name in SET_SIZES:
        write_set(data / set_name, set_name, Difficulty())
        print(f"{set_name}: {SET_SIZES[set_name]} pictures in {data / set_name}")


if __name__ == "__main__":
    main()
