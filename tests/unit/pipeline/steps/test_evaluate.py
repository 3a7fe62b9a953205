"""Where accuracy is measured, and that nothing else uses the device meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from engines.config.workspace import Workspace
from engines.errors import Conflict, WrongEngine
from engines.process.lock import device_lock
from pipeline.steps.evaluate import evaluate

TARGETS = Path(__file__).parents[4] / "engines" / "targets"
ENGINE = "meter-yolov8n-fp16"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The rows of two targets and nothing else: this machine's, and one of a Jetson."""
    for name in ("x86-openvino", "jetson-orin-nx"):
        row = tmp_path / "engines" / "targets" / name / "params.yaml"
        row.parent.mkdir(parents=True)
        shutil.copyfile(TARGETS / name / "params.yaml", row)
    return Workspace(root=tmp_path)


def test_another_device_s_target_is_refused_by_name(workspace: Workspace) -> None:
    with pytest.raises(WrongEngine) as raised:
        evaluate(workspace, "jetson-orin-nx", ENGINE)
    message = str(raised.value)
    assert raised.value.exit_code == 5
    assert "Expected a device of target jetson-orin-nx" in message
    assert "`--target x86-openvino`" in message


def test_a_device_that_is_in_use_is_left_alone(workspace: Workspace) -> None:
    with (
        pytest.raises(Conflict) as raised,
        device_lock("pipeline build other-fp16"),
    ):
        evaluate(workspace, "x86-openvino", ENGINE)
    message = str(raised.value)
    assert raised.value.exit_code == 7
    assert f"`pipeline evaluate {ENGINE} --target x86-openvino`" in message
    assert "`pipeline build other-fp16`" in message
