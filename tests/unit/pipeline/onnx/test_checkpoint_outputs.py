"""checkpoint.npz: where it is damaged, verify asks the checkpoint itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.onnx.checkpoint_outputs import (
    CheckpointOutputs,
    read_checkpoint_outputs,
    write_checkpoint_outputs,
)

OUTPUTS = CheckpointOutputs(
    weights_sha256="a" * 64,
    pictures_sha256="b" * 64,
    runtimes={"torch": "2.13.0"},
    raw=np.zeros((4, 6, 21), np.float32),
)
METHOD, DEFLATED, OF_NONE = 10, 8, 99
"""Where the central directory of an archive has a member's method of compression."""


@pytest.mark.parametrize("method", [DEFLATED, OF_NONE])
def test_a_damaged_one_is_none(tmp_path: Path, method: int) -> None:
    path = tmp_path / "checkpoint.npz"
    write_checkpoint_outputs(OUTPUTS, path)
    assert read_checkpoint_outputs(path) is not None
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + METHOD] = method
    path.write_bytes(content)
    assert read_checkpoint_outputs(path) is None
