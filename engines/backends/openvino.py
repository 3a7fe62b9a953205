"""OpenVINO on CPUs.

The engine takes uint8 NHWC BGR: colour order, scaling and layout are part of the graph.

It is compiled for exactly one image, and a batch of n is n requests spread over the processors.
Measured with a YOLOv8n at 320 x 320 in bf16 on 2 cores, OpenVINO 2026.4: a batch axis that is free
costs a tenth of the latency at batch 1 (6.3 against 5.7 ms), and a graph compiled for batch 4 takes
4.4 ms an image against 3.9 ms for four requests on two streams.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.backends import BuildRequest, BuildResult
from engines.backends.layers import main_precision
from engines.errors import InputError, JetrailError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Manifest, Preprocess, Tensor
from engines.records.record import Precision

if TYPE_CHECKING:
    import openvino as ov

DEVICE = "CPU"

PROJECT_NAMES = {"f32": "fp32", "f16": "fp16", "i8": "int8", "u8": "int8"}
"""OpenVINO's names of precisions to the project's, where they differ."""

NOT_COMPUTING = frozenset({"Const", "Input", "Output", "Reshape", "Reorder"})
"""Kinds of layers that move data or nothing at all, and say nothing of the precision."""

INPUT, OUTPUT = "images", "output0"
IN_ENGINE = ("NHWC to NCHW", "uint8 to float", "BGR to RGB", "divide by 255")

Config = dict[str, Any]


class OpenVINO:
    """Builds and loads engines for x86 and ARM CPUs."""

    name = "openvino"
    engine_file = "engine.blob"

    def __init__(self, package: str = "openvino") -> None:
        self._package = package

    def version(self) -> str:
        """Version of OpenVINO that is installed. Raises InputError when it is missing."""
        try:
            return version(self._package)
        except PackageNotFoundError as error:
            raise InputError(
                "Expected the package openvino, which the backend `openvino` runs on, but it is "
                "not installed. Install it with `pip install --editable '.[device]'`."
            ) from error

    def onnx_precision(self, precision: Precision) -> Precision:
        """Every precision has an ONNX file of its own."""
        return precision

    def build(self, request: BuildRequest, engine: Path) -> BuildResult:
        """Compile the ONNX file for this CPU and write the blob to `engine`.

        Raises InputError when OpenVINO does not take the file.
        """
        import openvino as ov

        with _translated(InputError, f"Expected an ONNX file that OpenVINO takes: {request.onnx}"):
            core = ov.Core()
            model = _with_preprocessing(_read(core, request))
            config = latency_config() | _precision_config(request.precision)
            compiled = core.compile_model(model, DEVICE, config)
            engine.write_bytes(_export(compiled))
            layers = _computing_layers(compiled)
        height, width = request.imgsz
        channels, anchors = (int(side) for side in compiled.output(0).shape[1:])
        return BuildResult(
            executed_precision=main_precision(layers),
            executed_layers=dict(Counter(precision for _, precision in layers).most_common()),
            inputs=(Tensor(name=INPUT, dtype="uint8", shape=(None, height, width, 3)),),
            outputs=(Tensor(name=OUTPUT, dtype="float32", shape=(None, channels, anchors)),),
            preprocess=Preprocess(in_engine=IN_ENGINE),
        )

    def load(self, engine: Path, manifest: Manifest, *, in_flight: int) -> OpenVINOSession:
        """Load an engine whose manifest was checked.

        With `in_flight` 1 all processors work on one frame; with more, so many frames run side by
        side on streams of their own. Raises WrongEngine when OpenVINO does not take the blob.
        """
        return OpenVINOSession(engine, manifest, in_flight=in_flight)


# --- running -----------------------------------------------------------------------------------


class OpenVINOSession:
    """A loaded engine; see `engines.backends.Session`."""

    def __init__(self, engine: Path, manifest: Manifest, *, in_flight: int) -> None:
        self.slots = in_flight
        self._manifest = manifest
        config = latency_config() if in_flight == 1 else streams_config(in_flight)
        with _translated(WrongEngine, f"Expected an engine that OpenVINO can load: {engine}"):
            self._blob = engine.read_bytes()
            self._compiled = _import(self._blob, manifest, config)
            self._streams = self._compiled if in_flight > 1 else None
            self._slots = [_Slot(self._compiled, manifest.batch.max) for _ in range(in_flight)]

    def input(self, slot: int, batch: int) -> NDArray[np.uint8]:
        """The slot's buffer for `batch` frames: uint8 BGR, shape (batch, height, width, 3)."""
        chosen = self._slots[slot]
        if not 1 <= batch <= len(chosen.inputs):
            raise InputError(
                f"Expected a batch from 1 to {len(chosen.inputs)}, came {batch}. "
                "Raise `batch:` in the target's params.yaml and build the engine again."
            )
        chosen.use(batch, self._requests_of(batch))
        return chosen.inputs[:batch]

    def start(self, slot: int) -> None:
        """Begin inference on what the slot's buffer holds; returns at once."""
        for request in self._slots[slot].running:
            request.start_async()

    def wait(self, slot: int) -> NDArray[np.float32]:
        """The slot's raw head output, shape (batch, 4 + classes, anchors)."""
        chosen = self._slots[slot]
        for request in chosen.running:
            request.wait()
        return chosen.outputs[: len(chosen.running)]

    def gpu_times_ms(self, batch: int, rounds: int) -> None:
        """None: there is no GPU."""

    def close(self) -> None:
        """Free the engine. The session cannot be used afterwards."""
        self._slots = []
        self._compiled = self._streams = None

    def _requests_of(self, batch: int) -> ov.CompiledModel:
        """All processors on one frame for a single one; a stream for each for a batch."""
        if batch == 1:
            return self._compiled
        if self._streams is None:
            config = streams_config(self._manifest.batch.max)
            self._streams = _import(self._blob, self._manifest, config)
        return self._streams


