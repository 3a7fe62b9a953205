"""`reference.npz`: what the float32 network finds in the evaluation set, and in which pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engines.detect.arrays import DAMAGED, from_arrays, to_arrays
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
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                names=np.array(names, dtype=np.str_),
                pictures=np.array([reference.contents[name].picture for name in names], np.str_),
                labels=np.array([reference.contents[name].labels for name in names], np.str_),
                **to_arrays(list(reference.detections.values())),
            )
        return sha256_file(temporary)


def read_reference(path: Path, model: str) -> Reference:
    """Read what `write_reference` wrote. Raises InputError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            names = [str(name) for name in file["names"]]
            hashes = zip(file["pictures"], file["labels"], strict=True)
            return Reference(
                detections=dict(zip(names, from_arrays(file), strict=True)),
                contents={
                    name: ContentHashes(picture=str(picture), labels=str(labels))
                    for name, (picture, labels) in zip(names, hashes, strict=True)
                },
            )
    except DAMAGED as error:
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
