"""`reference.npz`: what the float32 network finds in the evaluation set, and in which pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from engines.detect.detections import Detections
from engines.errors import InputError
from engines.files import atomic_path, sha256_file
from pipeline.intake.contents import ContentHashes, changes, contents
from pipeline.intake.dataset import Sample


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Detections of the float32 network."""

    detections: Mapping[str, Detections]
    """By name of the picture."""
    contents: Mapping[str, ContentHashes]
    """The pictures that it looked at, and the labels that they had then."""


def write_reference(path: Path, reference: Reference) -> str:
    """Write it as one .npz, atomically; gives its SHA-256."""
    names = list(reference.detections)
    found = [Detections.empty(), *reference.detections.values()]
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                names=np.array(names, dtype=np.str_),
                pictures=np.array([reference.contents[name].picture for name in names], np.str_),
                labels=np.array([reference.contents[name].labels for name in names], np.str_),
                counts=np.array([len(one) for one in found[1:]], np.int64),
                boxes=np.concatenate([one.boxes for one in found]),
                confidences=np.concatenate([one.confidences for one in found]),
                classes=np.concatenate([one.classes for one in found]),
            )
        return sha256_file(temporary)


def read_reference(path: Path, model: str) -> Reference:
    """Read what `write_reference` wrote. Raises InputError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [str(name) for name in file["names"]]
            ends = np.cumsum(file["counts"])
            parts = (np.split(file[key], ends)[:-1] for key in ("boxes", "confidences", "classes"))
            hashes = zip(file["pictures"], file["labels"], strict=True)
            return Reference(
                detections={
                    name: Detections(boxes=boxes, confidences=confidences, classes=classes)
                    for name, boxes, confidences, classes in zip(names, *parts, strict=True)
                },
                contents={
                    name: ContentHashes(picture=str(picture), labels=str(labels))
                    for name, (picture, labels) in zip(names, hashes, strict=True)
                },
            )
    except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
        raise InputError(
            f"Expected the FP32 reference of {model} in {path}, but it cannot be read ({error}). "
            f"Make it again with `pipeline verify {model}`."
        ) from error


def check_same_pictures(reference: Reference, samples: Sequence[Sample], model: str) -> None:
    """Raise InputError unless the reference is of these very pictures, with these labels."""
    if changed := changes(reference.contents, contents(samples)):
        raise InputError(
            f"Expected the evaluation set of {model} as `pipeline verify` saw it, but pictures of "
            f"it differ now: {changed}. Run `pipeline verify {model}` again, so that engine and "
            "FP32 are compared on the same pictures."
        )
