"""Float16 Q/DQ as quantize writes it, and the float32 that TensorRT 8.6 and OpenVINO get of it."""

from __future__ import annotations

import copy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.backends.float32 import has_float16_qdq, to_float32
from engines.backends.tensorrt.uint8_input import with_uint8_input
from pipeline.onnx import onnx_file
from pipeline.onnx.head import find_head
from pipeline.onnx.quantizer import to_float16, to_int8
from pipeline.onnx.session import OnnxModel


@pytest.fixture(scope="module")
def int8(tiny_onnx: Path) -> Any:
    """The tiny network with two of its convolutions in INT8, the rest in float32."""
    model = onnx_file.read_onnx(tiny_onnx)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"/{node.op_type}_{number}"
    return to_int8(model, {"images": 0.9, "f": 3.3}, ["stem", "score"])


@pytest.fixture(scope="module")
def half(int8: Any) -> Any:
    """What quantize writes."""
    return to_float16(int8, find_head(int8))


def values(model: Any) -> dict[str, np.ndarray]:
    return {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}


def kinds(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_what_is_not_int8_is_float16_but_for_the_decode(half: Any) -> None:
    onnx.checker.check_model(half, full_check=True)
    assert half.opset_import[0].version == 19
    assert has_float16_qdq(half)
    types = {name: array.dtype for name, array in values(half).items()}
    assert types["box"] == np.float16
    assert types["scale"] == types["dfl"] == np.float32
    names = values(half).keys()
    assert {types[name] for name in names if name.endswith("_scale")} == {np.dtype(np.float16)}
    assert types["stem_quantized"] == np.int8
    for value in (*half.graph.input, *half.graph.output):
        assert value.type.tensor_type.elem_type == TensorProto.FLOAT


def test_no_scale_changes_on_the_way_to_float16(int8: Any, half: Any) -> None:
    after = values(half)
    scales = {name: array for name, array in values(int8).items() if name.endswith("_scale")}
    assert len(scales) == 4
    for name, array in scales.items():
        np.testing.assert_array_equal(after[name].astype(np.float32), array)


def test_weights_fit_the_rounded_scales(int8: Any, tiny_onnx: Path) -> None:
    """Half a step at most from the float weights, and the largest of each channel at 127."""
    weights, found = values(onnx.load(str(tiny_onnx)))["stem"], values(int8)
    scales = found["stem_scale"][:, None, None, None]
    apart = np.abs(found["stem_quantized"] * scales - weights)
    assert (apart <= 0.56 * scales).all()
    assert (np.abs(found["stem_quantized"]).reshape(16, -1).max(axis=1) >= 126).all()


def test_weights_that_are_all_but_zero(tiny_onnx: Path) -> None:
    model = onnx_file.read_onnx(tiny_onnx)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"/{node.op_type}_{number}"
    (stem,) = (one for one in model.graph.initializer if one.name == "stem")
    weights = numpy_helper.to_array(stem).copy()
    weights[0], weights[1] = 0, 1e-7 * weights[1]
    stem.CopyFrom(numpy_helper.from_array(weights, "stem"))
    found = values(to_float16(to_int8(model, {"images": 1e-9}, ["stem"]), find_head(model)))
    assert not found["stem_quantized"][:2].any()
    assert (found["stem_scale"] > 0).all()
    assert found["images_scale"] > 0


def test_back_in_float32(int8: Any, half: Any, pictures: Any) -> None:
    back = copy.deepcopy(half)
    to_float32(back)
    onnx.checker.check_model(back, full_check=True)
    assert not has_float16_qdq(back)
    assert back.opset_import[0].version == 17
    assert kinds(back) == kinds(int8)
    assert "Cast" not in kinds(back)
    assert all(array.dtype != np.float16 for array in values(back).values())
    expected = OnnxModel(int8.SerializeToString()).run(pictures)
    found = OnnxModel(back.SerializeToString()).run(pictures)
    # The weights and biases that stay float were rounded to float16.
    np.testing.assert_allclose(found[:, 4:], expected[:, 4:], atol=2e-3)


def test_a_cast_that_is_an_output_stays(half: Any) -> None:
    model = copy.deepcopy(half)
    model.graph.node.append(
        helper.make_node("Cast", ["f"], ["more"], name="more", to=TensorProto.FLOAT)
    )
    model.graph.output.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, None))
    to_float32(model)
    assert kinds(model)["Cast"] == 1
    OnnxModel(model.SerializeToString())


def test_other_files_have_none(tiny_onnx: Path, int8: Any) -> None:
    assert not has_float16_qdq(onnx.load(str(tiny_onnx)))
    assert not has_float16_qdq(int8)


def test_tensorrt_8_6_gets_float32(half: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.int8.onnx"
    onnx.save(half, str(path))
    kept = onnx.load_from_string(with_uint8_input(path, (64, 96)))
    assert has_float16_qdq(kept)
    old = onnx.load_from_string(with_uint8_input(path, (64, 96), float16_qdq=False))
    assert not has_float16_qdq(old)
    assert old.opset_import[0].version == 17
    assert [node.op_type for node in old.graph.node].count("Cast") == 1  # that of the pixels
    assert onnx.load(str(path)) == half
