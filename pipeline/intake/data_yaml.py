"""Ultralytics' `data.yaml`: where a data set's pictures and labels are
(https://docs.ultralytics.com/datasets/detect/), read as `ultralytics.data.utils.check_det_dataset`
and `BaseDataset.get_img_files` read it.
"""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engines.config.yaml import NOT_YAML, remedy
from engines.errors import InputError
from pipeline.intake.dataset import Sample
from pipeline.intake.labels import label_path
from pipeline.intake.pictures import READ, find_pictures, is_picture
from pipeline.intake.written_out import written_out

SPLITS = ("train", "val", "test")
ARCHIVES = frozenset({".7z", ".bz2", ".gz", ".rar", ".tar", ".tgz", ".xz", ".zip"})
ENDINGS = frozenset({".yaml", ".yml"})
"""Ultralytics reads no other; and what is none, as COCO's JSON, may be of gigabytes."""

MAX_BYTES = 4 << 20
"""Of a data.yaml. YAML is slow: this takes half a minute, and 9,000 names of classes 200 KB."""
MAX_LIST_BYTES = 256 << 20
"""Of a list of pictures: more than two million lines."""
MAX_VALUES = 1_000_000
"""In a file of a few hundred bytes anchors make any number of them."""

_CONVERT = (
    "import asyncio, sys; from ultralytics.data.converter import convert_ndjson_to_yolo as made; "
    "print(asyncio.run(made(*sys.argv[1:])))"
)
_WRITE = (
    "Write a data.yaml: `train:` and `val:` with folders or lists of pictures, relative to it, and "
    "`names:` with the classes in the checkpoint's order"
)


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
    _check_file(path)
    content = _load(path)
    _refuse_arguments(path, content)
    if isinstance(content, dict) and "val" not in content and "validation" in content:
        content["val"] = content["validation"]
    if not isinstance(content, dict) or not content.get("val"):
        filled = [key for key, one in content.items() if one] if isinstance(content, dict) else []
        got = f"the keys {', '.join(map(str, filled))[:100]}" if filled else "no keys"
        raise InputError(
            f"Expected {path} to have the keys `val` and `names`, as Ultralytics' data.yaml has "
            f"(and better `train` too), got {got}. Add them."
        )
    names = _names(path, content)
    _check_kind(path, content)
    folder = _folder(path, content)
    return DataYaml(
        path=path,
        names=names,
        splits={split: _samples(path, folder, content.get(split), split) for split in SPLITS},
    )


def as_one_class(data: DataYaml, names: tuple[str, ...]) -> DataYaml:
    """The data set with every object of the one class `names`, as Ultralytics' `single_cls`."""
    return replace(
        data,
        names=names,
        splits={
            split: [replace(sample, single_class=True) for sample in samples]
            for split, samples in data.splits.items()
        },
    )


def _check_file(path: Path) -> None:
    if path.suffix.lower() in ARCHIVES and path.is_file():
        raise InputError(f"Expected a data.yaml, got the archive {path}. Unpack it, and give its.")
    if path.is_dir():
        said = f"Expected an Ultralytics data.yaml, got the folder {path}. {_one_of(path)}."
        raise InputError(said)
    if not path.is_file():
        raise InputError(
            f"Expected an Ultralytics data.yaml at {path}, but no file is there. "
            f"{_one_of(path.parent)}."
        )
    if path.suffix.lower() == ".ndjson":
        make = shlex.join(["python", "-c", _CONVERT, str(path), f"{path.with_suffix('')}"])
        raise InputError(
            f"Expected a data.yaml, got {path}, as Ultralytics' platform exports. A training makes "
            f"a folder with a data.yaml of it, and so does `{make}`. Give that data.yaml."
        )
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"Expected an Ultralytics data.yaml, got {path}. {_WRITE}. Labels are YOLO's, a text "
            "file for each picture; of annotations in JSON (COCO) or XML (VOC) make such files."
        )


