"""Which engines are to be measured again."""

from __future__ import annotations

import shutil
from pathlib import Path

from engines.config.workspace import Workspace
from engines.records.record import VerdictName
from engines.records.verdict import Verdict
from pipeline.steps.report import invalid_engines

TARGETS = Path(__file__).parents[4] / "engines" / "targets"
TARGET = "x86-openvino"


def judged(workspace: Workspace, engine: str, verdict: VerdictName) -> Path:
    path = workspace.engine(TARGET, engine) / "verdict.json"
    Verdict(
        engine=engine, target=TARGET, engine_sha256="1" * 64, verdict=verdict, checks=(), reasons=()
    ).write(path)
    return path


def test_the_invalid_ones_are_named_whatever_the_others_are(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path)
    workspace.target(TARGET).mkdir(parents=True)
    shutil.copy(TARGETS / TARGET / "params.yaml", workspace.target(TARGET))
    assert invalid_engines(workspace, TARGET) == []  # nothing was measured yet

    judged(workspace, "meter-yolov8n-fp32", "FAIL")
    judged(workspace, "meter-yolov8n-fp16", "INVALID")
    judged(workspace, "no-longer-in-the-row", "INVALID")
    assert invalid_engines(workspace, TARGET) == ["meter-yolov8n-fp16"]

    judged(workspace, "meter-yolov8n-fp16", "INVALID").write_text("{")
    assert invalid_engines(workspace, TARGET) == []
