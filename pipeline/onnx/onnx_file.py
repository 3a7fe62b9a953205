"""ONNX files: read without leaving their folder, checked, described, written whole.

The only module that imports `onnx` itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from engines.errors import InputError
from engines.files import write_atomic

BATCH = "batch"
"""Name of the first axis of input and output."""


def read_onnx(path: Path) -> Any:
    """The model in `path` as an `onnx.ModelProto` that holds all of its tensors itself.

    Raises InputError when the file is missing, damaged or not valid ONNX, or when it takes tensors
    from outside its own folder.
    """
    import onnx

    decode_error = import_module("google.protobuf.message").DecodeError  # ships no types
    if not path.is_file():
        raise InputError(
            f"Expected an ONNX file in {path}, but there is none. "
            "Make it with `pipeline export MODEL`, or `dvc repro`."
        )
    try:
        model = onnx.load(str(path), load_external_data=False)
    except decode_error as error:
        raise InputError(
            f"Expected an ONNX file in {path}, but it is damaged or of another kind ({error}). "
            "Make it again with `pipeline export MODEL`."
        ) from error
    if _load_external(path, model):
        onnx.load_external_data_for_model(model, str(path.parent))
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


def write_onnx(model: Any, path: Path) -> None:
    """Check `model` and write it to `path`: atomically, and the same bytes for the same model."""
    check(model, path)
    write_atomic(path, model.SerializeToString(deterministic=True))


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


def metadata(model: Any) -> dict[str, str]:
    """The metadata of `model` as text."""
    return {prop.key: prop.value for prop in model.metadata_props}


def version() -> str:
    import onnx

    return str(onnx.__version__)


# --- external data -----------------------------------------------------------------------------


def _load_external(path: Path, model: Any) -> bool:
    """Whether tensors lie in other files; raises InputError when one is outside the folder."""
    external = [tensor for tensor in _tensors(model) if tensor.data_location == tensor.EXTERNAL]
    folder = path.parent.resolve()
    for tensor in external:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        parts = PurePosixPath(location.replace("\\", "/"))
        inside = (folder / location).resolve().is_relative_to(folder)
        if not location or parts.is_absolute() or ".." in parts.parts or not inside:
            raise InputError(
                f"Refused to read {path}: its tensor {tensor.name!r} takes its values from "
                f"{location!r}, outside the file's folder. "
                "Save the model as one file, or with its data beside it."
            )
        if not (folder / location).is_file():
            raise InputError(
                f"Expected the values of {tensor.name!r} of {path} in {folder / location}, "
                "but there is no such file. Copy it there, or save the model as one file."
            )
    return bool(external)


def _tensors(model: Any) -> Iterator[Any]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Sequence[Any]) -> Iterator[Any]:
    for attribute in (attribute for node in nodes for attribute in node.attribute):
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)