def _one_of(folder: Path) -> str:
    """Exports of CVAT (YOLO 1.1) and Label Studio have none."""
    inside = sorted(one for one in folder.glob("*.y*ml") if _like_one(one))
    more = f", or another of its {len(inside)}" if len(inside) > 1 else ""
    return f"Give {inside[0]}{more}" if inside else f"The folder {folder} has none. {_WRITE}"


def _like_one(path: Path) -> bool:
    """Whether its text has a data.yaml's keys; a clone and a training have other YAML files."""
    if path.suffix.lower() not in ENDINGS or not path.is_file():
        return False
    keys = (b"val|validation", b"names|nc")
    with suppress(OSError), path.open("rb") as file:
        text = file.read(MAX_BYTES)
        return all(re.search(rb"\b(%b)\b['\"]?\s*:" % one, text) for one in keys)
    return False


def _load(path: Path) -> Any:
    """As YAML 1.1, in which `yes` is true and `010` is 8: so does Ultralytics, and names follow."""
    import yaml

    _check_bytes(path, MAX_BYTES, f"a data.yaml. {_WRITE}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8", errors="ignore"))
    except (yaml.YAMLError, *NOT_YAML) as error:
        where = " ".join(str(error).split())[:300]
        said = f"{path} is not YAML: {where}. {remedy(path.read_bytes())}."
        raise InputError(said) from error
    if written_out(content, MAX_VALUES) > MAX_VALUES:
        raise InputError(
            f"Expected at most {MAX_VALUES} values in {path}, got more, by anchors that hold each "
            "other. Such a file fills the memory, and no data set needs that: do not trust it."
        )
    if isinstance(content, dict):
        return {key: None if value == "None" else value for key, value in content.items()}
    return content


def _check_bytes(path: Path, most: int, wanted: str) -> None:
    if (size := path.stat().st_size) > most:
        raise InputError(
            f"Expected at most {most >> 20} MiB in {path}, got {size >> 20} MiB, which is hardly "
            f"{wanted}."
        )


def _refuse_arguments(path: Path, content: Any) -> None:
    """Raise InputError of a training's args.yaml: the only YAML file in its folder, `val: true`."""
    if isinstance(content, dict) and content.get("mode") and content.get("data"):
        raise InputError(
            f"Expected a data.yaml, got {path}, the arguments of a training. Give the data.yaml "
            f"that it names: {content['data']}."
        )


def _check_kind(path: Path, content: dict[Any, Any]) -> None:
    if content.get("kpt_shape"):
        raise InputError(
            f"{path}: expected a data set for detect, got one for pose (`kpt_shape`). Export it "
            "with boxes only, and take the key out."
        )
    if content.get("channels", 3) != 3:
        raise InputError(
            f"{path}: expected pictures of three channels, got `channels: {content['channels']}`. "
            "Jetrail serves YOLOv8 on colour pictures; train without that key."
        )


def _folder(path: Path, content: dict[Any, Any]) -> Path:
    """The folder that the entries are relative to.

    Ultralytics takes a relative `path` from the folder that it runs in, and without `path` the
    folder of the file. Data sets travel, so the folder of the file is looked at as well. Raises
    InputError where a `path` leads nowhere.
    """
    # Not where a link to the file leads: DVC and others link single files into a store.
    beside, named = path.parent.resolve(), content.get("path")
    if named is None or named == "":
        return beside
    if not isinstance(named, str):
        raise InputError(f"{path}: expected `path` as text, got {named!r}. Put it in quotes.")
    entries = [str(one) for key in ("val", "train", "test") for one in _entries(content.get(key))]
    first = next((one for one in entries if not Path(one).is_absolute()), None)
    if first is None:
        return beside  # whole paths, which `path` says nothing of
    bases = (Path.cwd(), beside)
    choices = list(dict.fromkeys(_followed(path, base, named) for base in bases))
    found = [folder for folder in choices if _followed(path, folder, first).exists()]
    if len(found) > 1:
        raise InputError(
            f"{path}: expected one place for `path: {named}`, but {found[0]} (from the folder that "
            f"the command runs in, as Ultralytics takes it) and {found[1]} (beside the file) both "
            f"have {first}. Write the whole path."
        )
    there = [folder for folder in (*found, *reversed(choices)) if folder.is_dir()]
    if not there:
        # As Ultralytics: what lies beside the file may be another data set by now.
        raise InputError(
            f"{path}: expected a folder at `path: {named}`, but there is none at "
            f"{' or '.join(map(str, choices))}. Write where the data set lies on this machine, or "
            "take `path` out where that is the folder of this file."
        )
    return there[0]


