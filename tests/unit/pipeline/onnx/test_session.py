"""ONNX Runtime as it is used: the same numbers on any machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.onnx.session import OnnxModel


def threads() -> int:
    """Of this process."""
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@pytest.mark.parametrize("portable", [True, False])
def test_a_model_starts_no_threads_of_its_own(tiny_onnx: Path, portable: bool) -> None:
    """With several, sums would be cut by how many there are."""
    content = tiny_onnx.read_bytes()
    OnnxModel(content)  # ONNX Runtime's own
    before = threads()
    model = OnnxModel(content, portable=portable)
    assert threads() == before
    several = OnnxModel(content, threads=3)
    assert threads() == before + 2
    del model, several
