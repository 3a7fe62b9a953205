"""`pipeline add-model`: one's own checkpoint, ready for `dvc repro`."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engines.config.model import check_imgsz
from engines.config.names import VERSION_PATTERN
from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from engines.files import atomic_folder, sha256_file
from pipeline.intake.checkpoint import inspect_checkpoint
from pipeline.intake.data_yaml import DataYaml, read_data_yaml
from pipeline.intake.dataset import Sample
from pipeline.intake.names import check_new_name
from pipeline.progress import track
from pipeline.repository.dvc import dvc_add
from pipeline.repository.fleet import fleet_folders
from pipeline.repository.yaml_edit import edited_yaml

CALIBRATION_IMAGES = 300
TUNING_IMAGES = 200
PRECISIONS = ("fp32", "fp16", "int8")

MODEL_YAML = """\
# What this model is. `pipeline add-model` wrote it; people keep it.
schema: 1
name: {name}
version: "{version}"
task: detect
weights:
  path: weights.pt
  sha256: {sha256}
imgsz: [{height}, {width}]
classes:
{classes}
data:
  calibration: data/calibration
  tuning: data/tuning
  evaluation: data/evaluation
"""


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """What the user brings."""

    name: str
    weights: Path
    data: Path
    imgsz: tuple[int, int]
    """Height and width, in pixels."""
    targets: tuple[str, ...]
    version: str
    track: str
    """`git`: plain files that the user commits; `dvc`: weights and data go to DVC's cache."""


def parse_imgsz(text: str) -> tuple[int, int]:
    """`640` or `384,640` as height and width in pixels. Raises InputError."""
    match = re.fullmatch(r"(\d{1,5})(?:,(\d{1,5}))?", text.strip())
    if match is None:
        raise InputError(f"Expected --imgsz as `640` or `height,width` in pixels, came {text!r}.")
    imgsz = int(match[1]), int(match[2] or match[1])
    try:
        check_imgsz(imgsz)
    except ValueError as error:
        raise InputError(f"--imgsz: {error}.") from error
    return imgsz


def add_model(workspace: Workspace, new: NewModel) -> None:
    """Check everything, then make `models/<name>` at once, add its engines to the targets and lay
    out their folders of release/fleet.

    Raises InputError; nothing is left behind then.
    """
    _check_words(workspace, new)
    checkpoint = inspect_checkpoint(new.weights)
    data = read_data_yaml(new.data)
    _check_names(new, data, checkpoint.classes)
    sets = split(data)
    targets = [load_target(workspace, target) for target in new.targets]
    with (
        fleet_folders(workspace, [new.name], targets),
        atomic_folder(workspace.model(new.name)) as folder,
    ):
        shutil.copyfile(new.weights, folder / "weights.pt")
        for purpose, samples in sets.items():
            _copy_set(folder / "data" / purpose, samples, purpose, len(data.names))
        text = _model_yaml(new, checkpoint.classes, sha256_file(folder / "weights.pt"))
        (folder / "model.yaml").write_text(text, encoding="utf-8")
        # Before the folder gets its name: run again after a failure, these edits change nothing.
        _add_engines(workspace, new)
    if new.track == "dvc":
        dvc_add(workspace.root, [workspace.model(new.name) / one for one in ("weights.pt", "data")])
    _say(new, sets, checkpoint.imgsz)


def _check_words(workspace: Workspace, new: NewModel) -> None:
    check_new_name(new.name, workspace.model(new.name).exists(), "model")
    if not re.fullmatch(VERSION_PATTERN, new.version):
        raise InputError(f"Expected --version as `1`, `1.2` or `1.2.3`, came {new.version!r}.")
    if new.track not in ("git", "dvc"):
        raise InputError(f"Expected --track git or --track dvc, came {new.track!r}.")
    for target in new.targets:
        load_target(workspace, target)
    params = workspace.root / "params.yaml"
    content = load_yaml(params) if params.is_file() else None
    if not isinstance(content, dict) or not isinstance(content.get("models"), list):
        raise InputError(
            f"Expected {params} with a list `models:`, which the stages of dvc.yaml go through. "
            "Bring it back with `git checkout -- params.yaml`."
        )


def _check_names(new: NewModel, data: DataYaml, classes: tuple[str, ...]) -> None:
    if data.names != classes:
        pairs = zip(data.names, classes, strict=False)
        first = next((i for i, (one, other) in enumerate(pairs) if one != other), None)
        difference = (
            f"{len(data.names)} names against {len(classes)}"
            if first is None
            else f"class {first} is {data.names[first]!r} against {classes[first]!r}"
        )
        raise InputError(
            f"Expected the classes of {new.data} to be those that {new.weights} was trained on, in "
            f"the same order, but {difference}. Use the data.yaml of the training."
        )


# --- splitting ---------------------------------------------------------------------------------


