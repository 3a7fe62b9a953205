"""What `to_int8` and `to_float16` make of a graph, and what they leave as it is."""

from __future__ import annotations

import errno
import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from engines.errors import InputError
from engines.files import TEMPORARY_PREFIX
from pipeline.onnx import quantizer
from pipeline.onnx.head import Head, find_head
from pipeline.onnx.quantizer import (
    LARGEST,
    SMALLEST_SCALE,
    Taps,
    check_symmetric,
    conv_inputs,
    own_temporary_files,
    quantizer_version,
    scale_of,
    to_float16,
    to_int8,
)
from pipeline.onnx.session import OnnxModel, planes
from tests.unit.pipeline.conftest import IMGSZ

IMAGES = np.random.default_rng(0).integers(0, 256, (2, *IMGSZ, 3), dtype=np.uint8)
THRESHOLD = 3.3


@pytest.fixture(scope="module")
def graph(export_once: Path) -> Any:
    return onnx.load(str(export_once))


@pytest.fixture(scope="module")
def head(graph: Any) -> Head:
    return find_head(graph)


@pytest.fixture(scope="module")
def thresholds(graph: Any, head: Head) -> dict[str, float]:
    """Another one for each tensor."""
    names = dict.fromkeys(conv_inputs(graph, head.body).values())
    return {name: THRESHOLD + 0.01 * number for number, name in enumerate(names)}


@pytest.fixture(scope="module")
def int8(graph: Any, head: Head, thresholds: dict[str, float]) -> Any:
    """Not to be changed."""
    return to_int8(graph, thresholds, head.body)


@pytest.mark.parametrize("written", [None, b"half"])
def test_a_disk_that_fills_up_while_onnx_writes(
    graph: Any,
    head: Head,
    thresholds: dict[str, float],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    written: bytes | None,
) -> None:
    """Its writer in C++ says nothing."""

    def infer(_: str, to: str) -> None:
        if written is not None:
            Path(to).write_bytes(written)

    monkeypatch.setattr(onnx.shape_inference, "infer_shapes_path", infer)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(InputError, match="Expected to read what ONNX Runtime had just written to"):
        to_int8(graph, thresholds, head.body)
    little = SimpleNamespace(free=graph.ByteSize())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: little)
    with pytest.raises(OSError, match="No space left on device") as raised:
        to_int8(graph, thresholds, head.body)
    assert raised.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())


def test_temporary_files_lie_in_a_folder_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with own_temporary_files():
        (folder,) = tmp_path.iterdir()
        assert tempfile.gettempdir() == str(folder)
        assert folder.name.startswith(TEMPORARY_PREFIX)
    assert tempfile.gettempdir() == str(tmp_path)
    assert not list(tmp_path.iterdir())


def values(model: Any) -> dict[str, Any]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def makers(model: Any) -> dict[str, Any]:
    return {name: node for node in model.graph.node for name in node.output}


def convolutions(model: Any) -> dict[str, Any]:
    return {node.name: node for node in model.graph.node if node.op_type == "Conv"}


# --- INT8 ----------------------------------------------------------------------------------------


def test_weights_have_a_scale_a_channel_and_all_127_steps(
    graph: Any, head: Head, int8: Any
) -> None:
    floats, found, made = values(graph), values(int8), makers(int8)
    originals = convolutions(graph)
    for name in head.body:
        pair = made[convolutions(int8)[name].input[1]]
        levels, scales, zeros = (found[one] for one in pair.input)
        weights = floats[originals[name].input[1]]
        largest = np.abs(weights).max(axis=(1, 2, 3)) / LARGEST
        assert (levels.dtype, zeros.dtype) == (np.int8, np.int8)
        assert not zeros.any()
        assert {one.name: one.i for one in pair.attribute} == {"axis": 0}
        np.testing.assert_allclose(scales, np.maximum(largest, SMALLEST_SCALE), rtol=2e-3)
        np.testing.assert_array_equal(scales, scales.astype(np.float16).astype(np.float32))
        wide = scales[:, None, None, None]
        np.testing.assert_array_equal(levels, np.rint(weights / wide).clip(-LARGEST, LARGEST))
        filled = np.abs(weights).max(axis=(1, 2, 3)) > LARGEST * SMALLEST_SCALE
        assert (np.abs(levels).max(axis=(1, 2, 3)) >= LARGEST - 1)[filled].all()


def test_a_weight_beyond_the_rounded_scale_is_cut_to_127(graph: Any, head: Head) -> None:
    """-128 has no partner of the other sign, and TensorRT does not use it."""
    changed = onnx.ModelProto()
    changed.CopyFrom(graph)
    layer = head.body[0]
    name = convolutions(graph)[layer].input[1]
    (held,) = [one for one in changed.graph.initializer if one.name == name]
    weights = numpy_helper.to_array(held).copy()
    # The scale, 1.0004, is 1.0 in float16: both ends lie outside then, by little and by much.
    weights[0] = 0
    weights[0, 0, 0, :2] = 127.05, -127.05
    held.CopyFrom(numpy_helper.from_array(weights, name))
    found = to_int8(changed, dict.fromkeys(conv_inputs(graph, [layer]).values(), 1.0), [layer])
    pair = makers(found)[convolutions(found)[layer].input[1]]
    levels = values(found)[pair.input[0]]
    assert values(found)[pair.input[1]][0] == 1.0
    assert (levels[0, 0, 0, :2].tolist(), int(levels.min())) == ([127, -127], -127)


