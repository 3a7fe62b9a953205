"""`golden.npz`: a few frames, and what each ONNX file makes of them through ONNX Runtime.

An engine is compared with its own ONNX file on these frames wherever it was built, where there is
neither ONNX Runtime nor the ONNX file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.detect.arrays import DAMAGED
from engines.errors import InputError
from engines.files import atomic_path, sha256_file
from engines.records.record import PRECISIONS, Precision
from pipeline.onnx.session import OnnxModel

FRAMES = 8
LEAST_SCORE = 0.001
"""Lower scores are written as 0, and such zeros need no room: a network of 80 classes has 672 000
scores in a frame of 640 x 640, nearly all of them lower. Nobody looks at those: mAP begins at this
one, and `onnx_shift` compares what is found."""


@dataclass(frozen=True, kw_only=True)
class GoldenOutputs:
    """Frames, and each ONNX file's raw head output on them."""

    frames: NDArray[np.uint8]
    """Letterboxed BGR, shape (n, height, width, 3)."""
    outputs: Mapping[Precision, NDArray[np.float32]]
    """Precision of the ONNX file to its output, shape (n, 4 + classes, anchors): boxes in pixels
    of the network's input, scores 0 to 1, and 0 where they are below LEAST_SCORE."""


def make_golden_outputs(
    frames: NDArray[np.uint8], models: Mapping[Precision, bytes]
) -> GoldenOutputs:
    """What each of the serialized ONNX models makes of `frames`."""
    outputs = {
        precision: _told(OnnxModel(model).run(frames)) for precision, model in models.items()
    }
    return GoldenOutputs(frames=frames, outputs=outputs)


def _told(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    scores = raw[:, 4:]
    return np.concatenate([raw[:, :4], np.where(scores < LEAST_SCORE, 0, scores)], axis=1)


def write_golden_outputs(golden: GoldenOutputs, path: Path) -> str:
    """Write it as one .npz, atomically; gives its SHA-256."""
    with atomic_path(path) as temporary:
        with temporary.open("wb") as file:
            outputs: dict[str, Any] = {str(k): v for k, v in golden.outputs.items()}
            np.savez_compressed(file, frames=golden.frames, **outputs)
        return sha256_file(temporary)


def read_golden_outputs(path: Path, model: str) -> GoldenOutputs:
    """Read what `write_golden_outputs` wrote. Raises InputError when it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return GoldenOutputs(
                frames=file["frames"], outputs={name: file[name] for name in PRECISIONS}
            )
    except DAMAGED as error:
        raise InputError(
            f"Expected the golden frames of {model} in {path}, but they cannot be read ({error}). "
            f"Make them with `pipeline quantize {model}`."
        ) from error
