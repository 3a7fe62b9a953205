"""Which precision the layers of a TensorRT engine run in."""

from __future__ import annotations

import json
from typing import Any

from engines.backends.tensorrt_sdk import Messages, new_logger, trt

Layers = list[tuple[str, str]]
"""Kind and precision, in the project's names, of each layer that computes something."""

COMPUTING = frozenset(
    {"ACTIVATION", "CONVOLUTION", "DECONVOLUTION", "ELEMENTWISE", "MATRIX_MULTIPLY", "POOLING"}
    | {"REDUCE", "RESIZE", "SCALE", "SOFTMAX", "UNARY"}
)
"""Kinds in a network; the others move data, or tell shapes."""

NETWORK_TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}
PLAN_TYPES = (("int8", "int8"), ("fp16", "fp16"), ("half", "fp16"), ("fp32", "fp32"))
"""What the engine inspector's `Format/Datatype` contains, and what it means."""


def network_layers(network: trt.INetworkDefinition) -> Layers:
    """The layers of a strongly typed network, in which TensorRT must keep the types.

    A convolution of dequantized values runs in int8: TensorRT fuses the two (its developer guide,
    "Explicit Quantization").
    """
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    made_by = {
        layer.get_output(index).name: layer
        for layer in layers
        for index in range(layer.num_outputs)
    }
    found = []
    for layer in layers:
        precision = NETWORK_TYPES.get(layer.get_output(0).dtype.name)
        if layer.type.name not in COMPUTING or precision is None:
            continue
        source = made_by.get(layer.get_input(0).name)
        quantized = source is not None and source.type.name == "DEQUANTIZE"
        is_convolution = layer.type.name == "CONVOLUTION"
        found.append((layer.type.name, "int8" if quantized and is_convolution else precision))
    return found


def plan_layers(plan: bytes) -> Layers:
    """The layers of a plan as TensorRT's engine inspector tells them; needs the GPU."""
    runtime = trt.Runtime(new_logger(Messages()))
    inspector = runtime.deserialize_cuda_engine(plan).create_engine_inspector()
    return inspected_layers(inspector.get_engine_information(trt.LayerInformationFormat.JSON))


def inspected_layers(text: str) -> Layers:
    """The layers in the engine inspector's JSON, by the type of their first output."""
    return [
        (str(layer.get("LayerType", "")), precision)
        for layer in json.loads(text)["Layers"]
        if isinstance(layer, dict) and (precision := _plan_precision(layer)) is not None
    ]


def _plan_precision(layer: dict[str, Any]) -> str | None:
    outputs = layer.get("Outputs") or [{}]
    kind = str(outputs[0].get("Format/Datatype", "")).lower()
    return next((name for part, name in PLAN_TYPES if part in kind), None)
