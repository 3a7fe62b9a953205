"""An ONNX file to a TensorRT network, and what the parser says where it cannot, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engines.backends import OUTPUT
from engines.backends.tensorrt.options import Request
from engines.backends.tensorrt.out_of_memory import lack_of_memory
from engines.backends.tensorrt.sdk import Messages, logger_for, trt
from engines.backends.tensorrt.uint8_input import with_uint8_input
from engines.errors import InputError
from engines.records.manifest import Profile, Tensor

DTYPES = {"UINT8": "uint8", "FLOAT": "float32", "HALF": "float16"}
"""TensorRT's names of types to numpy's."""
SHOWN = 5
"""Problems, and nodes of each, that a message names."""


def parse(
    network: trt.INetworkDefinition, request: Request, messages: Messages, *, typed: bool
) -> trt.OnnxParser:
    """Fill the network from the ONNX file; the parser holds its weights and must outlive the build.

    `typed`: whether the network keeps to the file's types, float16 Q/DQ among them.
    Raises InputError with operators and names of nodes, MemoryError when memory runs out.
    """
    parser = trt.OnnxParser(network, logger_for(messages))
    content = with_uint8_input(request.onnx, request.imgsz, float16_qdq=typed)
    if parser.parse(content):
        _check_output(network, request)
        return parser
    if short := lack_of_memory(messages.errors, messages.warnings):
        raise MemoryError(short)
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    raise InputError(
        f"Expected an ONNX file that TensorRT {trt.__version__} can parse, but of {request.onnx} "
        f"it does not take {parser_errors(errors, content) or messages.reason()}. Export the model "
        "again with `pipeline export MODEL`, without layers that TensorRT does not have."
    )


def _check_output(network: trt.INetworkDefinition, request: Request) -> None:
    if problem := _output_problem(network):
        raise InputError(
            f"{request.onnx}: expected {problem}. Make the file with `pipeline export MODEL`."
        )


def _output_problem(network: trt.INetworkDefinition) -> str | None:
    """What is wrong with the output; the detector wants one in float32 whose size it knows."""
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    if [one.name for one in outputs] != [OUTPUT]:
        got = ", ".join(one.name for one in outputs) or "none"
        return f"one output named {OUTPUT}, got {got}"
    if (dtype := tensor_of(outputs[0]).dtype) != "float32":
        return f"the output {OUTPUT} in float32, got {dtype}"
    results, *sizes = _axes(outputs[0])
    if any(size < 1 for size in sizes):
        return f"a fixed size of the output {OUTPUT}, got {_shape(sizes)} after the batch"
    pictures = _axes(network.get_input(0))[0]
    if results != pictures:
        # TensorRT builds such a plan all the same, where a layer holds for one batch only.
        return f"as many results as pictures, got {_shape([results])} for {_shape([pictures])}"
    return None


def _shape(sizes: Sequence[int]) -> str:
    return ", ".join(str(size) if size >= 0 else "any number" for size in sizes)


# --- the parser's errors -------------------------------------------------------------------------


def parser_errors(errors: Iterable[Any], content: bytes) -> str:
    """The parser's errors in words: each operator and problem with the names of its nodes.

    `content` is what was parsed: TensorRT 8.6 gives only a node's number.
    """
    nodes = _nodes(content)
    found: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        operator, name = _where(error, nodes)
        found.setdefault((operator, _problem(error)), []).extend([name] if name else [])
    return _listed([_in_words(*key, names) for key, names in found.items()], "; ")


def _where(error: Any, nodes: Sequence[Any]) -> tuple[str, str]:
    """Operator and name of the node; empty where the error is of the whole file."""
    number = error.node()
    known = nodes[number] if 0 <= number < len(nodes) else None
    operator = _said(error, "node_operator") or (known.op_type if known else "")
    name = _said(error, "node_name") or (known.name if known else "")
    return operator, name or (f"without name, of {known.output[0]}" if known else "")


def _nodes(content: bytes) -> Sequence[Any]:
    from google.protobuf.message import DecodeError
    from onnx import load_from_string

    try:
        nodes: Sequence[Any] = load_from_string(content).graph.node
    except DecodeError:
        return ()
    return nodes


def _said(error: Any, what: str) -> str:
    """What TensorRT 10 and later say of an error; empty before."""
    return str(getattr(error, what)()) if hasattr(error, what) else ""


def _problem(error: Any) -> str:
    text = " ".join(error.desc().split())[:200]
    # "false" is the condition that failed, in the source of a parser that has no such operator.
    if text == "false" or "Plugin not found" in text:
        return "TensorRT has no such operator"
    return text


def _in_words(operator: str, problem: str, names: Sequence[str]) -> str:
    nodes = f" (node{'s' * (len(names) > 1)} {_listed(names, ', ')})" if names else ""
    return f"{operator or 'the file'}{nodes}: {problem}"


def _listed(words: Sequence[str], separator: str) -> str:
    more = [f"and {len(words) - SHOWN} more"] if len(words) > SHOWN else []
    return separator.join([*words[:SHOWN], *more])


# --- bindings and profile ------------------------------------------------------------------------


def profile_of(network: trt.INetworkDefinition, request: Request) -> Mapping[str, Profile]:
    """The optimization profile of the one input: the row's batches, in the axis that is free.

    Raises InputError where the file's batch axis does not take them.
    """
    tensor = network.get_input(0)
    axes = _axes(tensor)
    batch = request.batch
    if axes[0] >= 0 and {batch.min, batch.opt, batch.max} != {axes[0]}:
        raise InputError(
            f"{request.onnx}: expected a batch axis that is free, for the profile {batch.min}, "
            f"{batch.opt}, {batch.max} of the row, got one that is always {axes[0]}. Export the "
            f"model again with `pipeline export MODEL`, or set `batch:` in the target's "
            f"params.yaml to {axes[0]} three times."
        )
    frame = axes[1:]
    shapes = Profile(min=(batch.min, *frame), opt=(batch.opt, *frame), max=(batch.max, *frame))
    return {tensor.name: shapes}


def single_of(profile: Mapping[str, Profile]) -> Mapping[str, Profile] | None:
    """A profile for batch 1, beside one that takes 1 but is tuned for more; else None."""
    if all(one.min[0] == 1 < one.opt[0] for one in profile.values()):
        shapes = {name: (1, *one.min[1:]) for name, one in profile.items()}
        return {name: Profile(min=one, opt=one, max=one) for name, one in shapes.items()}
    return None


def tensor_of(tensor: trt.ITensor) -> Tensor:
    """A binding as the manifest tells it."""
    dtype = DTYPES.get(tensor.dtype.name, tensor.dtype.name.lower())
    return Tensor(name=tensor.name, dtype=dtype, shape=(None, *_axes(tensor)[1:]))


def _axes(tensor: trt.ITensor) -> tuple[int, ...]:
    return tuple(tensor.shape[index] for index in range(len(tensor.shape)))
