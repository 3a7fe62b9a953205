"""The operating point: one confidence for all classes, or one of its own for some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from engines.backends.loading import load_engine
from engines.detect.detector import Detector
from engines.machine.fingerprint import read_fingerprint
from engines.records.thresholds import Thresholds

COMMON = {"confidence": 0.25, "iou": 0.7, "max_detections": 300}


def test_one_for_all_classes() -> None:
    assert Thresholds(**COMMON).confidences(["helmet", "vest"]) == 0.25


def test_one_of_its_own_for_some_classes() -> None:
    found = Thresholds(**COMMON, per_class={"vest": 0.5}).confidences(["helmet", "vest"])
    np.testing.assert_array_equal(found, np.array([0.25, 0.5], np.float32))


@pytest.mark.parametrize("wrong", [{"per_class": {"vest": 1.5}}, {"confidence": -0.1}])
def test_no_other_number(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Thresholds(**{**COMMON, **wrong})


def test_a_detector_takes_those_of_the_manifest(built_engine: Path) -> None:
    manifest, session = load_engine(built_engine, read_fingerprint())
    frames = [np.random.default_rng(1).integers(0, 256, (90, 120, 3), np.uint8)]
    every = Thresholds(confidence=0.0, iou=0.7, max_detections=300)
    (found,) = Detector(session, manifest, thresholds=every).detect(frames)
    assert len(set(found.classes.tolist())) > 1
    kept = manifest.classes[int(found.classes[0])]
    only_one = {name: 1.0 for name in manifest.classes if name != kept}
    strict = manifest.model_copy(
        update={"thresholds": every.model_copy(update={"per_class": only_one})}
    )
    (fewer,) = Detector(session, strict).detect(frames)
    assert set(fewer.classes.tolist()) == {int(found.classes[0])}
    session.close()
