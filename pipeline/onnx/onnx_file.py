"""ONNX files: checked, described, written whole; read with `reading`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from engines.errors import InputError
from engines.files import write_atomic
from pipeline.onnx import reading

BATCH = "batch"
"""Name of the first axis of input and output."""


def read_onnx(path: Path) -> Any:
    """The model in `path` as an `onnx.ModelProto` that holds all of its tensors itself.

    Raises InputError when the file is missing, damaged or not valid ONNX, or when it takes tensors
    from outside its own folder.
    """
    model = reading.parse(path)
    reading.load_beside(model, path)
    check(model, path)
    return model


def check(model: Any, path: Path) -> None:
    """Check structure, types and shapes. Raises InputError; `path` names the file in it."""
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"Expected valid ONNX in {path}, but the checker says: {reason}. "
            "Make the file again with `pipeline export MODEL`."
        ) from error


def write_onnx(model: Any, path: Path) -> bytes:
    """Check `model` and write it to `path`, atomically; gives its bytes, which are the same for the
    same model."""
    check(model, path)
    content = bytes(model.SerializeToString(deterministic=True))
    write_atomic(path, content)
    return content


def free_batch(model: Any) -> None:
    """Turn the batch of 1 that a network was traced with into the free axis `batch`.

    A Reshape to `[1, …]` becomes one to `[0, …]`, which copies the axis from its input. So the
    graph needs no arithmetic on shapes, which a trace with a free axis is full of.
    """
    import onnx

    values = {one.name: one for one in model.graph.initializer}
    for number, node in enumerate(n for n in model.graph.node if n.op_type == "Reshape"):
        shape = onnx.numpy_helper.to_array(values[node.input[1]]).copy()
        if shape[0] != 1:
            continue
        shape[0] = 0
        name = f"jetrail_shape_{number}"
        model.graph.initializer.append(onnx.numpy_helper.from_array(shape, name))
        node.input[1] = name
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH
    del model.graph.value_info[:]
    drop_unused(model)


def constants_to_initializers(model: Any) -> None:
    """Turn Constant nodes into initializers: converters take those for what they are."""
    nodes = [node for node in model.graph.node if node.op_type == "Constant"]
    for node in nodes:
        tensors = [attribute.t for attribute in node.attribute if attribute.name == "value"]
        if tensors:
            tensors[0].name = node.output[0]
            model.graph.initializer.append(tensors[0])
            model.graph.node.remove(node)


def drop_unused(model: Any) -> None:
    """Remove nodes that no output depends on, and initializers that no node reads."""
    needed = {output.name for output in model.graph.output}
    for node in reversed(list(model.graph.node)):
        if needed.isdisjoint(node.output):
            model.graph.node.remove(node)
        else:
            needed.update(node.input)
    for one in [one for one in model.graph.initializer if one.name not in needed]:
        model.graph.initializer.remove(one)


def split(model: Any, inputs: Collection[str]) -> tuple[Any, Any]:
    """Two models in place of one: what does not depend on these of its inputs, and what does.

    The first gives what the second takes, float32, under the same names. What is made of
    initializers only, as weights that are dequantized, is in both.
    """
    made: set[str] = {one.name for one in model.graph.initializer}
    constant: list[Any] = []
    moved, before, after = set(inputs), list[Any](), list[Any]()
    for node in model.graph.node:
        if made.issuperset(node.input):
            constant.append(node)
            made.update(node.output)
        elif moved.isdisjoint(node.input):
            before.append(node)
        else:
            after.append(node)
            moved.update(node.output)
    taken = {name for node in after for name in node.input}
    passed = [name for node in before for name in node.output if name in taken]
    rest = [one.name for one in model.graph.output]
    return _part(model, constant + before, passed), _part(model, constant + after, rest, passed)


def _part(model: Any, nodes: list[Any], outputs: list[str], more: Collection[str] = ()) -> Any:
    """A model of some of the nodes, with what is in `more` as inputs beside those that it has."""
    import onnx

    def value(name: str) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)

    part = onnx.ModelProto()
    part.CopyFrom(model)
    del part.graph.node[:], part.graph.output[:], part.graph.value_info[:]
    part.graph.node.extend(nodes)
    part.graph.output.extend(value(name) for name in outputs)
    part.graph.input.extend(value(name) for name in more)
    drop_unused(part)
    read = {name for node in part.graph.node for name in node.input}
    for one in [one for one in part.graph.input if one.name not in read]:
        part.graph.input.remove(one)
    return part


def output_shape(model: Any) -> tuple[int | str, ...]:
    """Shape of the first output as inferred; a text is a free axis."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    dims = inferred.graph.output[0].type.tensor_type.shape.dim
    return tuple(dim.dim_param or dim.dim_value for dim in dims)


def set_metadata(model: Any, values: Mapping[str, Any]) -> None:
    """Replace the metadata of `model`; what is not text becomes JSON."""
    import onnx

    texts = {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for key, value in sorted(values.items())
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, texts)


def version() -> str:
    """Version of the package onnx."""
    import onnx

    return str(onnx.__version__)
