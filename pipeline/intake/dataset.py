"""Data sets on disk: a folder with `images/` and, by the same names, YOLO labels in `labels/`; an
empty label file (or none) is a picture without objects.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.config.model import ModelConfig
from engines.errors import InputError
from engines.files import sha256_file
from pipeline.intake.labels import Labels, read_labels
from pipeline.intake.pictures import find_pictures, read_picture
from pipeline.intake.way_back import way_back


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image file and where its labels are."""

    image: Path
    label: Path

    folder: Path | None = None
    """The `images/` of its set; None for a picture of its own."""

    single_class: bool = False
    """Every object is of class 0, whatever its label says."""

    sha256: str | None = None
    """Of the picture's file when `load_sets` saw it; None where that does not matter."""

    @property
    def name(self) -> str:
        """What the picture is called in its set: its path below `images/`."""
        return self.image.relative_to(self.folder).as_posix() if self.folder else self.image.name

    def read_image(self) -> NDArray[np.uint8]:
        """Pixels, uint8 BGR, shape (height, width, 3). Raises InputError when not an image, or not
        the one any more that the set had."""
        return read_picture(self.image, self.sha256)

    def read_labels(self, classes: int) -> Labels:
        """Objects of the image; none where there is no label file. Raises InputError."""
        return read_labels(self.label, classes, single_class=self.single_class)


def load_set(folder: Path, purpose: str) -> list[Sample]:
    """The samples of one data set, by name; `purpose` names it in messages.

    Raises InputError when the folder is missing or has no image.
    """
    images = folder / "images"
    if not images.is_dir():
        raise InputError(
            f"Expected the {purpose} set in {folder} with the folders images/ and labels/, "
            f"but {images} is not there. Bring it back with {way_back(folder)}, or give new data "
            "to `pipeline update-model`."
        )
    samples = [
        Sample(
            image=path,
            label=(folder / "labels" / path.relative_to(images)).with_suffix(".txt"),
            folder=images,
        )
        for path in find_pictures(images)
    ]
    if not samples:
        raise InputError(
            f"Expected images in {images} for the {purpose} set, got none. Images are never "
            f"replaced by random data: bring them back with {way_back(folder)}, or give new data "
            "to `pipeline update-model`."
        )
    return samples


def load_sets(folder: Path, model: ModelConfig) -> dict[str, list[Sample]]:
    """The sets `calibration`, `tuning` and `evaluation` of a model whose folder is `folder`.

    Raises InputError when two of them share an image: by content, since a copy under another name
    would flatter the accuracy just as well. A picture that is another one by the time it is read is
    refused: figures would be told to be of those that were looked at here.
    """
    sets = {
        purpose: [
            replace(sample, sha256=sha256_file(sample.image))
            for sample in load_set(folder / path, purpose)
        ]
        for purpose, path in model.data.model_dump().items()
    }
    prints = {
        purpose: {sample.sha256: sample for sample in samples} for purpose, samples in sets.items()
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