class _Slot:
    """Buffers for the largest batch, and a request for each of its rows that works on them in
    place. A request is a set of pointers: its activations belong to the stream that runs it."""

    def __init__(self, compiled: ov.CompiledModel, rows: int) -> None:
        self.inputs = np.zeros((rows, *compiled.input(0).shape[1:]), np.uint8)
        self.outputs = np.zeros((rows, *compiled.output(0).shape[1:]), np.float32)
        self.running: list[ov.InferRequest] = []
        self._requests: dict[tuple[int, int], ov.InferRequest] = {}

    def use(self, batch: int, compiled: ov.CompiledModel) -> None:
        """Let the next start run the first `batch` rows with `compiled`."""
        self.running = [self._request(row, compiled) for row in range(batch)]

    def _request(self, row: int, compiled: ov.CompiledModel) -> ov.InferRequest:
        key = (row, id(compiled))
        if key not in self._requests:
            self._requests[key] = self._bind(row, compiled)
        return self._requests[key]

    def _bind(self, row: int, compiled: ov.CompiledModel) -> ov.InferRequest:
        import openvino as ov

        request = compiled.create_infer_request()
        one = slice(row, row + 1)
        request.set_input_tensor(ov.Tensor(self.inputs[one], shared_memory=True))
        request.set_output_tensor(ov.Tensor(self.outputs[one], shared_memory=True))
        return request


def _import(blob: bytes, manifest: Manifest, config: Config) -> ov.CompiledModel:
    import openvino as ov

    return ov.Core().import_model(blob, DEVICE, config | _precision_config(manifest.precision))


def _export(compiled: ov.CompiledModel) -> bytes:
    blob = compiled.export_model()
    return blob if isinstance(blob, bytes) else bytes(blob.getbuffer())


# --- settings ----------------------------------------------------------------------------------


def latency_config() -> Config:
    """All processors on one frame."""
    return {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}


