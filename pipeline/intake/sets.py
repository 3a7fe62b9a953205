"""A data set copied into a model's folder, each picture and label looked at once, and counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import InputError
from engines.files import copy_file
from pipeline.intake.dataset import Sample
from pipeline.intake.labels import is_labelled
from pipeline.intake.pictures import check_picture
from pipeline.progress import track


@dataclass(frozen=True, kw_only=True)
class SetFacts:
    """What is in a set, and what was left out of it."""

    pictures: int
    objects: tuple[int, ...]
    """By class."""
    background: int
    """Pictures without an object, `unlabelled` among them."""
    unlabelled: Mapping[Path, int]
    """Pictures without a label file, by the folder in which it was looked for."""
    equal: int
    """Label rows dropped because an equal row stands in the file."""
    empty: int
    """Label rows dropped because their box has no area inside the picture."""


def copy_set(folder: Path, samples: Sequence[Sample], purpose: str, classes: int) -> SetFacts:
    """Copy pictures and the label rows that count; number equal names.

    Raises InputError for a picture or label that is not sound, or a set without an object.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    used: set[str] = set()
    objects: Counter[int] = Counter()
    unlabelled: Counter[Path] = Counter()
    background = equal = empty = 0
    for sample in track(samples, f"check and copy {purpose}", total=len(samples)):
        check_picture(sample.image)
        labels = sample.read_labels(classes)
        stem = _free(sample.image.stem, used)
        copy_file(sample.image, folder / "images" / (stem + sample.image.suffix.lower()))
        text = "".join(f"{row}\n" for row in labels.rows)
        (folder / "labels" / f"{stem}.txt").write_text(text, encoding="utf-8")
        objects.update(labels.classes.tolist())
        unlabelled.update([] if is_labelled(sample.label) else [sample.label.parent])
        background, equal = background + (not labels.rows), equal + labels.equal
        empty += labels.empty
    if not objects and purpose != "calibration":
        raise InputError(
            f"Expected labelled objects in the {purpose} set, got none in {len(samples)} "
            f"pictures. Labels are looked for beside `images`, for example {samples[0].label}. "
            "Bring them; a `train` or `test` without labels may be taken out of the data.yaml."
        )
    return SetFacts(
        pictures=len(samples),
        objects=tuple(objects[index] for index in range(classes)),
        background=background,
        unlabelled=unlabelled,
        equal=equal,
        empty=empty,
    )


def _free(stem: str, used: set[str]) -> str:
    """A name of its own that does not hide the picture: a list may name hidden files, a set, which
    is a folder, has none."""
    stem = f"_{stem}" if stem.startswith(".") else stem
    name, number = stem, 1
    while name in used:
        number += 1
        name = f"{stem}-{number}"
    used.add(name)
    return name
