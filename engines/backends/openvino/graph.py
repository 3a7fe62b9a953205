"""The ONNX file as a graph for one frame: uint8 pixels in, and a box decode that stays exact."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.backends import INPUT, OUTPUT
from engines.backends.float32 import has_float16_qdq, to_float32
from engines.backends.openvino.options import Request
from engines.errors import InputError

if TYPE_CHECKING:
    import openvino as ov


def read_graph(core: ov.Core, request: Request) -> ov.Model:
    """The ONNX file as a graph for exactly one image."""
    import openvino as ov

    model = _read(core, request.onnx)
    _expect_names(request.onnx, "input", INPUT, model.inputs)
    _expect_names(request.onnx, "output", OUTPUT, model.outputs)
    expected = ov.PartialShape([-1, 3, *request.imgsz])
    found = model.input(0).partial_shape
    if not found.compatible(expected):
        raise InputError(
            f"{request.onnx}: expected the input {INPUT} as {expected} like `imgsz` in model.yaml, "
            f"got {found}. Export the model again with `pipeline export MODEL`."
        )
    model.reshape({model.input(0): ov.PartialShape([1, 3, *request.imgsz])})
    keep_box_decode_exact(model)
    return model


def _read(core: ov.Core, path: Path) -> ov.Model:
    """The graph of the file, in float32 where its Q/DQ are float16."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError):
        return core.read_model(path)  # which says what is wrong with it
    if not has_float16_qdq(model):
        return core.read_model(path)
    to_float32(model)
    return core.read_model(BytesIO(model.SerializeToString()))


def _expect_names(path: Path, kind: str, expected: str, found: Sequence[Any]) -> None:
    names = [name for port in found for name in port.get_names()]
    if len(found) != 1 or expected not in names:
        raise InputError(
            f"{path}: expected one {kind} named {expected}, got {', '.join(names) or 'none'}. "
            "Make the file with `pipeline export MODEL`."
        )


def with_preprocessing(model: ov.Model) -> ov.Model:
    """Let the graph take uint8 NHWC BGR.

    OpenVINO folds colour order and scale into the weights of the first convolution, which then
    works on 0 to 255: whole numbers, which bf16 holds exactly.
    """
    import openvino as ov
    from openvino import opset13 as ops
    from openvino.preprocess import ColorFormat, PrePostProcessor

    steps = PrePostProcessor(model)
    tensor = steps.input().tensor()
    tensor.set_element_type(ov.Type.u8)
    tensor.set_layout(ov.Layout("NHWC"))
    tensor.set_color_format(ColorFormat.BGR)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    convert = steps.input().preprocess()
    convert.convert_element_type(ov.Type.f32)
    # Changes no number, since none is negative. Without it OpenVINO transposes the bytes before it
    # converts them, and reorders the result back to NHWC, which is what the convolution wants: two
    # more passes over the picture, about 2 % of the latency of a YOLOv8n at 320 x 320.
    convert.custom(lambda pixels: ops.relu(pixels).output(0))
    convert.convert_color(ColorFormat.RGB)
    convert.scale(255.0)
    return steps.build()


def keep_box_decode_exact(model: ov.Model) -> int:
    """Rewrite the DFL convolution of YOLOv8's head, an expected value over 0, 1, …, as a product
    and a sum; returns how many were found.

    OpenVINO keeps in f32 what follows the last convolution. The DFL is written as a convolution, so
    the softmax before it would run in bf16 too: the mean error of the boxes of confident anchors is
    0.054 pixels then, and 0.033 with the sum (YOLOv8n, 320 x 320).
    """
    from openvino import opset13 as ops

    found = [op for op in model.get_ordered_ops() if _is_dfl(op)]
    for op in found:
        bins = op.input_value(1).get_shape()[1]
        values = ops.constant(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1))
        product = ops.multiply(op.input_value(0), values)
        expected = ops.reduce_sum(product, ops.constant(np.array([1])), keep_dims=True)
        op.output(0).replace(expected.output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


def _is_dfl(op: ov.Node) -> bool:
    """Whether `op` is a 1x1 convolution to one channel with the weights 0, 1, 2, …"""
    if op.get_type_name() != "Convolution":
        return False
    weights = op.input_value(1).get_node()
    while weights.get_type_name() == "Convert":
        weights = weights.input_value(0).get_node()
    shape = tuple(weights.get_output_shape(0))
    if weights.get_type_name() != "Constant" or len(shape) != 4:
        return False
    if shape[0] != 1 or shape[1] < 2 or shape[2:] != (1, 1):
        return False
    return bool(np.array_equal(np.ravel(weights.get_data()), np.arange(shape[1])))
