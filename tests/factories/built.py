"""An engine that is really built, with its manifest beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from factories.records import manifest, source

from engines.backends import BuildRequest, open_backend
from engines.files import sha256_file
from engines.packages import PACKAGES
from engines.records.manifest import Manifest

SIDE = 64
"""Of the pictures of `one_box_network`, in pixels."""
BOX = (22.0, 27.0, 42.0, 37.0)
"""x1, y1, x2, y2 of the box that it finds."""


def build(folder: Path, request: BuildRequest[Any], **about: Any) -> Manifest:
    """Build what is asked for in `folder`, and write the manifest, which says `about` the engine
    what the builder does not know. Classes are numbers unless they are given."""
    package = PACKAGES[request.options.package]
    backend = open_backend(package.name)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / package.engine_file
    result = backend.build(request, path)
    channels = result.outputs[0].shape[1]
    assert channels is not None
    facts: dict[str, Any] = {
        "engine": folder.name,
        "precision": request.precision,
        "executed_precision": result.executed_precision,
        "executed_layers": result.executed_layers,
        "engine_file": path.name,
        "engine_sha256": sha256_file(path),
        "backend": package.backend,
        "backend_package": package.name,
        "backend_version": backend.version(),
        "device": request.device,
        "batch": request.batch,
        "inputs": result.inputs,
        "outputs": result.outputs,
        "imgsz": request.imgsz,
        "classes": tuple(map(str, range(channels - 4))),
        "preprocess": result.preprocess,
        "source": source(request.onnx.name, onnx_sha256=sha256_file(request.onnx)),
        "tensorrt": result.tensorrt,
        "openvino": result.openvino,
    }
    built = manifest(path.stat().st_size, **(facts | about))
    built.write(folder / Manifest.file)
    return built


def one_box_network(path: Path, box: tuple[float, ...] = BOX, score: float = 0.9) -> None:
    """Write a network with YOLOv8's bindings that finds one box, of class 1 of two; the answer
    hardly depends on the picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    head = np.zeros((1, 6, 4), np.float32)
    x1, y1, x2, y2 = box
    head[0, :4, 0] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    head[0, 5, 0] = score
    constants = {"head": head, "little": np.float32(1e-6), "axes": np.array([2, 3], np.int64)}
    constants["first"] = np.array([0], np.int64)
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gather", ["mean", "first"], ["channel"], axis=1),
        helper.make_node("Unsqueeze", ["channel", "first"], ["moved"]),
        helper.make_node("Transpose", ["moved"], ["column"], perm=[1, 2, 0]),
        helper.make_node("Mul", ["column", "little"], ["small"]),
        helper.make_node("Add", ["head", "small"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 6, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
