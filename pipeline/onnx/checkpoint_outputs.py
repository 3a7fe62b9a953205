"""`checkpoint.npz`: what the checkpoint itself makes of a few evaluation pictures.

`pipeline export` has the checkpoint loaded and leaves this, so that `pipeline verify` need not
import PyTorch once more. It is bound to the weights and the pictures by content: where one is
another by now, or the file is missing, verify asks the checkpoint itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.detect.arrays import DAMAGED
from engines.files import atomic_path
from pipeline.intake.dataset import Sample
from pipeline.onnx.inference import prepare_all, spread

PARITY_IMAGES = 8
BATCHES = (1, 4)
"""Batch sizes at which the ONNX file is compared with the checkpoint."""


@dataclass(frozen=True, kw_only=True)
class CheckpointOutputs:
    """The checkpoint's own raw output."""

    weights_sha256: str
    pictures_sha256: str
    """Of the pixels that it was given."""
    runtimes: Mapping[str, str]
    """Versions of torch and Ultralytics."""
    raw: NDArray[np.float32]
    """Shape (n, 4 + classes, anchors): boxes in pixels, scores 0 to 1."""

    def is_of(self, weights_sha256: str, pixels: NDArray[np.uint8]) -> bool:
        """Whether it is that of these weights on these pictures."""
        asked = (weights_sha256, pictures_sha256(pixels), len(pixels))
        return (self.weights_sha256, self.pictures_sha256, len(self.raw)) == asked


def parity_pixels(samples: Sequence[Sample], imgsz: tuple[int, int]) -> NDArray[np.uint8]:
    """A few pictures, evenly spread over all, letterboxed: uint8 BGR, shape (n, height, width, 3).

    Few pictures fill the largest batch again. Raises InputError for an unreadable one.
    """
    images = prepare_all(spread(samples, PARITY_IMAGES), imgsz, "pictures for the comparison")
    count = -(-len(images) // max(BATCHES)) * max(BATCHES)
    return np.stack([images[index % len(images)].pixels for index in range(count)])


def pictures_sha256(pixels: NDArray[np.uint8]) -> str:
    """By which letterboxed pictures are known."""
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def write_checkpoint_outputs(outputs: CheckpointOutputs, path: Path) -> None:
    """Write it as one .npz, atomically."""
    facts = {
        "weights_sha256": outputs.weights_sha256,
        "pictures_sha256": outputs.pictures_sha256,
        "runtimes": dict(outputs.runtimes),
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, facts=np.array(json.dumps(facts)), raw=outputs.raw)


def read_checkpoint_outputs(path: Path) -> CheckpointOutputs | None:
    """What `write_checkpoint_outputs` wrote; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            facts = json.loads(str(file["facts"]))
            return CheckpointOutputs(raw=file["raw"], **facts)
    except (*DAMAGED, MemoryError):
        return None
