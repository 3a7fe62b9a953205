"""Which precision the layers of a TensorRT engine run in."""

from __future__ import annotations

import json
import re
from typing import Any

from engines.backends.tensorrt.out_of_memory import lack_of_memory
from engines.backends.tensorrt.sdk import Messages, new_logger, trt
from engines.errors import JetrailError

Layers = list[tuple[str, str]]
"""Kind and precision, in the project's names, of each layer that computes something."""

COMPUTING = frozenset(
    {"ACTIVATION", "CONVOLUTION", "DECONVOLUTION", "ELEMENTWISE", "MATRIX_MULTIPLY", "POOLING"}
    | {"REDUCE", "RESIZE", "SCALE", "SOFTMAX", "UNARY"}
)
"""Kinds in a network; the others move data, or tell shapes."""
NETWORK_TYPES = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}

MOVING = frozenset(
    {"cast", "concat", "concatenation", "constant", "gather", "noop", "reformat", "shuffle"}
    | {"signal", "slice", "wait"}
)
"""Kinds in a plan that compute nothing, in lower case."""
PLAN_TYPES = {
    **{"int8": "int8", "fp8": "fp8", "bfloat16": "bf16", "bf16": "bf16"},
    **{"fp16": "fp16", "half": "fp16", "fp32": "fp32", "float": "fp32"},
}
"""Words in the engine inspector's `Format/Datatype` and in its types of weights, in lower case."""


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
    for layer in (layer for layer in layers if layer.type.name in COMPUTING):
        precision = NETWORK_TYPES.get(layer.get_output(0).dtype.name)
        if precision is None:
            continue
        source = made_by.get(layer.get_input(0).name)
        quantized = source is not None and source.type.name == "DEQUANTIZE"
        is_convolution = layer.type.name == "CONVOLUTION"
        found.append((layer.type.name, "int8" if quantized and is_convolution else precision))
    return found


def plan_layers(plan: bytes) -> Layers:
    """The layers of a plan as TensorRT's engine inspector tells them; needs the GPU.

    Raises MemoryError when memory runs out, JetrailError when TensorRT cannot say them.
    """
    messages = Messages()
    runtime = trt.Runtime(new_logger(messages))
    runtime.engine_host_code_allowed = True  # a version-compatible plan has a runtime of its own
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None and (short := lack_of_memory(messages.errors, messages.warnings)):
        raise MemoryError(short)
    inspector = engine.create_engine_inspector() if engine else None
    form = trt.LayerInformationFormat.JSON
    layers = inspected_layers(inspector.get_engine_information(form)) if inspector else []
    if not layers:
        raise JetrailError(
            "Expected TensorRT's engine inspector to tell the layers of the plan that was just "
            f"built, but it says: {messages.reason()}. Run it again; if it is the same again, "
            "report it with what `pipeline doctor` says."
        )
    return layers


def inspected_layers(text: str) -> Layers:
    """The layers in the engine inspector's JSON that compute something.

    As NVIDIA's engine explorer does, the kind is `ParameterType` where there is one and the
    precision is that of the first input; for layers with weights it is theirs.
    """
    layers = [layer for layer in json.loads(text)["Layers"] if isinstance(layer, dict)]
    found = ((_kind(layer), _precision(layer)) for layer in layers)
    return [(kind, precision) for kind, precision in found if precision and kind not in MOVING]


def _kind(layer: dict[str, Any]) -> str:
    kind = str(layer.get("ParameterType") or layer.get("LayerType") or "").lower()
    # A convolution and what was fused into it, as `CaskConvActPool`.
    return "convolution" if "conv" in kind and "deconv" not in kind else kind


def _precision(layer: dict[str, Any]) -> str | None:
    weights = layer.get("Weights") or {}
    inputs = layer.get("Inputs") or [{}]
    return _named(weights.get("Type")) or _named(inputs[0].get("Format/Datatype"))


def _named(words: object) -> str | None:
    """The precision that a text such as `Channel major FP16 format` names."""
    parts = re.findall(r"\w+", str(words or "").lower())
    return next((PLAN_TYPES[part] for part in parts if part in PLAN_TYPES), None)
