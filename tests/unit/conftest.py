"""A network of a few kilobytes with the input and output of a YOLOv8 detect model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

TINY_CLASSES = ("bolt", "nut", "washer")
TINY_IMGSZ = (64, 96)
BINS = 4
CELL = 8


def tiny_network(
    path: Path,
    *,
    classes: tuple[str, ...] = TINY_CLASSES,
    imgsz: tuple[int, int] = TINY_IMGSZ,
    input_name: str = "images",
    metadata: dict[str, str] | None = None,
) -> Path:
    """Write it to `path`: a convolution, and a head with a DFL and with sigmoid scores."""
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(7)
    weights = {
        "stem": random.normal(0, 0.1, (16, 3, CELL, CELL)),
        "box": random.normal(0, 0.3, (4 * BINS, 16, 1, 1)),
        "score": random.normal(0, 0.5, (len(classes), 16, 1, 1)),
        "dfl": np.arange(BINS).reshape(1, BINS, 1, 1),
        "scale": np.full((1, 4, 1), 16.0),
    }
    shapes = {"sides": [0, 4, BINS, -1], "four": [0, 4, -1], "all": [0, len(classes), -1]}
    node = helper.make_node
    nodes = [
        node("Conv", [input_name, "stem"], ["s"], strides=[CELL, CELL], name="stem"),
        node("Sigmoid", ["s"], ["g"]),
        node("Mul", ["s", "g"], ["f"]),
        node("Conv", ["f", "box"], ["b"], name="box"),
        node("Reshape", ["b", "sides"], ["b1"]),
        node("Transpose", ["b1"], ["b2"], perm=[0, 2, 1, 3]),
        node("Softmax", ["b2"], ["b3"], axis=1),
        node("Conv", ["b3", "dfl"], ["b4"], name="dfl"),
        node("Reshape", ["b4", "four"], ["b5"]),
        node("Mul", ["b5", "scale"], ["boxes"]),
        node("Conv", ["f", "score"], ["c"], name="score"),
        node("Sigmoid", ["c"], ["c1"]),
        node("Reshape", ["c1", "all"], ["scores"]),
        node("Concat", ["boxes", "scores"], ["output0"], axis=1),
    ]
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    constants += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in shapes.items()]
    anchors = imgsz[0] // CELL * (imgsz[1] // CELL)
    shape_in, shape_out = ["batch", 3, *imgsz], ["batch", 4 + len(classes), anchors]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape_out)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    named = {"names": json.dumps({str(i): name for i, name in enumerate(classes)})}
    helper.set_model_props(model, named if metadata is None else metadata)
    path.parent.mkdir(parents=True, exist_ok=True)
    save(model, str(path))
    return path


@pytest.fixture(scope="session")
def make_tiny_network() -> Callable[..., Path]:
    """`tiny_network`, for tests that need a variant of it."""
    return tiny_network


@pytest.fixture(scope="session")
def tiny_onnx(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network as it is."""
    return tiny_network(tmp_path_factory.mktemp("onnx") / "model.fp32.onnx")


@pytest.fixture
def pictures() -> Any:
    """Eight pictures of the tiny network's size: uint8 BGR, shape (8, 64, 96, 3)."""
    return np.random.default_rng(3).integers(0, 256, (8, *TINY_IMGSZ, 3), dtype=np.uint8)