def _names(path: Path, content: dict[Any, Any]) -> tuple[str, ...]:
    names, count = content.get("names"), content.get("nc")
    if names is None and count is None:
        raise InputError(f"Expected {path} to have the keys `val` and `names`. Add `names`.")
    if "nc" in content:
        count = _count(path, count)
    if names is None:
        return tuple(f"class_{index}" for index in range(count or 0))
    table = dict(enumerate(names)) if isinstance(names, list) else names
    result = _in_order(table) if isinstance(table, dict) else None
    if not result:
        raise InputError(
            f"{path}: expected `names` as a list, or as a map from 0 upward without gaps; "
            f"got {str(names)[:80]!r}. Fix the file and run again."
        )
    _refuse_imagenet(path, result)
    if count not in (None, len(result)):
        raise InputError(
            f"{path}: expected as many `names` as `nc`, got {len(result)} names and `nc: {count}`."
            " Make the two the same."
        )
    return result


def _refuse_imagenet(path: Path, names: tuple[str, ...]) -> None:
    """Raise InputError for ImageNet's codes: Ultralytics trains under the words that they stand
    for, where the first name begins so (`check_class_names`)."""
    codes = [name for name in names if re.fullmatch(r"n\d{8}", name)]
    if codes and names[0].startswith("n0"):
        raise InputError(
            f"{path}: expected `names` as the checkpoint has them, got ImageNet's code {codes[0]}, "
            "of which Ultralytics makes a word when it trains. Write those words."
        )


def _count(path: Path, count: Any) -> int:
    try:
        number = float("nan") if isinstance(count, bool) else float(count)
    except (TypeError, ValueError):
        number = float("nan")
    if not number.is_integer() or not 0 < number < 1e5:
        raise InputError(f"{path}: expected `nc` as a number of classes, got {count!r}. Fix it.")
    return int(number)


def _in_order(table: dict[Any, Any]) -> tuple[str, ...] | None:
    """Names by index; None where the keys do not go from 0 upward, or a name is a list or map."""
    try:
        by_index = {int(key): value for key, value in table.items()}
    except (TypeError, ValueError, OverflowError):
        return None
    if sorted(by_index) != list(range(len(table))):
        return None
    values = [by_index[index] for index in range(len(table))]
    return (
        None if any(isinstance(v, list | dict | set) for v in values) else tuple(map(str, values))
    )


def _entries(entry: Any) -> list[Any]:
    if isinstance(entry, list):
        return entry
    return [entry] if entry is not None and entry != "" else []


def _samples(path: Path, folder: Path, entry: Any, split: str) -> list[Sample]:
    entries = _entries(entry)
    if wrong := [one for one in entries if not isinstance(one, str)]:
        raise InputError(
            f"{path}: expected `{split}` as a path or a list of paths, got {str(wrong[0])[:80]!r}. "
            "Put a name that looks like a number in quotes."
        )
    images = [image for one in entries for image in _images(path, folder, one, split)]
    return [Sample(image=image, label=label_path(image)) for image in sorted(set(images))]