def split(data: DataYaml) -> dict[str, list[Sample]]:
    """The sets `calibration`, `tuning` and `evaluation`, disjoint by content, the same every time.

    Evaluation is `test`, or else `val`. Calibration comes from `train`; tuning from `val` where
    evaluation is `test`, else from `train` too. Without `train`, both come from `val`; if that is
    the evaluation itself, it is dealt out 1 : 1 : 3.
    Raises InputError when a set would be empty.
    """
    pictures = {name: _by_content(samples) for name, samples in data.splits.items()}
    held_out: Literal["test", "val"] = "test" if pictures["test"] else "val"
    evaluation = pictures[held_out]
    rest = [*pictures["train"].items()]
    tuning = [*pictures["val"].items()] if held_out == "test" else []
    if not rest:
        rest, tuning = tuning, []
    if not rest:
        dealt = sorted(evaluation.items())
        count = len(dealt) // 5
        rest, tuning, evaluation = dealt[:count], dealt[count : 2 * count], dict(dealt[2 * count :])
    # Sorted by hash: a fixed draw that does not follow the order of the files.
    rest = sorted(one for one in rest if one[0] not in evaluation)
    tuning = sorted(one for one in tuning if one[0] not in evaluation)
    if not tuning:
        count = min(TUNING_IMAGES, len(rest) // 2)
        tuning, rest = rest[:count], rest[count:]
    taken = {content for content, _ in tuning[:TUNING_IMAGES]}
    calibration = [one for one in rest if one[0] not in taken]
    sets = {
        "calibration": [sample for _, sample in calibration[:CALIBRATION_IMAGES]],
        "tuning": [sample for _, sample in tuning[:TUNING_IMAGES]],
        "evaluation": list(evaluation.values()),
    }
    for purpose, samples in sets.items():
        if not samples:
            counts = ", ".join(f"{name} {len(samples)}" for name, samples in data.splits.items())
            raise InputError(
                f"{data.path}: expected enough different pictures for three disjoint sets, but "
                f"none are left for {purpose} (pictures: {counts}). Add `train` or more pictures."
            )
    return sets


def _by_content(samples: list[Sample]) -> dict[str, Sample]:
    return {hashlib.sha256(sample.image.read_bytes()).hexdigest(): sample for sample in samples}


# --- writing -----------------------------------------------------------------------------------


def _copy_set(folder: Path, samples: list[Sample], purpose: str, classes: int) -> None:
    """Copy pictures and labels, each read once to see that it is sound; number equal names."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    used: set[str] = set()
    objects = 0
    for sample in track(samples, f"check and copy {purpose}", total=len(samples)):
        sample.read_image()
        labels = sample.read_labels(classes)
        stem, number = sample.image.stem, 1
        while stem in used:
            number += 1
            stem = f"{sample.image.stem}-{number}"
        used.add(stem)
        shutil.copyfile(sample.image, folder / "images" / (stem + sample.image.suffix.lower()))
        rows = [
            f"{category} {' '.join(f'{part:.8g}' for part in box)}\n"
            for category, box in zip(labels.classes, labels.boxes, strict=True)
        ]
        (folder / "labels" / f"{stem}.txt").write_text("".join(rows), encoding="utf-8")
        objects += len(rows)
    if not objects and purpose != "calibration":
        raise InputError(
            f"Expected labelled objects in the {purpose} set, came none in {len(samples)} "
            f"pictures. Labels are looked for beside `images`, for example {samples[0].label}."
        )


def _model_yaml(new: NewModel, classes: tuple[str, ...], sha256: str) -> str:
    return MODEL_YAML.format(
        name=new.name,
        version=new.version,
        sha256=sha256,
        height=new.imgsz[0],
        width=new.imgsz[1],
        # JSON strings are YAML strings, whatever a class is called.
        classes="\n".join(f"  - {json.dumps(name, ensure_ascii=False)}" for name in classes),
    )


def _add_engines(workspace: Workspace, new: NewModel) -> None:
    for target in new.targets:
        with edited_yaml(workspace.target(target) / "params.yaml") as row:
            for precision in PRECISIONS:
                row["engines"].setdefault(
                    f"{new.name}-{precision}", {"model": new.name, "precision": precision}
                )
    with edited_yaml(workspace.root / "params.yaml") as params:
        if new.name not in params["models"]:
            params["models"].append(new.name)


def _say(new: NewModel, sets: dict[str, list[Sample]], trained: tuple[int, int] | None) -> None:
    if trained not in (None, new.imgsz):
        print(
            f"Note: the checkpoint was trained at {trained[0]} x {trained[1]} pixels and will run "
            f"at {new.imgsz[0]} x {new.imgsz[1]}. The accuracy in verify.json says what it costs."
        )
    counts = ", ".join(f"{purpose} {len(samples)}" for purpose, samples in sets.items())
    print(
        f"Added models/{new.name} ({counts} pictures), with engines for "
        f"{', '.join(new.targets)}.\n"
        "Next: dvc repro"
    )
