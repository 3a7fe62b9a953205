"""Ultralytics' `data.yaml`: where a data set's pictures and labels are
(https://docs.ultralytics.com/datasets/detect/).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.config.yaml import load_yaml
from engines.errors import InputError
from pipeline.intake.dataset import IMAGE_ENDINGS, Sample

SPLITS = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True)
class DataYaml:
    """A data set as Ultralytics trains on it."""

    path: Path
    names: tuple[str, ...]
    splits: dict[str, list[Sample]]
    """`train`, `val`, `test`; a split that the file does not name is empty."""


def read_data_yaml(path: Path) -> DataYaml:
    """Read a data.yaml and find its pictures.

    Raises InputError when it is missing, is not of that form, or names a place without pictures.
    """
    if not path.is_file():
        raise InputError(f"Expected an Ultralytics data.yaml at {path}, but no file is there.")
    content = load_yaml(path)
    if not isinstance(content, dict) or not {"val", "names"} <= content.keys():
        raise InputError(
            f"Expected {path} to have the keys `val` and `names`, as Ultralytics' data.yaml has "
            "(and better `train` too). Add them."
        )
    folder = _folder(path, content.get("path"))
    return DataYaml(
        path=path,
        names=_names(path, content["names"]),
        splits={split: _samples(path, folder, content.get(split), split) for split in SPLITS},
    )


def _folder(path: Path, named: Any) -> Path:
    beside = path.resolve().parent
    for folder in (beside / str(named or "."), Path.cwd() / str(named or ".")):
        if folder.is_dir():
            return folder
    # Data sets travel: a `path` of another machine usually means the folder of the file.
    return beside


def _names(path: Path, names: Any) -> tuple[str, ...]:
    if isinstance(names, dict) and names.keys() == set(range(len(names))):
        return tuple(str(names[index]) for index in range(len(names)))
    if isinstance(names, list) and names:
        return tuple(map(str, names))
    raise InputError(
        f"{path}: expected `names` as a list, or as a map from 0 upward without gaps; "
        f"came {str(names)[:80]!r}."
    )


def _samples(path: Path, folder: Path, entry: Any, split: str) -> list[Sample]:
    entries = entry if isinstance(entry, list) else [entry] if entry else []
    images = [image for one in entries for image in _images(path, folder, str(one), split)]
    return [Sample(image=image, label=label_path(image)) for image in sorted(set(images))]


def _images(path: Path, folder: Path, entry: str, split: str) -> list[Path]:
    place = folder / entry
    if not place.exists() and entry.startswith("../"):
        # Roboflow writes `../train/images` for `train/images`; Ultralytics takes it so, too.
        place = folder / entry[3:]
    if place.is_dir():
        found = [one for one in place.rglob("*") if one.suffix.lower() in IMAGE_ENDINGS]
    elif place.is_file() and place.suffix == ".txt":
        lines = place.read_text(encoding="utf-8", errors="replace").split("\n")
        found = [place.parent / line.strip() for line in lines if line.strip()]
    else:
        found = []
    missing = [one for one in found if not one.is_file()]
    if not found or missing:
        problem = f"{missing[0]} is not there" if missing else f"{place} has none"
        raise InputError(
            f"{path}: expected pictures for `{split}: {entry}`, but {problem}. "
            "Mend the path, or take the split out of the file."
        )
    return found


def label_path(image: Path) -> Path:
    """The label file of an image: the last `images` folder becomes `labels`, the ending `.txt`."""
    parts = list(image.parts)
    for index in reversed(range(len(parts) - 1)):
        if parts[index] == "images":
            parts[index] = "labels"
            break
    return Path(*parts).with_suffix(".txt")
