"""A built engine against its own ONNX file: what the builder changed, the verdict says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends.openvino.session import OpenVINOSession
from engines.detect.detector import Detector
from engines.detect.golden import compare_all, read_golden
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint
from engines.records.evaluation import Evaluation
from engines.records.verdict import Verdict
from pipeline.steps.evaluate import evaluate
from pipeline.steps.gate import gate
from tests.integration.conftest import ENGINES, MODEL, SIDE, TARGET, Clone

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _in_the_clone(finished: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.root)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_computes_what_its_onnx_file_says(finished: Clone, engine: str) -> None:
    shift = finished.workspace.engine(TARGET, engine).read(Evaluation).onnx_shift
    assert shift.frames == 8
    assert shift.objects > 0
    assert shift.scores_mean < (0.001 if engine.endswith("fp32") else 0.05)
    assert shift.scores_mean <= shift.scores_max
    assert shift.boxes_mean_px <= shift.boxes_max_px
    if engine.endswith("fp32"):
        assert shift.onnx_map50_95_drop == 0


def test_a_backend_that_computes_something_else_fails_and_is_named(
    finished: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of its scores are halved, which no mAP can see."""
    engine = f"{MODEL}-fp32"
    before = finished.workspace.engine(TARGET, engine).read(Evaluation)
    wait = OpenVINOSession.wait

    def broken(self: OpenVINOSession, slot: int) -> Any:
        raw = wait(self, slot).copy()
        raw[:, 4:] /= 2
        return raw

    monkeypatch.setattr(OpenVINOSession, "wait", broken)
    found = evaluate(finished.workspace, TARGET, engine)
    assert found.map50_95 == pytest.approx(before.map50_95, abs=0.02)
    assert found.onnx_shift.scores_mean > 0.1
    verdict, _ = gate(finished.workspace, TARGET, engine)
    assert verdict.verdict == "FAIL"
    (missed,) = (check for check in verdict.checks if check.verdict == "FAIL")
    assert missed.name == "onnx_shift"
    assert "The ONNX file's own drop is +0.0000 mAP50-95, the engine's" in missed.cause
    assert "the builder or the processor changed it" in missed.cause
    junit = finished.workspace.engine(TARGET, engine).junit.read_text()
    assert "the builder or the processor changed it" in junit
    assert finished.workspace.engine(TARGET, engine).read(Verdict) == verdict


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_has_the_boxes_that_it_found(finished: Clone, engine: str) -> None:
    folder = finished.workspace.engine(TARGET, engine)
    golden = read_golden(folder.golden)
    assert golden.frames.shape == (8, SIDE, SIDE, 3)
    assert folder.sha256("golden.npz") == folder.read(Evaluation).golden_sha256
    with Detector.open(folder.path, read_fingerprint()) as detector:
        found = [detector.detect([frame])[0] for frame in golden.frames]
        confidence = detector.manifest.thresholds.confidence
    assert golden.objects > 8
    telling = golden.telling(confidence)
    assert folder.read(Evaluation).golden_telling == len(telling) > 0
    assert compare_all(golden, found, confidence).same


def test_without_golden_frames_quantize_is_named(finished: Clone) -> None:
    path = finished.workspace.golden(MODEL)
    path.unlink()
    _refused(finished, f"Expected {path} as `pipeline quantize` wrote it")


def test_golden_frames_that_were_changed_are_refused(finished: Clone) -> None:
    path = finished.workspace.golden(MODEL)
    content = dict(np.load(path))
    path.unlink()
    np.savez(path, **content | {"fp16": content["fp16"] + 1})
    _refused(finished, "but it is missing or another")


def test_an_older_quantize_json_is_refused(finished: Clone) -> None:
    path = finished.workspace.model_out(MODEL) / "quantize.json"
    lines = path.read_text().splitlines()
    _write(path, "\n".join(line for line in lines if "golden_sha256" not in line))
    _refused(finished, "golden_sha256: Field required")


def test_an_engine_of_another_onnx_file_is_refused(finished: Clone) -> None:
    path = finished.workspace.engine(TARGET, f"{MODEL}-fp16").path / "manifest.json"
    lines = path.read_text().splitlines()
    other = [f'    "onnx_sha256": "{"0" * 64}",' if "onnx_sha" in line else line for line in lines]
    _write(path, "\n".join(other))
    _refused(finished, f"of the ONNX file that {MODEL}-fp16 was built from, 000000000000, got")


def _write(path: Path, text: str) -> None:
    """As a new file: what DVC put there may be a link into its cache."""
    path.unlink()
    path.write_text(text)


def _refused(clone: Clone, said: str) -> None:
    with pytest.raises(InputError) as raised:
        evaluate(clone.workspace, TARGET, f"{MODEL}-fp16")
    assert said in str(raised.value)
    assert "pipeline quantize" in str(raised.value)


def test_the_report_says_what_ran(finished: Clone) -> None:
    said = " ".join(finished.run("pipeline", "report", "--exit-zero").split())
    assert f"{MODEL}-fp32: layers: fp32 " in said
    assert f"{MODEL}-int8: layers: int8 " in said
    assert "Q/DQ chains folded, weights of " in said
    assert "; OpenVINO's kind " in said
