"""ONNX Runtime for Linux tells a server of the models that it runs (from 1.29): not here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

RUNS = """\
import onnx
import onnx.helper as make
from pipeline.onnx.session import OnnxModel
shape = make.make_tensor_value_info("x", 1, [1]), make.make_tensor_value_info("y", 1, [1])
graph = make.make_graph([make.make_node("Relu", ["x"], ["y"])], "g", [shape[0]], [shape[1]])
opset = make.make_opsetid("", 17)
OnnxModel(make.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())
"""
SAID_ELSEWHERE = ("CI", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "GITLAB_CI")


def test_no_identity_and_no_events_are_written(tmp_path: Path) -> None:
    """They wait in the home folder for the moment when they are sent."""
    environment = {key: value for key, value in os.environ.items() if key not in SAID_ELSEWHERE}
    done = subprocess.run(
        [sys.executable, "-c", RUNS],
        env=environment | {"HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []
