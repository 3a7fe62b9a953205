"""What `pipeline list` says of the engines: the word that `release publish` would take."""

from __future__ import annotations

from pathlib import Path

import pytest

from engines.config.workspace import Workspace
from engines.records.manifest import Manifest
from pipeline.repository.listing import listed_models
from tests.factories.paper import TARGET, add_engine, edit, judge_again, lay_out

ENGINE = "meter-fp16"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace(root=tmp_path)
    lay_out(workspace)
    add_engine(workspace, "fp16")
    return workspace


def word(workspace: Workspace) -> str | None:
    (model,) = listed_models(workspace)
    return model.engines[TARGET]["fp16"]


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("verdict", ["PASS", "FAIL", "INVALID"])
def test_the_word_of_the_gate(workspace: Workspace, verdict: str) -> None:
    add_engine(workspace, "fp16", verdict=verdict)
    assert word(workspace) == verdict


def test_a_verdict_on_another_version_says_so(workspace: Workspace) -> None:
    change(workspace.model("meter") / "model.yaml", 'version: "1.0"', 'version: "1.1"')
    assert word(workspace) == "PASS of 1.0"


def test_none_on_other_weights(workspace: Workspace) -> None:
    change(workspace.model("meter") / "model.yaml", "a" * 64, "b" * 64)
    assert word(workspace) is None


def test_none_at_another_size(workspace: Workspace) -> None:
    change(workspace.model("meter") / "model.yaml", "[320, 320]", "[640, 640]")
    assert word(workspace) is None


def test_none_on_what_was_built_again_and_not_judged_since(workspace: Workspace) -> None:
    manifest = workspace.engine(TARGET, ENGINE).file(Manifest)
    edit(manifest, lambda content: content.update(backend_version="9"))
    assert word(workspace) is None
    judge_again(workspace, ENGINE)
    assert word(workspace) == "PASS"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("confidence: 0.25", "confidence: 0.2"),
        ("frame_size: [720, 1280]", "frame_size: [1080, 1920]"),
        ("opt: 4", "opt: 1"),
        ("frame_p99_ms: 30", "frame_p99_ms: 40"),
    ],
)
def test_none_by_a_row_that_was_edited_since(workspace: Workspace, old: str, new: str) -> None:
    change(workspace.target(TARGET) / "params.yaml", old, new)
    assert word(workspace) is None
