"""ONNX Runtime, the reference that checks and tunes models; no engine is measured with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class OnnxModel:
    """A model on the CPU through ONNX Runtime.

    Takes the serialized model rather than a path, so that only `onnx_file.read_onnx` decides which
    files a model may take its tensors from.

    By default it computes the same numbers on any x86 processor, since what they decide (ranges,
    layers that stay float) is written into files: with more threads, sums are cut elsewhere; and
    the highest level of optimisation lays convolutions out in blocks as wide as the processor's
    registers, which adds in another order. `portable` False takes that level, which is a third
    faster in float32.
    """

    def __init__(self, model: bytes, *, threads: int = 1, portable: bool = True) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        levels = onnxruntime.GraphOptimizationLevel
        level = levels.ORT_ENABLE_EXTENDED if portable else levels.ORT_ENABLE_ALL
        options.graph_optimization_level = level
        self._session: Any = onnxruntime.InferenceSession(
            model, options, providers=["CPUExecutionProvider"]
        )
        self._inputs: list[str] = [one.name for one in self._session.get_inputs()]
        self._outputs: list[str] = [one.name for one in self._session.get_outputs()]

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Raw head output, shape (n, 4 + classes, anchors): boxes in pixels, scores 0 to 1.

        `images`: letterboxed uint8 BGR, shape (n, height, width, 3).
        """
        (raw, *_) = self.compute({self._inputs[0]: planes(images)}).values()
        return np.asarray(raw, dtype=np.float32)

    def compute(self, given: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """All outputs by name. Of `given` it takes the inputs that it has."""
        taken = {name: given[name] for name in self._inputs}
        return dict(zip(self._outputs, self._session.run(None, taken), strict=True))

    def fetch(self, inputs: NDArray[np.float32], names: Sequence[str]) -> list[NDArray[np.float32]]:
        """The outputs called `names`, from what `planes` makes of the images."""
        return [
            np.asarray(one) for one in self._session.run(list(names), {self._inputs[0]: inputs})
        ]


def planes(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The network's input: float32 RGB from 0 to 1, shape (n, 3, height, width)."""
    rgb = images[..., ::-1].transpose(0, 3, 1, 2)
    return np.asarray(np.ascontiguousarray(rgb, dtype=np.float32) / np.float32(255))


def version() -> str:
    """Version of ONNX Runtime."""
    import onnxruntime

    return str(onnxruntime.__version__)
