"""A released engine as MLflow loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.detect.pyfunc import COLUMNS, EngineModel

LOW = {"confidence": 0.01, "iou": 0.7, "max_detections": 300}


def test_the_thresholds_that_were_published_decide(built_engine: Path, pictures: Any) -> None:
    found = EngineModel(built_engine, LOW).predict(pictures[:2])
    assert list(found.columns) == list(COLUMNS)
    assert set(found["image"]) == {0, 1}
    middle = float(found["confidence"].median())
    fewer = EngineModel(built_engine, LOW | {"confidence": middle}).predict(pictures[:2])
    assert 0 < len(fewer) < len(found)
    assert fewer["confidence"].min() >= middle
    most = EngineModel(built_engine, LOW | {"max_detections": 1}).predict(pictures[:2])
    assert list(most["image"]) == [0, 1]
