"""What export wrote, checked before a later step reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.config import ModelConfig
from engines.errors import InputError
from pipeline.adapters import onnx_file

FILE = "model.fp32.onnx"


def read_export(folder: Path, model: ModelConfig) -> Any:
    """`model.fp32.onnx` of a model as an `onnx.ModelProto`.

    `folder` is the model's `out`. Raises InputError when the file is missing or damaged, or was
    made from other weights than model.yaml names.
    """
    graph = onnx_file.read_onnx(folder / FILE)
    made_from = onnx_file.metadata(graph).get("weights_sha256", "unknown weights")
    if made_from != model.weights.sha256:
        raise InputError(
            f"Expected {folder / FILE} made from the weights {model.weights.sha256} of "
            f"model.yaml, came one made from {made_from}. Run `pipeline export {model.name}`."
        )
    return graph