def test_activations_have_the_scale_of_their_threshold(
    head: Head, int8: Any, thresholds: dict[str, float]
) -> None:
    found, made = values(int8), makers(int8)
    seen = set()
    for name in head.body:
        dequantize = made[convolutions(int8)[name].input[0]]
        quantize = made[dequantize.input[0]]
        assert (quantize.op_type, dequantize.op_type) == ("QuantizeLinear", "DequantizeLinear")
        scale, zero = (found[one] for one in quantize.input[1:])
        assert scale == np.float32(scale_of(thresholds[quantize.input[0]]))
        assert (zero.dtype, int(zero)) == (np.int8, 0)
        assert list(dequantize.input[1:]) == list(quantize.input[1:])
        seen.add(quantize.input[0])
    pairs = [node for node in int8.graph.node if node.op_type == "QuantizeLinear"]
    assert seen == set(thresholds)
    assert len(pairs) == len(seen)  # neighbours share one; no output is quantized


def test_biases_and_other_convolutions_stay_as_they_are(graph: Any, head: Head, int8: Any) -> None:
    floats, found, made = values(graph), values(int8), makers(int8)
    originals = convolutions(graph)
    for name, node in convolutions(int8).items():
        if len(node.input) > 2:
            assert node.input[2] not in made
            np.testing.assert_array_equal(found[node.input[2]], floats[originals[name].input[2]])
        if name not in head.body:
            assert list(node.input) == list(originals[name].input)
    reads = {name for node in int8.graph.node for name in node.input}
    assert set(found) <= reads


def test_nodes_are_in_order_and_the_file_runs(int8: Any, graph: Any) -> None:
    known = {one.name for one in (*int8.graph.input, *int8.graph.initializer)} | {""}
    for node in int8.graph.node:
        assert set(node.input) <= known, node.name
        known |= set(node.output)
    expected = OnnxModel(graph.SerializeToString()).run(IMAGES)
    apart = np.abs(OnnxModel(int8.SerializeToString()).run(IMAGES) - expected)
    assert 0 < apart[:, 4:].mean() < 0.1


def test_without_layers_nothing_changes(graph: Any) -> None:
    before = graph.SerializeToString(deterministic=True)
    found = to_int8(graph, {}, [])
    assert found is not graph
    assert found.SerializeToString(deterministic=True) == before


def test_the_graph_that_is_given_stays(
    graph: Any, head: Head, thresholds: dict[str, float]
) -> None:
    before = graph.SerializeToString(deterministic=True)
    to_float16(to_int8(graph, thresholds, head.body), head)
    to_float16(graph, head)
    Taps(graph, head.body)
    assert graph.SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("threshold", [1e-9, 1e-3, 0.278, 3.3, 1000.0])
def test_scales_are_numbers_that_float16_has(threshold: float) -> None:
    scale = scale_of(threshold)
    assert scale == float(np.float16(scale))
    assert scale == pytest.approx(max(threshold / 127, 2.0**-14), rel=5e-4)


# --- what TensorRT demands -----------------------------------------------------------------------


