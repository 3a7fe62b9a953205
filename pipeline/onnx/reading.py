"""Reading an ONNX file: its content only, never what it says lies in other files.

A path in a model file would make whoever loads it read whatever file of this machine it names, so
each tensor is looked at first, wherever it hides: in the graph, in nodes and the graphs within
them, in functions and their defaults, in what a training left.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from engines.errors import InputError


def parse(path: Path) -> Any:
    """The `onnx.ModelProto` in `path`, without external data.

    Raises InputError when the file is missing, damaged or of another kind.
    """
    import onnx

    decode_error = import_module("google.protobuf.message").DecodeError  # ships no types
    if not path.is_file():
        raise InputError(
            f"Expected an ONNX file in {path}, but there is none. "
            "Make it with `pipeline export MODEL`, or `dvc repro`."
        )
    try:
        return onnx.load(str(path), load_external_data=False)
    except decode_error as error:
        raise InputError(
            f"Expected an ONNX file in {path}, but it is damaged or of another kind ({error}). "
            "Make it again with `pipeline export MODEL` and `pipeline quantize MODEL`."
        ) from error


def metadata(model: Any) -> dict[str, str]:
    """The metadata of `model` as text."""
    return {prop.key: prop.value for prop in model.metadata_props}


def check_self_contained(model: Any, path: Path) -> None:
    """Raise InputError when a tensor of the model lies in another file: `pipeline export` and
    `quantize` keep all of them inside. `path` names the file in the sentence."""
    if any(_is_external(tensor) for tensor in _tensors(model)):
        raise InputError(
            f"Expected {path} to hold all of its tensors itself, but it takes some from "
            "another file (external data). Make it again with `pipeline export MODEL` and "
            "`pipeline quantize MODEL`."
        )


def load_beside(model: Any, path: Path) -> None:
    """Read into `model` the tensors that lie in other files of its folder.

    Raises InputError when one is missing, or outside the folder.
    """
    import onnx

    external = [tensor for tensor in _tensors(model) if _is_external(tensor)]
    for tensor in external:
        _check_location(tensor, path)
    if external:
        onnx.load_external_data_for_model(model, str(path.parent))


def _is_external(tensor: Any) -> bool:
    return bool(tensor.data_location == tensor.EXTERNAL or tensor.external_data)


def _check_location(tensor: Any, path: Path) -> None:
    folder = path.parent.resolve()
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


def _tensors(model: Any) -> Iterator[Any]:
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        yield from _node_tensors(function.node)
        yield from _attribute_tensors(function.attribute_proto)
    for training in model.training_info:
        yield from _graph_tensors(training.initialization)
        yield from _graph_tensors(training.algorithm)


def _graph_tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _node_tensors(graph.node)


def _node_tensors(nodes: Sequence[Any]) -> Iterator[Any]:
    for node in nodes:
        yield from _attribute_tensors(node.attribute)


def _attribute_tensors(attributes: Sequence[Any]) -> Iterator[Any]:
    for attribute in attributes:
        yield from (attribute.t, *attribute.tensors)
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _graph_tensors(graph)
