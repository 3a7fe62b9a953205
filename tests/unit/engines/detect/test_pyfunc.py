"""A released engine as MLflow loads it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from engines.detect.pyfunc import COLUMNS, EngineModel, to_frames
from engines.errors import InputError

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


def test_without_opencv_it_is_said_how_to_install_it(
    built_engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(InputError, match="Run `pip install opencv-python-headless`"):
        EngineModel(built_engine, {})


def test_a_threshold_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^Expected thresholds in model_config: confidence: .*2"):
        EngineModel(tmp_path, {**LOW, "confidence": 2})


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(InputError, match=f"at 0 of the list in {path}, got a pipe or a device"):
            to_frames([path])


def test_a_large_picture_is_refused_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "wide.bmp"
    assert cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    content = bytearray(path.read_bytes())
    content[18:26] = (30_000).to_bytes(4, "little") * 2  # width and height
    path.write_bytes(content)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"at most 134 million pixels.*wide\.bmp .* pixels"):
        to_frames(str(path))


def test_a_tiff_of_16_bits_gives_its_high_bytes_as_where_accuracy_was_measured(
    tmp_path: Path,
) -> None:
    path = tmp_path / "deep.tif"
    deep = np.random.default_rng(3).integers(0, 65_535, (24, 32, 3), np.uint16)
    assert cv2.imwrite(str(path), deep)
    (picture,) = to_frames(path)
    assert (picture == deep >> 8).all()
