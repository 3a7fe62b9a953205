"""An ONNX file with float16 Q/DQ as the float32 graph that it was made from, in memory.

`model.int8.onnx` computes in float16 what is not INT8, since TensorRT 10 and later keep to the
file's types. TensorRT 8.6 takes no float16 Q/DQ (its opset 17 has none), and OpenVINO chooses its
own type for what is not INT8 and knows the pattern of Q/DQ in float32 only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

OPSET, IR_VERSION = 17, 8
"""The last opset whose Q/DQ are float32 only, and its IR version; other operators of our files are
the same in those after it."""


def has_float16_qdq(model: Any) -> bool:
    """Whether an `onnx.ModelProto` quantizes float16 tensors."""
    from onnx import TensorProto

    types = {one.name: one.data_type for one in model.graph.initializer}
    return any(
        types.get(node.input[1]) == TensorProto.FLOAT16
        for node in model.graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
    )


def to_float32(model: Any) -> None:
    """Turn all of its float16 to float32, exactly, and take out the casts between the two."""
    from onnx import TensorProto, numpy_helper

    for one in model.graph.initializer:
        if one.data_type == TensorProto.FLOAT16:
            values = numpy_helper.to_array(one).astype(np.float32)
            one.CopyFrom(numpy_helper.from_array(values, one.name))
    _drop_casts(model.graph)
    del model.graph.value_info[:]
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = min(entry.version, OPSET)
    model.ir_version = min(model.ir_version, IR_VERSION)


def _drop_casts(graph: Any) -> None:
    """Let who reads a cast read what was cast; a cast that is an output of the graph stays."""
    from onnx import TensorProto

    outputs = {one.name for one in graph.output}
    sources: dict[str, str] = {}
    for node in list(_casts_to(graph, TensorProto.FLOAT, TensorProto.FLOAT16)):
        if node.output[0] in outputs:
            node.attribute[0].i = TensorProto.FLOAT
            continue
        sources[node.output[0]] = sources.get(node.input[0], node.input[0])
        graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [sources.get(name, name) for name in node.input]


def _casts_to(graph: Any, *types: int) -> Iterator[Any]:
    for node in graph.node:
        if node.op_type == "Cast" and node.attribute[0].i in types:
            yield node
