"""Data sets that the tests make: a table of cases, and what they are made with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PLAIN = "train: images/train\nval: images/val\nnames: [a, b, c]\n"
Make = Callable[[Path], None]
CASES: dict[str, tuple[Make, str | None]] = {}
"""The maker of each data set, and what the refusal says where ours refuses."""


def case(refusal: str | None = None) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        CASES[make.__name__.strip("_")] = (make, refusal)
        return make

    return add


def picture(path: Path, **options: Any) -> Path:
    """A picture of its own content, by its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = int.from_bytes(str(path)[-12:].encode(), "big") % 2**32
    pixels = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path, **options)
    return path


def label(path: Path, text: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def labelled(path: Path, beside: Path) -> None:
    """A picture with one object of class c, in the label file `beside`."""
    picture(path)
    label(beside, "2 0.5 0.5 0.1 0.1\n")


def plain(folder: Path, text: str = PLAIN) -> None:
    for split in ("train", "val"):
        for name in ("x", "y"):
            picture(folder / "images" / split / f"{name}.png")
            label(folder / "labels" / split / f"{name}.txt", "1 0.5 0.5 0.25 0.5\n")
    (folder / "data.yaml").write_text(text)


def rows(name: str, text: str | bytes, refusal: str | None = None) -> None:
    """A case whose label file of val/x is `text`."""

    def make(folder: Path) -> None:
        plain(folder)
        label(folder / "labels/val/x.txt", text)

    CASES[f"rows_{name}"] = (make, refusal)


def yaml(name: str, text: str, refusal: str | None = None) -> None:
    """A case whose data.yaml is `text`."""
    CASES[f"yaml_{name}"] = (lambda folder: plain(folder, text), refusal)
