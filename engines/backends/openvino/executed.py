"""What really runs in a compiled graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import openvino as ov

PROJECT_NAMES = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "int8"}
"""OpenVINO's names of precisions to the project's, where they differ."""

NOT_COMPUTING = frozenset({"Const", "Input", "Output", "Reshape", "Reorder"})
"""Kinds of layers that move data or nothing at all, and say nothing of the precision."""


def computing_layers(compiled: ov.CompiledModel) -> list[tuple[str, str]]:
    """Kind and precision, in the project's names, of each layer that computes something.

    Left out are those that move uint8 pixels around before the network begins.
    """
    found: list[tuple[str, str]] = []
    pixels: set[str] = set()
    for op in compiled.get_runtime_model().get_ordered_ops():
        kind, precision = (_info(op, key) for key in ("layerType", "runtimePrecision"))
        sources = {value.get_node().get_friendly_name() for value in op.input_values()}
        if kind in ("Input", "Const") or (precision == "u8" and sources <= pixels):
            pixels.add(op.get_friendly_name())
        elif kind not in NOT_COMPUTING:
            found.append((kind, PROJECT_NAMES.get(precision, precision)))
    return found


def _info(op: ov.Node, key: str) -> str:
    value = op.get_rt_info()[key]
    return str(getattr(value, "value", value))
