"""golden.npz: what is written is read, and nothing else is taken for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import InputError
from pipeline.onnx.golden import Golden, make_golden, read_golden, write_golden


@pytest.fixture
def golden(tiny_onnx: Path, pictures: Any) -> Golden:
    model = tiny_onnx.read_bytes()
    return make_golden(pictures[:3], {"fp32": model, "fp16": model, "int8": model})


def test_is_read_as_it_was_written(golden: Golden, tmp_path: Path) -> None:
    path = tmp_path / "golden.npz"
    write_golden(golden, path)
    found = read_golden(path, "m")
    np.testing.assert_array_equal(found.frames, golden.frames)
    assert found.outputs.keys() == {"fp32", "fp16", "int8"}
    for precision, output in golden.outputs.items():
        assert output.shape == (3, 7, 96)
        np.testing.assert_array_equal(found.outputs[precision], output)
    before = path.read_bytes()
    write_golden(golden, path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"no archive", b"PK\x03\x04 cut off"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "golden.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="Make them with `pipeline quantize m`"):
        read_golden(path, "m")


def test_an_archive_without_one_of_the_files_is_refused(tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "golden.npz"
    write_golden(Golden(frames=golden.frames, outputs={"fp32": golden.outputs["fp32"]}), path)
    with pytest.raises(InputError, match="cannot be read"):
        read_golden(path, "m")