def streams_config(frames: int) -> Config:
    """A processor for each frame, as far as they go."""
    return {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": str(min(frames, _cores()))}


def compute_type(precision: Precision, isa: Container[str]) -> str:
    """OpenVINO's type for all that the ONNX file does not quantize, by instruction set.

    OpenVINO also offers bf16 where it must emulate it, which is slower than f32; so the processor's
    flags decide and not its list of capabilities.
    """
    if precision == "fp32":
        return "f32"
    if "amx_bf16" in isa or "avx512_bf16" in isa:
        return "bf16"
    if "avx512_fp16" in isa or "asimdhp" in isa:
        return "f16"
    return "f32"


def _precision_config(precision: Precision) -> Config:
    return {"INFERENCE_PRECISION_HINT": compute_type(precision, read_fingerprint().isa)}


def _cores() -> int:
    return len(os.sched_getaffinity(0))


# --- the graph ---------------------------------------------------------------------------------


def _read(core: ov.Core, request: BuildRequest) -> ov.Model:
    """The ONNX file as a graph for exactly one image."""
    import openvino as ov

    model = core.read_model(request.onnx)
    _expect_names(request.onnx, "input", INPUT, model.inputs)
    _expect_names(request.onnx, "output", OUTPUT, model.outputs)
    expected = ov.PartialShape([-1, 3, *request.imgsz])
    found = model.input(0).partial_shape
    if not found.compatible(expected):
        raise InputError(
            f"{request.onnx}: expected the input {INPUT} as {expected} like `imgsz` in model.yaml, "
            f"came {found}. Export the model again with `pipeline export MODEL`."
        )
    model.reshape({model.input(0): ov.PartialShape([1, 3, *request.imgsz])})
    keep_box_decode_exact(model)
    return model


def _expect_names(path: Path, kind: str, expected: str, found: Sequence[Any]) -> None:
    names = [name for port in found for name in port.get_names()]
    if len(found) != 1 or expected not in names:
        raise InputError(
            f"{path}: expected one {kind} named {expected}, came {', '.join(names) or 'none'}. "
            "Make the file with `pipeline export MODEL`."
        )


def _with_preprocessing(model: ov.Model) -> ov.Model:
    """Let the graph take uint8 NHWC BGR.

    OpenVINO folds colour order and scale into the weights of the first convolution, which then
    works on 0 to 255: whole numbers, which bf16 holds exactly.
    """
    import openvino as ov
    from openvino import opset13 as ops
    from openvino.preprocess import ColorFormat, PrePostProcessor

    steps = PrePostProcessor(model)
    tensor = steps.input().tensor()
    tensor.set_element_type(ov.Type.u8)
    tensor.set_layout(ov.Layout("NHWC"))
    tensor.set_color_format(ColorFormat.BGR)
    steps.input().model().set_layout(ov.Layout("NCHW"))
    convert = steps.input().preprocess()
    convert.convert_element_type(ov.Type.f32)
    # Changes no number, since none is negative. Without it OpenVINO transposes the bytes before it
    # converts them, and reorders the result back to NHWC, which is what the convolution wants: two
    # more passes over the picture, about 2 % of the latency of a YOLOv8n at 320 x 320.
    convert.custom(lambda pixels: ops.relu(pixels).output(0))
    convert.convert_color(ColorFormat.RGB)
    convert.scale(255.0)
    return steps.build()


def keep_box_decode_exact(model: ov.Model) -> int:
    """Rewrite the DFL convolution of YOLOv8's head, an expected value over 0, 1, …, as a product
    and a sum; returns how many were found.

    OpenVINO keeps in f32 what follows the last convolution. The DFL is written as a convolution, so
    the softmax before it would run in bf16 too: the mean error of the boxes of confident anchors is
    0.054 pixels then, and 0.033 with the sum (YOLOv8n, 320 x 320).
    """
    from openvino import opset13 as ops

    found = [op for op in model.get_ordered_ops() if _is_dfl(op)]
    for op in found:
        bins = op.input_value(1).get_shape()[1]
        values = ops.constant(np.arange(bins, dtype=np.float32).reshape(1, bins, 1, 1))
        product = ops.multiply(op.input_value(0), values)
        expected = ops.reduce_sum(product, ops.constant(np.array([1])), keep_dims=True)
        op.output(0).replace(expected.output(0))
    model.validate_nodes_and_infer_types()
    return len(found)


def _is_dfl(op: ov.Node) -> bool:
    """Whether `op` is a 1x1 convolution to one channel with the weights 0, 1, 2, …"""
    if op.get_type_name() != "Convolution":
        return False
    weights = op.input_value(1).get_node()
    while weights.get_type_name() == "Convert":
        weights = weights.input_value(0).get_node()
    shape = tuple(weights.get_output_shape(0))
    if weights.get_type_name() != "Constant" or len(shape) != 4:
        return False
    if shape[0] != 1 or shape[1] < 2 or shape[2:] != (1, 1):
        return False
    return bool(np.array_equal(np.ravel(weights.get_data()), np.arange(shape[1])))


# --- what really runs --------------------------------------------------------------------------


def _computing_layers(compiled: ov.CompiledModel) -> list[tuple[str, str]]:
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


@contextmanager
def _translated(kind: type[JetrailError], expected: str) -> Iterator[None]:
    """OpenVINO raises RuntimeError for everything; make it ours, with the first lines of it."""
    try:
        yield
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:400]
        todo = "Build it again" if kind is WrongEngine else "Export the model again"
        raise kind(f"{expected}, but it says: {reason}. {todo} with `pipeline`.") from error
