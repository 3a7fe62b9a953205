"""Which precision the layers of a TensorRT engine run in."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from engines.backends.tensorrt.out_of_memory import lack_of_memory
from engines.backends.tensorrt.sdk import Messages, logger_for, trt
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
LATER_PROFILE = re.compile(r"\[profile [1-9]")
"""In the name of a layer of the second and later profiles, which are the same network again."""
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


@dataclass(frozen=True, kw_only=True)
class Inspected:
    """What the engine inspector tells of a plan."""

    layers: Layers
    untold: int
    """Layers that compute something, but whose precision it does not tell: those without weights
    whose shape depends on the batch."""
    on_dla: int
    """Parts of the network that a DLA runs; each is one layer of the plan."""


def inspect_plan(plan: bytes, dla_core: int | None = None) -> Inspected:
    """The layers of a plan as TensorRT's engine inspector tells them; needs the GPU, and the DLA
    core that the plan was built for.

    Raises MemoryError when memory runs out, JetrailError when TensorRT cannot say them.
    """
    messages = Messages()
    runtime = trt.Runtime(logger_for(messages))
    runtime.engine_host_code_allowed = True  # a version-compatible plan has a runtime of its own
    if dla_core is not None:
        runtime.DLA_core = dla_core
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None and (short := lack_of_memory(messages.errors, messages.warnings)):
        raise MemoryError(short)
    inspector = engine.create_engine_inspector() if engine else None
    form = trt.LayerInformationFormat.JSON
    found = inspected(inspector.get_engine_information(form)) if inspector else None
    if found is None or not found.layers:
        raise JetrailError(
            "Expected TensorRT's engine inspector to tell the layers of the plan that was just "
            f"built, but it says: {messages.reason()}. Run it again; if it is the same again, "
            "report it with what `pipeline doctor` says."
        )
    return found


def inspected(text: str) -> Inspected:
    """What the engine inspector's JSON says.

    As NVIDIA's engine explorer does, the kind is `ParameterType` where there is one and the
    precision is that of the first input; for layers with weights it is theirs. The inspector has
    no execution context here, so it tells no format where a shape depends on the batch ("format
    information will not be shown", `IEngineInspector::setExecutionContext`; 8.6 writes "N/A due to
    dynamic shapes"): such layers are counted as untold.
    """
    layers = [
        layer
        for layer in json.loads(text)["Layers"]
        if isinstance(layer, dict) and not LATER_PROFILE.search(str(layer.get("Name", "")))
    ]
    computing = [layer for layer in layers if _kind(layer) and _kind(layer) not in MOVING]
    told = [(_kind(layer), precision) for layer in computing if (precision := _precision(layer))]
    return Inspected(
        layers=told,
        untold=len(computing) - len(told),
        on_dla=sum("dla" in str(layer.get("LayerType", "")).lower() for layer in computing),
    )


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