def _images(path: Path, folder: Path, entry: str, split: str) -> list[Path]:
    # Resolved, since Ultralytics looks for labels beside the folder that a link leads to.
    place = _followed(path, folder, entry)
    if not place.exists() and entry.startswith("../"):
        # Roboflow writes `../train/images` for `train/images`; Ultralytics takes it so, too.
        place = _followed(path, folder, entry[3:])
    listed = place.is_file() and not is_picture(place)
    found = find_pictures(place) if place.is_dir() else _listed(place) if listed else []
    missing = [one for one in found if not one.is_file()]
    if not found or missing:
        lost = missing[0] if missing else None if place.exists() else place
        raise InputError(
            f"{path}: expected pictures for `{split}: {entry}`, but "
            f"{f'{lost} is not there' if lost else f'{place} has none'}. "
            f"{_mend(place, bool(missing))}{_or_without(split)}."
        )
    return found


def _or_without(split: str) -> str:
    """`val` there must be."""
    return "" if split == "val" else f", or take `{split}` out of the file"


_DRIVE = re.compile(r"/[A-Za-z]:[/\\]")
"""A whole path of Windows, which is none here."""


def _mend(place: Path, missing: bool) -> str:
    if place.is_dir():
        kinds = ", ".join(one[1:] for one in sorted(READ))
        return f"Bring files that end in {kinds}, or fix the path"
    if not place.is_file():
        if _DRIVE.search(str(place)):
            return "Write where they lie on this machine, best from the folder of this file"
        return "Write the path with `/`" if "\\" in place.name else "Fix the path"
    if missing:
        return "Write the lines of the list from its folder, as `./images/a.jpg`, or as whole paths"
    return "Give a folder, or a text file with the path of a picture in each line"


def _followed(file: Path, folder: Path, entry: str) -> Path:
    """Where `entry` of `file` leads, through links. Raises InputError where no file can be."""
    try:
        place = (folder / entry).resolve()
        with suppress(FileNotFoundError, NotADirectoryError):
            place.stat()  # of too long a name and a circle Path.exists says nothing in Python 3.14
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(
            f"{file}: expected the path of a file or folder, got {entry[:80]!r} ({reason}). Fix "
            "the path, or remove the link that leads back to itself."
        ) from error
    return place


def _listed(file: Path) -> list[Path]:
    """The pictures that a text file names, a line each; other lines do not count."""
    _check_bytes(file, MAX_LIST_BYTES, "a list of pictures. Give a folder, or a shorter list")
    try:
        lines = file.read_text(encoding="utf-8-sig").strip().splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"Expected {file} as a list of pictures in UTF-8. Save it so.") from error
    return [
        _one_listed(file, number, line)
        for number, line in enumerate(lines, start=1)
        if is_picture(Path(line.strip()))
    ]


def _one_listed(file: Path, number: int, line: str) -> Path:
    if line != line.strip():
        raise InputError(
            f"{file}, line {number}: expected a path without blanks around it, got {line!r}; "
            "Ultralytics leaves such a line out. Take the blanks away."
        )
    _followed(file, file.parent, line)
    # As written: through a linked folder, `..` leads to where the link leads.
    beside = file.parent / line
    # Ultralytics takes `./` from the list's folder, and all else from where it runs.
    here = beside if line.startswith("./") else Path.cwd() / line
    if here.exists() and line.startswith("images/") and "/images/" not in line:
        raise InputError(
            f"{file}, line {number}: expected a path with a folder before `images`, got {line!r}: "
            "of a line that begins with `images/` Ultralytics looks for the labels beside the "
            "picture. Begin the line with `./`, or write the whole path."
        )
    if here.exists() and beside.exists() and not here.samefile(beside):
        raise InputError(
            f"{file}, line {number}: expected one picture {line}, but {here} (from the folder that "
            f"the command runs in, as Ultralytics takes it) and {beside} (beside the list) are both"
            " there. Begin the line with `./`, or write the whole path."
        )
    return here if here.exists() else beside
