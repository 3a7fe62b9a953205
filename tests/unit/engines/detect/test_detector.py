from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.backends.loading import load_engine
from engines.detect.decode import decode
from engines.detect.detections import Detections
from engines.detect.detector import Detector
from engines.detect.letterbox import letterbox
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint
from engines.records.thresholds import Thresholds

THRESHOLDS = Thresholds(confidence=0.3, iou=0.7, max_detections=50)


@pytest.fixture(params=[1, 3])
def detector(built_engine: Path, request: pytest.FixtureRequest) -> Iterator[Detector]:
    device = read_fingerprint()
    with Detector.open(
        built_engine, device, in_flight=request.param, thresholds=THRESHOLDS
    ) as opened:
        yield opened


@pytest.fixture
def frames() -> list[Any]:
    """Ten camera frames of three sizes: more than a batch and more than the slots."""
    random = np.random.default_rng(5)
    sizes = [(120, 160), (64, 96), (90, 50)]
    return [
        random.integers(0, 256, (*sizes[n % 3], 3), dtype=np.uint8) // (1 + n % 4)
        for n in range(10)
    ]


def _same(one: Detections, other: Detections) -> None:
    np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
    np.testing.assert_allclose(one.confidences, other.confidences, atol=1e-5)
    assert one.classes.tolist() == other.classes.tolist()


def _by_hand(folder: Path, frame: Any) -> Detections:
    manifest, session = load_engine(folder, read_fingerprint())
    out = np.zeros((1, *manifest.imgsz, 3), np.uint8)
    placement = letterbox(frame, manifest.imgsz, out[0])
    session.input(0, 1)[:] = out
    session.start(0)
    found = decode(session.wait(0)[0], placement, **THRESHOLDS.model_dump(exclude={"per_class"}))
    session.close()
    return found


def test_whole_frames(detector: Detector, built_engine: Path, frames: list[Any]) -> None:
    found = detector.detect(frames)
    assert len(found) == len(frames)
    assert sum(map(len, found)) > len(frames)
    for frame, one in zip(frames, found, strict=True):
        _same(one, _by_hand(built_engine, frame))
        assert (one.boxes[:, 0::2] <= frame.shape[1]).all()
        assert (one.boxes[:, 1::2] <= frame.shape[0]).all()


def test_stream_gives_the_same_in_order(detector: Detector, frames: list[Any]) -> None:
    expected = [detector.detect([frame])[0] for frame in frames]
    for _ in range(2):
        for one, other in zip(detector.stream(iter(frames)), expected, strict=True):
            _same(one, other)


def test_stream_takes_no_more_frames_than_it_has_slots(
    detector: Detector, frames: list[Any]
) -> None:
    taken = []

    def camera() -> Iterator[Any]:
        for number, frame in enumerate(frames):
            taken.append(number)
            yield frame

    stream = detector.stream(camera())
    next(stream)
    assert len(taken) == detector.slots + 1


def test_a_stream_that_is_left_early_leaves_nothing_in_flight(
    detector: Detector, frames: list[Any]
) -> None:
    expected = detector.detect([frames[5]])[0]
    stream = detector.stream(frames)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    _same(detector.detect([frames[5]])[0], expected)
    _same(next(iter(detector.stream([frames[5]]))), expected)


def test_no_frames(detector: Detector) -> None:
    assert detector.detect([]) == []
    assert list(detector.stream([])) == []


def test_inference_alone_on_what_was_filled_in(detector: Detector, frames: list[Any]) -> None:
    detector.fill(frames[:2])
    raw = detector.infer()
    assert raw.shape == (2, 7, 96)
    assert np.array_equal(raw.copy(), detector.infer())


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (np.zeros((10, 10), np.uint8), r"uint8 of shape \(10, 10\)"),
        (np.zeros((10, 10, 4), np.uint8), r"uint8 of shape \(10, 10, 4\)"),
        (np.zeros((10, 10, 3), np.float32), "float32"),
        (np.zeros((0, 10, 3), np.uint8), r"\(0, 10, 3\)"),
        ([[1, 2, 3]], "list"),
        (None, "NoneType"),
    ],
)
def test_refuses_what_is_not_a_frame(detector: Detector, frame: Any, got: str) -> None:
    good = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(InputError, match=got):
        detector.detect([good, frame])
    with pytest.raises(InputError, match=got):
        list(detector.stream([good, frame]))
    assert len(detector.detect([good])) == 1


def test_multi_label_finds_no_fewer(built_engine: Path, frames: list[Any]) -> None:
    manifest, session = load_engine(built_engine, read_fingerprint())
    counts = []
    for multi_label in (False, True):
        with_it = Detector(
            session,
            manifest,
            thresholds=Thresholds(confidence=0.01, iou=0.7, max_detections=300),
            multi_label=multi_label,
        )
        counts.append(sum(map(len, with_it.detect(frames))))
    assert counts[0] < counts[1]
    session.close()
