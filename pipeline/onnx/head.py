"""Find YOLOv8's detection head in an ONNX graph, by its shape and not by names.

From the output upward, through the arithmetic that turns maps into boxes and scores, the first
convolutions are the head's output convolutions. One more lies in between: the fixed convolution of
the box distribution (DFL), which is told by the Softmax above it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engines.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Head:
    """Names of nodes, in the order of the graph."""

    outputs: tuple[str, ...]
    """The last convolution of each branch: box distributions and class logits."""
    distribution: tuple[str, ...]
    """The convolution that takes the mean of each box distribution."""
    decode: tuple[str, ...]
    """Everything after the output convolutions, with `distribution`."""
    body: tuple[str, ...]
    """All other convolutions."""


def find_head(model: Any) -> Head:
    """The head of a YOLOv8 detect graph. Raises InputError when there is no such head."""
    producers = {output: node for node in model.graph.node for output in node.output}
    found = _walk(model, producers)
    order = [node.name for node in model.graph.node]
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    if "" in order or len(set(order)) != len(order):
        raise InputError("Expected an ONNX graph with a name for each node. Export it again.")
    outputs = tuple(name for name in convolutions if found.get(name) == "output")
    distribution = tuple(name for name in convolutions if found.get(name) == "distribution")
    if not outputs or len(distribution) != 1:
        raise InputError(
            "Expected YOLOv8's detect head in the ONNX graph: output convolutions and one "
            f"convolution of the box distribution; got {len(outputs)} and {len(distribution)}. "
            "Export the model again with `pipeline export MODEL`."
        )
    return Head(
        outputs=outputs,
        distribution=distribution,
        decode=tuple(name for name in order if found.get(name) in ("decode", "distribution")),
        body=tuple(name for name in convolutions if name not in found),
    )


def _walk(model: Any, producers: Mapping[str, Any]) -> dict[str, str]:
    """Node name to its part of the head, for all nodes from the output to the output Convs."""
    found: dict[str, str] = {}
    waiting = [output.name for output in model.graph.output]
    while waiting:
        node = producers.get(waiting.pop())
        if node is None or node.name in found:
            continue
        if node.op_type != "Conv":
            found[node.name] = "decode"
        elif any(one.op_type == "Softmax" for one in _above(node, producers)):
            found[node.name] = "distribution"
        else:
            found[node.name] = "output"
            continue
        waiting += node.input
    return found


def _above(node: Any, producers: Mapping[str, Any]) -> Iterator[Any]:
    """The nodes above a convolution, up to the next convolutions."""
    waiting, seen = [node.input[0]], set()
    while waiting:
        above = producers.get(waiting.pop())
        if above is None or above.name in seen or above.op_type == "Conv":
            continue
        seen.add(above.name)
        yield above
        waiting += above.input
