"""golden.npz: what is written is read, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import InputError
from pipeline.onnx.golden import (
    LEAST_SCORE,
    GoldenOutputs,
    make_golden_outputs,
    read_golden_outputs,
    write_golden_outputs,
)
from pipeline.onnx.session import OnnxModel


@pytest.fixture
def golden(tiny_onnx: Path, pictures: Any) -> GoldenOutputs:
    model = tiny_onnx.read_bytes()
    return make_golden_outputs(pictures[:3], {"fp32": model, "fp16": model, "int8": model})


def test_is_read_as_it_was_written(golden: GoldenOutputs, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden_outputs(golden, path)
    found = read_golden_outputs(path, "m")
    np.testing.assert_array_equal(found.frames, golden.frames)
    assert found.outputs.keys() == {"fp32", "fp16", "int8"}
    for precision, output in golden.outputs.items():
        assert output.shape == (3, 7, 96)
        np.testing.assert_array_equal(found.outputs[precision], output)
    before = path.read_bytes()
    write_golden_outputs(golden, path)
    assert path.read_bytes() == before


def test_scores_that_nobody_looks_at_are_zeros(tiny_onnx: Path, pictures: Any) -> None:
    import onnx

    model = onnx.load(str(tiny_onnx))
    bias = onnx.numpy_helper.from_array(np.array([0, -9, -6.9], np.float32), "bias")
    (score,) = (node for node in model.graph.node if node.name == "score")
    score.input.append("bias")
    model.graph.initializer.append(bias)
    content = model.SerializeToString()
    raw = OnnxModel(content).run(pictures)
    kept = make_golden_outputs(pictures, {"fp32": content}).outputs["fp32"]
    low = raw < LEAST_SCORE
    low[:, :4] = False
    assert 0.3 < low[:, 4:].mean() < 0.7
    np.testing.assert_array_equal(kept[~low], raw[~low])
    assert not kept[low].any()


def test_a_large_network_needs_little_room(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    raw = np.zeros((8, 84, 8400), np.float32)
    raw[:, :4] = random.uniform(0, 640, (8, 4, 8400))
    raw[:, 4:, ::200] = random.uniform(0, 1, (8, 80, 42))
    frames = random.integers(0, 256, (8, 640, 640, 3), dtype=np.uint8)
    write_golden_outputs(
        GoldenOutputs(frames=frames, outputs=dict.fromkeys(("fp32", "fp16", "int8"), raw)),
        tmp_path / "golden.npz",
    )
    assert (tmp_path / "golden.npz").stat().st_size < 20 << 20


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "golden.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="Make them with `pipeline quantize m`"):
        read_golden_outputs(path, "m")


def test_an_archive_without_one_of_the_files_is_refused(
    tmp_path: Path, golden: GoldenOutputs
) -> None:
    path = tmp_path / "golden.npz"
    write_golden_outputs(
        GoldenOutputs(frames=golden.frames, outputs={"fp32": golden.outputs["fp32"]}), path
    )
    with pytest.raises(InputError, match="cannot be read"):
        read_golden_outputs(path, "m")
