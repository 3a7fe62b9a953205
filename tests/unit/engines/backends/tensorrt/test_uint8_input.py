from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from engines.backends.tensorrt.uint8_input import PREFIX, with_uint8_input
from engines.errors import InputError

IMGSZ = (64, 96)


def _run(model: bytes, images: Any) -> Any:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})[0]


@pytest.mark.parametrize("batch", [1, 2, 5, 8])
def test_computes_what_the_network_does(
    tiny_onnx: Path, pictures: Any, expected: Any, batch: int
) -> None:
    """Float32 differs in the last bit alone: times 1/255 here, divided by 255 there."""
    found = _run(with_uint8_input(tiny_onnx, IMGSZ), pictures[:batch])
    np.testing.assert_allclose(found, expected(pictures[:batch]), rtol=1e-5, atol=1e-6)


def test_every_pixel_value_and_channel(tmp_path: Path) -> None:
    """A network that gives back what it takes: the preprocessing alone."""
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    pixels = np.roll(pixels, 5, axis=1) + np.array([0, 50, 100], np.uint8)
    found = _run(with_uint8_input(_echo(tmp_path / "echo.onnx", (16, 16)), (16, 16)), pixels)
    assert found.dtype == np.float32
    assert found.shape == (1, 3, 16, 16)
    for channel, plane in enumerate((2, 1, 0)):
        wanted = pixels[0, :, :, plane].astype(np.float32) / 255
        np.testing.assert_array_max_ulp(found[0, channel], wanted, maxulp=1)
    assert found.min() >= 0
    assert found.max() == 1


def test_the_input_is_all_that_changes(tiny_onnx: Path) -> None:
    before, after = onnx.load(tiny_onnx), onnx.load_from_string(with_uint8_input(tiny_onnx, IMGSZ))
    onnx.checker.check_model(after, full_check=True)
    tensor = after.graph.input[0].type.tensor_type
    assert [axis.dim_param or axis.dim_value for axis in tensor.shape.dim] == ["batch", 64, 96, 3]
    assert tensor.elem_type == TensorProto.UINT8
    assert list(after.graph.output) == list(before.graph.output)
    assert len(after.graph.node) == len(before.graph.node) + 4
    ours = [node for node in after.graph.node if node.name.startswith(PREFIX)]
    assert [node.op_type for node in ours] == ["Cast", "Transpose", "Gather", "Mul"]
    kept = {tensor.name: tensor for tensor in after.graph.initializer}
    assert all(kept[tensor.name] == tensor for tensor in before.graph.initializer)


def test_every_user_of_the_input_reads_the_picture(tmp_path: Path) -> None:
    """YOLOv8 has one; a network with two must not read bytes in the other."""
    path = _echo(tmp_path / "echo.onnx", (16, 16))
    model = onnx.load(path)
    model.graph.node.append(helper.make_node("Mul", ["images", "images"], ["square"]))
    model.graph.node.append(helper.make_node("Add", ["square", "output0"], ["sum"]))
    model.graph.output[0].name = "sum"
    onnx.save(model, path)
    pixels = np.full((1, 16, 16, 3), 51, np.uint8)
    found = _run(with_uint8_input(path, (16, 16)), pixels)
    np.testing.assert_allclose(found, 0.2 + 0.2**2, rtol=1e-6)


def test_the_file_stays_as_it_was(tiny_onnx: Path) -> None:
    before = tiny_onnx.read_bytes()
    assert with_uint8_input(tiny_onnx, IMGSZ) == with_uint8_input(tiny_onnx, IMGSZ)
    assert tiny_onnx.read_bytes() == before


class TestRefuses:
    @pytest.mark.parametrize("content", [b"\x08\x01 this is not a graph", b"\xff" * 100])
    def test_what_is_not_onnx(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "model.fp32.onnx"
        path.write_bytes(content)
        with pytest.raises(InputError, match="Expected an ONNX file: .*model.fp32.onnx.*`pipeline"):
            with_uint8_input(path, IMGSZ)

    def test_an_empty_file(self, tmp_path: Path) -> None:
        """Which is a message of protobuf, with nothing in it."""
        path = tmp_path / "model.fp32.onnx"
        path.write_bytes(b"")
        with pytest.raises(InputError, match="expected one input named images, got none"):
            with_uint8_input(path, IMGSZ)

    def test_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="none.onnx cannot be read"):
            with_uint8_input(tmp_path / "none.onnx", IMGSZ)

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
    def test_a_file_that_is_cut_off(self, tiny_onnx: Path, tmp_path: Path, share: float) -> None:
        whole = tiny_onnx.read_bytes()
        path = tmp_path / "model.fp32.onnx"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(InputError, match="cannot be read"):
            with_uint8_input(path, IMGSZ)

    @pytest.mark.parametrize("imgsz", [(96, 64), (64, 64), (640, 640)])
    def test_another_image_size(self, tiny_onnx: Path, imgsz: tuple[int, int]) -> None:
        with pytest.raises(InputError, match=rf"shape \(batch, 3, {imgsz[0]}, {imgsz[1]}\) like"):
            with_uint8_input(tiny_onnx, imgsz)

    def test_another_input_name(
        self, make_tiny_network: Callable[..., Path], tmp_path: Path
    ) -> None:
        path = make_tiny_network(tmp_path / "other.onnx", input_name="x")
        with pytest.raises(InputError, match="expected one input named images, got x"):
            with_uint8_input(path, IMGSZ)

    def test_two_inputs(self, tiny_onnx: Path, tmp_path: Path) -> None:
        model = onnx.load(tiny_onnx)
        model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
        onnx.save(model, tmp_path / "two.onnx")
        with pytest.raises(InputError, match="expected one input named images, got images, more"):
            with_uint8_input(tmp_path / "two.onnx", IMGSZ)

    def test_an_input_that_is_float16(self, tiny_onnx: Path, tmp_path: Path) -> None:
        model = onnx.load(tiny_onnx)
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        onnx.save(model, tmp_path / "half.onnx")
        with pytest.raises(InputError, match="as float32 of shape .*, got float16"):
            with_uint8_input(tmp_path / "half.onnx", IMGSZ)

    def test_what_it_made_itself(self, tiny_onnx: Path, tmp_path: Path) -> None:
        path = tmp_path / "again.onnx"
        path.write_bytes(with_uint8_input(tiny_onnx, IMGSZ))
        with pytest.raises(InputError, match="as float32 of shape .*, got uint8"):
            with_uint8_input(path, IMGSZ)


def _echo(path: Path, imgsz: tuple[int, int]) -> Path:
    shape = ["batch", 3, *imgsz]
    graph = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["output0"])],
        "echo",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, shape)],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path
