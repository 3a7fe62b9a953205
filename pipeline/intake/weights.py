"""A checkpoint that somebody brings: whether it fits, and a copy of just what was checked."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from engines.errors import InputError
from engines.files import sha256_file
from pipeline.intake.checkpoint import CheckpointFacts
from pipeline.intake.saved_anew import named


def check_there(weights: Path) -> None:
    """Raise InputError where no file is."""
    if not weights.is_file():
        what = "that is a folder" if weights.is_dir() else "no file is there"
        raise InputError(
            f"Expected a checkpoint at --weights {weights}, but {what}. Training writes it as "
            "runs/detect/train/weights/best.pt."
        )


def check_stride(weights: Path, imgsz: tuple[int, int], checkpoint: CheckpointFacts) -> None:
    """Raise InputError unless height and width are multiples of the largest stride."""
    largest = max(checkpoint.strides)
    if any(side % largest for side in imgsz):
        raise InputError(
            f"Expected --imgsz in multiples of {largest} pixels, the largest stride of "
            f"{weights}, got {imgsz[0]},{imgsz[1]}. Round it to such multiples."
        )


def check_data_names(
    weights: Path, data: Path, names: Sequence[str], checkpoint: CheckpointFacts, *, settled: bool
) -> None:
    """Raise InputError unless `names`, those of the file `data`, are the checkpoint's classes.

    Where they are `settled`, a model has the checkpoint's: only the data can be called otherwise.
    """
    classes = checkpoint.classes
    if checkpoint.single_cls and len(names) > 1:
        raise InputError(
            f"Expected the one class {classes[0]!r} in {data}, since {weights} was trained "
            f"with single_cls, which takes all objects for one class, got {len(names)}. Give "
            "--single-class, which maps every label to that class."
        )
    if difference := names_differ(names, classes):
        otherwise = called_otherwise(weights, names, classes)
        if settled and otherwise:
            own = json.dumps(classes, ensure_ascii=False)
            otherwise = (
                ", or, where these are the same classes under other names, write those that the "
                f"model has into it: `names: {own}`"
            )
        raise InputError(
            f"Expected the classes of {data} to be those that {weights} was trained on, in "
            f"the same order, but {difference}. Use the data.yaml of the training{otherwise}."
        )


def check_one_class(weights: Path, checkpoint: CheckpointFacts) -> None:
    """Raise InputError unless the checkpoint knows one class only."""
    if len(checkpoint.classes) != 1:
        raise InputError(
            f"Expected {weights} to know one class for --single-class, got "
            f"{len(checkpoint.classes)}. Leave --single-class out."
        )


def names_differ(names: Sequence[str], classes: Sequence[str]) -> str:
    """Where two lists of class names differ, in words; empty where they are the same."""
    if tuple(names) == tuple(classes):
        return ""
    pairs = enumerate(zip(names, classes, strict=False))
    for index, (one, other) in pairs:
        if one != other:
            return f"class {index} is {one!r} against {other!r}"
    return f"{len(names)} names against {len(classes)}"


def called_otherwise(weights: Path, names: Sequence[str], classes: Sequence[str]) -> str:
    """What else helps where the same classes have got other names since the training: Ultralytics
    keeps those of the training in the checkpoint. Not where a name is that of another class there.
    """
    pairs = zip(names, classes, strict=False)
    moved = any(name != own and name in classes for name, own in pairs)
    if moved or len(names) != len(classes):
        return ""
    return (
        ", or, where these are the same classes under other names, save the checkpoint with these "
        f"(`{named(weights, names)}`), and give named.pt"
    )


def copy_weights(source: Path, target: Path, sha256: str) -> None:
    """Copy the file that was checked. Raises InputError when it is another by now."""
    shutil.copyfile(source, target)
    if (got := sha256_file(target)) != sha256:
        raise InputError(
            f"Expected {source} as it was checked (sha256 {sha256[:12]}), got {got[:12]}: it was "
            "changed meanwhile. Wait until it is written, and run again."
        )
