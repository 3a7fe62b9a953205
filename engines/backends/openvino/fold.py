"""Q/DQ as OpenVINO computes it rightly on the processor at hand.

OpenVINO's ONNX reader makes of each pair of QuantizeLinear and DequantizeLinear the chain

    FakeQuantize -> Convert to i8 -> Convert to f32 -> Subtract -> Multiply

and of it, on x86 without AMX, kernels that read int8 as uint8 with a zero point of 128 which nobody
added (OpenVINO 2024.6 to 2026.4.1). The FakeQuantize alone, with an output range that is
dequantized already, says the same and is computed rightly, at the same speed.

Without VNNI, oneDNN adds pairs of products in 16 bits (`vpmaddubsw`), where two products of 8 bits
do not fit; with weights of 7 bits they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from engines.records.manifest import OpenVINOBlob, ProcessorKind

if TYPE_CHECKING:
    import openvino as ov

FOLDED: frozenset[ProcessorKind] = frozenset({"vnni", "no-vnni"})
"""Kinds of processors whose kernels take the whole chain wrongly. Those with AMX take it
rightly."""


def fit_to_processor(model: ov.Model, kind: ProcessorKind, isa: tuple[str, ...]) -> OpenVINOBlob:
    """Rewrite the graph's Q/DQ for a kind of processor, and say what was done."""
    chains = _dequantizations(model)
    weights = [chain for chain in chains if _is_constant(_source(chain))]
    activations = [chain for chain in chains if _source(chain).get_type_name() == "FakeQuantize"]
    if kind in FOLDED:
        for chain in activations:
            _fold(chain)
    if kind == "no-vnni":
        for chain in weights:
            _halve(chain)
    model.validate_nodes_and_infer_types()
    bits: Literal[7, 8] = 7 if kind == "no-vnni" else 8
    return OpenVINOBlob(
        processor_kind=kind,
        isa=isa,
        folded=len(activations) if kind in FOLDED else 0,
        weight_bits=bits if weights else None,
    )


def _dequantizations(model: ov.Model) -> list[ov.Node]:
    """The Multiply at the end of each chain that begins with int8."""
    return [op for op in model.get_ordered_ops() if _is_dequantization(op)]


def _is_dequantization(op: ov.Node) -> bool:
    """Whether `op` is Multiply(Subtract(Convert(int8), …), …)."""
    for kind in ("Multiply", "Subtract", "Convert"):
        if op.get_type_name() != kind:
            return False
        op = _input(op)
    return bool(op.get_output_element_type(0).get_type_name() == "i8")


def _source(multiply: ov.Node) -> ov.Node:
    """What the chain's int8 is: a Constant, or what was quantized to it."""
    int8 = _input(_input(_input(multiply)))
    return int8 if _is_constant(int8) else _input(int8)


def _fold(multiply: ov.Node) -> None:
    """Let the chain's FakeQuantize give dequantized values, and put it in the chain's place."""
    from openvino import opset13 as ops

    quantize = _source(multiply)
    scale = _value(multiply.input_value(1).get_node())
    zero_point = _value(_input(multiply).input_value(1).get_node())
    low, high = (_value(quantize.input_value(index).get_node()) for index in (3, 4))
    folded = ops.fake_quantize(
        *(quantize.input_value(index) for index in range(3)),
        ops.constant(((low - zero_point) * scale).astype(np.float32)),
        ops.constant(((high - zero_point) * scale).astype(np.float32)),
        quantize.get_attributes()["levels"],
    )
    folded.set_friendly_name(multiply.get_friendly_name())
    multiply.output(0).replace(folded.output(0))


def _halve(multiply: ov.Node) -> None:
    """Halve the chain's int8 weights and round them to even, and double their scale."""
    from openvino import opset13 as ops

    halved = np.round(_value(_source(multiply)) / 2).astype(np.int8)
    to_float = _input(_input(multiply))
    to_float.input(0).replace_source_output(ops.constant(halved).output(0))
    doubled = ops.multiply(multiply.input_value(1), ops.constant(np.float32(2)))
    multiply.input(1).replace_source_output(doubled.output(0))


def _value(op: ov.Node) -> NDArray[np.float64]:
    """The numbers of a constant, through what only converts or reshapes it."""
    while not _is_constant(op):
        op = _input(op)
    return np.asarray(op.get_data(), dtype=np.float64)


def _is_constant(op: ov.Node) -> bool:
    return bool(op.get_type_name() == "Constant")


def _input(op: ov.Node) -> ov.Node:
    return op.input_value(0).get_node()
