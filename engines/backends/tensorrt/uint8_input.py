"""An ONNX file that takes camera pixels: uint8 NHWC BGR instead of float32 NCHW RGB in 0 to 1.

The file itself stays as CI made it; the device adds these four nodes in memory, before it builds.
So a frame goes to the GPU once, as bytes: a quarter of what float32 would be.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from engines.backends import INPUT
from engines.backends.float32 import has_float16_qdq, to_float32
from engines.backends.tensorrt.out_of_memory import about_memory
from engines.errors import InputError

IN_ENGINE = ("uint8 to float", "NHWC to NCHW", "BGR to RGB", "divide by 255")
PREFIX = "jetrail/"
"""Of the names of all that is added; no exporter uses it."""


def with_uint8_input(path: Path, imgsz: tuple[int, int], *, float16_qdq: bool = True) -> bytes:
    """The ONNX file as bytes, its input `images` now uint8 BGR of shape (batch, height, width, 3).

    `float16_qdq` False turns a file whose Q/DQ are float16 to float32.
    Raises InputError when the file cannot be read, or its input is not float32 of shape (batch, 3,
    height, width) as `imgsz` (height, width) says; MemoryError when memory runs out.
    """
    model = _read(path)
    if not float16_qdq and has_float16_qdq(model):
        to_float32(model)
    graph = model.graph
    source = _check_input(path, graph, imgsz)
    batch = source.type.tensor_type.shape.dim[0]
    _insert(graph)
    source.CopyFrom(_pixels(batch.dim_value or batch.dim_param or "batch", imgsz))
    return _content(model)


def _read(path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        return onnx.load(str(path))
    except (DecodeError, OSError) as error:
        if about_memory([str(error)]):
            raise MemoryError(f"the ONNX file did not fit ({error})") from error
        raise InputError(
            f"Expected an ONNX file: {path} cannot be read ({error}). "
            "Make it with `pipeline export MODEL` and `pipeline quantize MODEL`."
        ) from error


def _content(model: Any) -> bytes:
    from google.protobuf.message import EncodeError

    try:
        return bytes(model.SerializeToString())
    except EncodeError as error:
        # It says no more than that it failed. Protobuf's limit of 2 GB cannot be the reason: the
        # file that was read kept to it.
        raise MemoryError(f"a copy of the ONNX file did not fit ({error})") from error


def _check_input(path: Path, graph: Any, imgsz: tuple[int, int]) -> Any:
    """The input that takes pictures, which is as it must be."""
    from onnx import TensorProto

    initializers = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in initializers]
    names = [value.name for value in inputs]
    if names != [INPUT]:
        raise InputError(
            f"{path}: expected one input named {INPUT}, got {', '.join(names) or 'none'}. "
            "Make the file with `pipeline export MODEL`."
        )
    tensor = inputs[0].type.tensor_type
    sides = [axis.dim_param or axis.dim_value or "?" for axis in tensor.shape.dim][1:]
    if tensor.elem_type != TensorProto.FLOAT or sides != [3, *imgsz]:
        kind = TensorProto.DataType.Name(tensor.elem_type).lower()
        raise InputError(
            f"{path}: expected the input {INPUT} as float32 of shape (batch, 3, {imgsz[0]}, "
            f"{imgsz[1]}) like `imgsz` in model.yaml, got {kind} of shape (batch, "
            f"{', '.join(map(str, sides))}). Export the model again with `pipeline export MODEL`."
        )
    return inputs[0]


def _insert(graph: Any) -> None:
    """Put the preprocessing before the network, and let the network read from it."""
    from onnx import TensorProto, helper, numpy_helper

    node, name = helper.make_node, PREFIX.__add__
    steps = [
        node("Cast", [INPUT], [name("float")], name=name("cast"), to=TensorProto.FLOAT),
        node("Transpose", [name("float")], [name("nchw")], name("transpose"), perm=[0, 3, 1, 2]),
        node("Gather", [name("nchw"), name("order")], [name("rgb")], name("bgr to rgb"), axis=1),
        node("Mul", [name("rgb"), name("scale")], [name("unit")], name("divide by 255")),
    ]
    for user in graph.node:
        for index, source in enumerate(user.input):
            if source == INPUT:
                user.input[index] = name("unit")
    before = list(graph.node)
    del graph.node[:]
    graph.node.extend([*steps, *before])
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([2, 1, 0], np.int64), name("order")),
            numpy_helper.from_array(np.array(1 / 255, np.float32), name("scale")),
        ]
    )


def _pixels(batch: int | str, imgsz: tuple[int, int]) -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info(INPUT, TensorProto.UINT8, [batch, *imgsz, 3])
