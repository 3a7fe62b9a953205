"""A backend that is broken on purpose: the verdict says that the builder or the processor did it.

For both backends and every precision; TensorRT's on stand-ins for a GPU.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from factories import records
from factories.sessions import run

from engines.backends.loading import load_engine
from engines.backends.openvino.session import OpenVINOSession
from engines.backends.tensorrt.session import TensorRTSession
from engines.machine.fingerprint import read_fingerprint
from engines.records.manifest import Manifest
from engines.records.record import Precision
from engines.records.verdict import Verdict
from pipeline.accuracy.onnx_shift import onnx_shift
from tests.unit.engines.conftest import only_10

PRECISIONS = pytest.mark.parametrize("precision", get_args(Precision))
LIMITS = {"fp32": 0.002, "fp16": 0.015, "int8": 0.05}
"""Of `onnx_shift`, as in the rows."""


def judged(folder: Path, precision: str, expected: Any, pictures: Any) -> Verdict:
    """The verdict on the engine in `folder`, after its raw outputs were compared with what ONNX
    Runtime makes of its file. The file's own drop is 0.003 mAP50-95, the engine's 0.106."""
    path = folder / Manifest.file
    Manifest.read(path).model_copy(update={"precision": precision}).write(path)
    manifest, session = load_engine(folder, read_fingerprint())
    found = np.concatenate([run(session, 0, one[None]).copy() for one in pictures[:4]])
    session.close()
    shift = onnx_shift(expected(pictures[:4]), found, 0.25, onnx_map50_95_drop=0.003)
    evaluation = records.evaluation(drop=0.106).model_copy(update={"onnx_shift": shift})
    budgets = records.BUDGETS.model_copy(
        update={"onnx_shift": LIMITS[precision], "map50_95_drop": 0.2}
    )
    return records.judge(manifest, records.benchmark(), evaluation, budgets)


def break_it(monkeypatch: pytest.MonkeyPatch, session: type) -> None:
    """All scores come out at 7/8: their order, and so mAP, stays."""
    wait = session.wait  # type: ignore[attr-defined]

    def broken(self: Any, slot: int) -> Any:
        raw = wait(self, slot).copy()
        raw[:, 4:] *= 0.875
        return raw

    monkeypatch.setattr(session, "wait", broken)


def check_named(verdict: Verdict, package: str) -> None:
    assert verdict.verdict == "FAIL"
    (missed,) = (check for check in verdict.checks if check.verdict == "FAIL")
    assert missed.name == "onnx_shift"
    assert (
        "The ONNX file's own drop is +0.0030 mAP50-95, the engine's +0.1060: the builder or the "
        "processor changed it"
    ) in missed.cause
    assert f"Build it with another version of {package} than " in missed.cause


@PRECISIONS
def test_openvino(
    engine_folder: Path,
    pictures: Any,
    expected: Any,
    monkeypatch: pytest.MonkeyPatch,
    precision: str,
) -> None:
    assert judged(engine_folder, precision, expected, pictures).verdict == "PASS"
    break_it(monkeypatch, OpenVINOSession)
    check_named(judged(engine_folder, precision, expected, pictures), "openvino")


@only_10
@PRECISIONS
def test_tensorrt(
    machine: Any, pictures: Any, expected: Any, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    machine.build()
    assert judged(machine.folder, precision, expected, pictures).verdict == "PASS"
    break_it(monkeypatch, TensorRTSession)
    check_named(judged(machine.folder, precision, expected, pictures), "tensorrt")
