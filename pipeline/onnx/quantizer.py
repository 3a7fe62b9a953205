"""Precision in the ONNX file, through ONNX Runtime's quantizer and float16 converter."""

from __future__ import annotations

import contextlib
import copy
import errno
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.disks import ROOM, disk_of
from engines.errors import InputError
from engines.files import temporary_folder
from pipeline.onnx.head import Head
from pipeline.onnx.onnx_file import drop_unused
from pipeline.onnx.session import OnnxModel, planes, version

__all__ = ["Taps", "own_temporary_files", "quantizer_version", "scale_of", "to_float16", "to_int8"]


QDQ_OPSET, QDQ_IR_VERSION = 19, 9
"""The first opset whose Q/DQ take float16, and its IR version."""
LARGEST = 127
"""Of a symmetric int8."""
SMALLEST_SCALE = float(np.finfo(np.float16).smallest_normal)
"""Below it float16 has fewer digits."""


class Taps:
    """A model that also gives the input of each of its convolutions."""

    def __init__(self, model: Any, layers: Collection[str]) -> None:
        import onnx

        self.tensors = conv_inputs(model, layers)
        tapped = copy.deepcopy(model)
        names = {one.name for one in (*tapped.graph.input, *tapped.graph.output)}
        inside = [name for name in dict.fromkeys(self.tensors.values()) if name not in names]
        float32 = onnx.TensorProto.FLOAT
        tapped.graph.output.extend(
            onnx.helper.make_tensor_value_info(name, float32, None) for name in inside
        )
        self._input = tapped.graph.input[0].name
        self._names = [*inside]
        self._model = OnnxModel(tapped.SerializeToString())

    def run(self, images: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Tensor name to its values, for letterboxed uint8 BGR of shape (n, height, width, 3)."""
        inputs = planes(images)
        found = self._model.fetch(inputs, self._names)
        return {self._input: inputs, **dict(zip(self._names, found, strict=True))}


def conv_inputs(model: Any, layers: Collection[str]) -> dict[str, str]:
    """Convolution to the name of its input tensor."""
    return {node.name: node.input[0] for node in model.graph.node if node.name in layers}


def to_float16(model: Any, head: Head) -> Any:
    """Float16 weights and math up to the head's output convolutions; float32 in, out and after.

    What is INT8 already stays so, and its Q/DQ become float16, which opset 19 is the first to have.
    The decode stays float32: float16 has steps of 0.5 pixels from 512 pixels on.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    source = copy.deepcopy(model)
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        _raise_opset(source)
    with _quiet():
        converted = convert_float_to_float16(
            source,
            keep_io_types=True,
            op_block_list=[],
            node_block_list=list(head.decode),
        )
    converted = _sorted(converted)
    _drop_round_trips(converted)
    return converted


def _raise_opset(model: Any) -> None:
    """A number only: the operators of YOLOv8 are the same in both opsets, and the checker refuses a
    node that is not one of the later."""
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx"):
            entry.version = max(entry.version, QDQ_OPSET)
    model.ir_version = max(model.ir_version, QDQ_IR_VERSION)


def _drop_round_trips(model: Any) -> None:
    """Take out the casts to float16 and back that the converter puts between float32 nodes.

    They would round boxes to float16 all the same.
    """
    import onnx

    casts = {node.output[0]: node for node in model.graph.node if node.op_type == "Cast"}
    renamed = {}
    for name, node in casts.items():
        inner = casts.get(node.input[0])
        back = _cast_type(node) == onnx.TensorProto.FLOAT
        if back and inner is not None and _cast_type(inner) == onnx.TensorProto.FLOAT16:
            renamed[name] = inner.input[0]
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
    for output in model.graph.output:
        if output.name in renamed:
            _rename(model, renamed[output.name], output.name)
    drop_unused(model)
    del model.graph.value_info[:]


def _cast_type(cast: Any) -> int:
    return int(next(one.i for one in cast.attribute if one.name == "to"))


def _rename(model: Any, old: str, new: str) -> None:
    """Give tensor `old` the name `new`, whose own producer goes."""
    for node in [node for node in model.graph.node if new in node.output]:
        model.graph.node.remove(node)
    for node in model.graph.node:
        node.input[:] = [new if name == old else name for name in node.input]
        node.output[:] = [new if name == old else name for name in node.output]


def to_int8(model: Any, thresholds: Mapping[str, float], layers: Collection[str]) -> Any:
    """Explicit symmetric Q/DQ around the convolutions `layers`; the rest stays float32.

    `thresholds`: the magnitude of each layer's input tensor that becomes 127. Only inputs are
    quantized: SiLU follows each convolution, and its input wants a finer scale than its output. All
    scales are numbers that float16 has, so that `to_float16` changes none.
    """
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    if not layers:
        return copy.deepcopy(model)
    largest = {
        name: LARGEST * scale_of(thresholds[name]) for name in conv_inputs(model, layers).values()
    }
    ranges = {
        name: (np.array(-value, np.float32), np.array(value, np.float32))
        for name, value in largest.items()
    }
    with _quiet(), _lost_files_said(model):
        quantizer = QDQQuantizer(
            copy.deepcopy(model),
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QInt8,
            tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
            nodes_to_quantize=list(layers),
            nodes_to_exclude=[],
            op_types_to_quantize=["Conv"],
            extra_options={
                "ActivationSymmetric": True,
                "WeightSymmetric": True,
                "QuantizeBias": False,
                "OpTypesToExcludeOutputQuantization": ["Conv"],
            },
        )
        quantizer.quantize_model()
    quantized = _sorted(quantizer.model.model)
    _round_weight_scales(quantized, model)
    check_symmetric(quantized)
    return quantized


def scale_of(threshold: float) -> float:
    """The scale with which a magnitude of `threshold` becomes 127, as float16 has it. So to a
    thousandth: the last bits of an activation, which depend on the order in which a processor adds,
    change no file then."""
    return float(np.float16(max(threshold / LARGEST, SMALLEST_SCALE)))


def _round_weight_scales(quantized: Any, model: Any) -> None:
    """Quantize the weights again, by their scales as float16 has them."""
    from onnx import numpy_helper

    floats = {node.name: node.input[1] for node in model.graph.node if node.op_type == "Conv"}
    originals = {one.name: one for one in model.graph.initializer}
    values = {one.name: one for one in quantized.graph.initializer}
    made_by = {node.output[0]: node for node in quantized.graph.node}
    for node in quantized.graph.node:
        pair = made_by.get(node.input[1]) if node.op_type == "Conv" else None
        if pair is None or pair.op_type != "DequantizeLinear":
            continue
        weights = numpy_helper.to_array(originals[floats[node.name]])
        scales = numpy_helper.to_array(values[pair.input[1]])
        rounded = np.maximum(scales, SMALLEST_SCALE).astype(np.float16).astype(np.float32)
        levels = np.rint(weights / rounded[:, None, None, None]).clip(-LARGEST, LARGEST)
        for name, array in ((pair.input[0], levels.astype(np.int8)), (pair.input[1], rounded)):
            values[name].CopyFrom(numpy_helper.from_array(array, name))


def check_symmetric(model: Any) -> None:
    """Raise InputError unless all Q/DQ are int8 with zero point 0, as TensorRT demands."""
    import onnx

    values = {one.name: one for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        point = values[node.input[2]] if len(node.input) > 2 else None
        if point is None or point.data_type != onnx.TensorProto.INT8:
            raise InputError(f"Expected int8 with a zero point in {node.name}. Quantize again.")
        if onnx.numpy_helper.to_array(point).any():
            raise InputError(f"Expected zero point 0 in {node.name}. Quantize again.")


def _sorted(model: Any) -> Any:
    """The model with each node after those that it reads from, as ONNX demands."""
    from onnxruntime.quantization.onnx_model import ONNXModel

    wrapped = ONNXModel(model)
    wrapped.topological_sort()
    return wrapped.model


def quantizer_version() -> tuple[str, str]:
    """Name and version of what quantizes."""
    return "onnxruntime.quantization", version()


@contextlib.contextmanager
def own_temporary_files() -> Iterator[None]:
    """What ONNX Runtime's tools write among temporary files lies in a folder of ours, so that it
    goes where the process is killed. Of the whole process: for the main thread."""
    before = tempfile.tempdir
    with temporary_folder() as folder:
        tempfile.tempdir = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before


@contextlib.contextmanager
def _lost_files_said(model: Any) -> Iterator[None]:
    """Raise OSError where the disk of temporary files has no room for the model, and InputError
    where it lost it otherwise: ONNX's writer in C++ says nothing, and its reader then finds a part
    of a file, or none."""
    from google.protobuf.message import DecodeError

    try:
        yield
    except (FileNotFoundError, DecodeError) as error:
        place = Path(tempfile.gettempdir())
        # Twice: as it is, and with the shapes of its tensors.
        if shutil.disk_usage(place).free < 2 * model.ByteSize() + ROOM:
            full = errno.ENOSPC
            raise OSError(full, os.strerror(full), str(place)) from error
        raise InputError(
            f"Expected to read what ONNX Runtime had just written to {place}, but got: {error}. "
            "Look for a limit on the size of a file (`ulimit -f`), for what clears that folder, or "
            f"for what is wrong with the disk ({disk_of(place)}), or name another folder with "
            "TMPDIR. Then run the same command again."
        ) from error


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the prints and warnings of ONNX Runtime's tools, which users cannot act on."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
