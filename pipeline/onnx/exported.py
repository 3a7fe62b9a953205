"""What export wrote, checked before a later step reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from engines.config.model import ModelConfig
from engines.errors import InputError
from engines.files import sha256_file
from pipeline.onnx import onnx_file, reading


def read_export(path: Path, model: ModelConfig) -> tuple[Any, str]:
    """`model.fp32.onnx` of a model as an `onnx.ModelProto`, and its SHA-256, taken before it is
    read: another export that replaces it shows by that later (`check_steady`).

    Raises InputError when `path` is missing or damaged, or was made from something else than
    model.yaml says now.
    """
    sha256 = sha256_file(path) if path.is_file() else ""
    graph = onnx_file.read_onnx(path)
    metadata = reading.metadata(graph)
    expected = {"weights_sha256": model.weights.sha256, "imgsz": json.dumps(list(model.imgsz))}
    for key, value in expected.items():
        if metadata.get(key) != value:
            raise InputError(
                f"Expected {path} made from the {key} {value} of model.yaml, got one "
                f"made from {metadata.get(key, 'an unknown one')}. Run `pipeline export "
                f"{model.name}`."
            )
    return graph, sha256