def with_point(model: Any, value: Any) -> Any:
    """The model with another zero point in its first pair."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    first = next(node for node in changed.graph.node if node.op_type == "QuantizeLinear")
    (point,) = [one for one in changed.graph.initializer if one.name == first.input[2]]
    point.CopyFrom(numpy_helper.from_array(np.asarray(value), point.name))
    return changed


def without_point(model: Any) -> Any:
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    first = next(node for node in changed.graph.node if node.op_type == "DequantizeLinear")
    del first.input[2]
    return changed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: with_point(model, np.uint8(0)), "Expected int8 with a zero point in "),
        (lambda model: with_point(model, np.int8(3)), "Expected zero point 0 in "),
        (without_point, "Expected int8 with a zero point in "),
    ],
)
def test_other_pairs_are_refused(int8: Any, change: Callable[[Any], Any], said: str) -> None:
    check_symmetric(int8)
    with pytest.raises(InputError, match=said):
        check_symmetric(change(int8))


# --- float16 -------------------------------------------------------------------------------------


def element_types(model: Any) -> dict[str, int]:
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = (*inferred.value_info, *inferred.input, *inferred.output)
    return {one.name: one.type.tensor_type.elem_type for one in found}


@pytest.mark.parametrize("quantized", [False, True])
def test_float16_up_to_the_head_and_float32_after_it(
    graph: Any, head: Head, int8: Any, quantized: bool
) -> None:
    found = to_float16(int8 if quantized else graph, head)
    types = element_types(found)
    assert types["images"] == types["output0"] == TensorProto.FLOAT
    for node in found.graph.node:
        if node.op_type == "Cast":
            continue
        kinds = {types[name] for name in node.output}
        if node.op_type == "QuantizeLinear" or node.name.endswith("_weight_DequantizeLinear"):
            continue
        wanted = TensorProto.FLOAT if node.name in head.decode else TensorProto.FLOAT16
        assert kinds == {wanted}, node.name
    (opset,) = [one.version for one in found.opset_import if one.domain in ("", "ai.onnx")]
    assert (opset, found.ir_version >= 9) == ((19, True) if quantized else (17, False))
    assert not found.graph.value_info
    onnx.checker.check_model(found, full_check=True)


def test_no_box_passes_through_float16_in_the_decode(graph: Any, head: Head) -> None:
    """Casts to float16 and back between two float32 nodes are taken out."""
    found = to_float16(graph, head)
    made = makers(found)
    casts = [node for node in found.graph.node if node.op_type == "Cast"]
    for node in casts:
        inner = made.get(node.input[0])
        assert inner is None or inner.op_type != "Cast"
    assert len(casts) == 7  # the input's, and one for each output of the head
    reads = {name for node in found.graph.node for name in node.input}
    outputs = {one.name for one in found.graph.output}
    for node in found.graph.node:
        assert set(node.output) & (reads | outputs), f"{node.name} is read by none"
    assert outputs == {"output0"}


def test_float16_computes_nearly_the_same(graph: Any, head: Head) -> None:
    expected = OnnxModel(graph.SerializeToString()).run(IMAGES)
    apart = np.abs(OnnxModel(to_float16(graph, head).SerializeToString()).run(IMAGES) - expected)
    assert 0 < apart[:, 4:].max() < 0.02
    assert 0 < np.median(apart[:, :4]) < 0.1


def test_what_is_int8_keeps_its_numbers_in_float16(int8: Any, head: Head) -> None:
    before, after = values(int8), values(to_float16(int8, head))
    kinds = ("QuantizeLinear", "DequantizeLinear")
    scales = {node.input[1] for node in int8.graph.node if node.op_type in kinds}
    assert scales
    for name in scales:
        np.testing.assert_array_equal(after[name].astype(np.float32), before[name])
    for name, array in before.items():
        if array.dtype == np.int8:
            np.testing.assert_array_equal(after[name], array)


# --- taps ----------------------------------------------------------------------------------------


def test_taps_give_what_each_convolution_reads(graph: Any, head: Head) -> None:
    layers = (head.body[0], head.body[5], *head.outputs[:1])
    taps = Taps(graph, layers)
    assert taps.tensors == {name: convolutions(graph)[name].input[0] for name in layers}
    found = taps.run(IMAGES)
    inputs = planes(IMAGES)
    np.testing.assert_array_equal(found.pop("images"), inputs)
    wider = onnx.ModelProto()
    wider.CopyFrom(graph)
    names = list(found)
    wider.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names
    )
    expected = OnnxModel(wider.SerializeToString()).fetch(inputs, names)
    for name, one in zip(names, expected, strict=True):
        np.testing.assert_array_equal(found[name], one)
    assert set(names) | {"images"} == {*taps.tensors.values(), "images"}


# --- ONNX Runtime's tools ------------------------------------------------------------------------


def test_their_prints_are_left_out_and_logging_is_as_before(
    graph: Any,
    head: Head,
    thresholds: dict[str, float],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def loud(self: Any) -> None:
        print("a print")
        logging.getLogger("onnxruntime").warning("a warning")
        raise RuntimeError("half way")

    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    monkeypatch.setattr(QDQQuantizer, "quantize_model", loud)
    with pytest.raises(RuntimeError, match="half way"):
        to_int8(graph, thresholds, head.body)
    assert logging.root.manager.disable == logging.NOTSET
    print("ours")
    assert capsys.readouterr().out == "ours\n"


def test_they_are_asked_for_symmetric_int8_by_name(
    graph: Any, head: Head, thresholds: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime 1.32 makes weights with a scale a channel symmetric whatever it is asked for; a
    later one may not."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    asked: dict[str, Any] = {}
    plain = QDQQuantizer.__init__

    def noted(self: Any, model: Any, **options: Any) -> None:
        asked.update(options)
        plain(self, model, **options)

    monkeypatch.setattr(QDQQuantizer, "__init__", noted)
    to_int8(graph, thresholds, head.body)
    more = asked["extra_options"]
    assert (more["WeightSymmetric"], more["ActivationSymmetric"]) == (True, True)
    assert (asked["per_channel"], asked["reduce_range"]) == (True, False)
    assert asked["weight_qType"] == asked["activation_qType"] == QuantType.QInt8


def test_who_quantizes_is_named() -> None:
    import onnxruntime

    assert quantizer_version() == ("onnxruntime.quantization", onnxruntime.__version__)
    assert set(quantizer.__all__) >= {"to_int8", "to_float16"}
