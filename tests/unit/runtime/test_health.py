"""Health is a real inference: a wedged, slow, failing or wrong engine is seen, and in time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engines.detect.detections import Detections
from engines.detect.golden import Golden, read_golden
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest
from runtime.health import Examiner
from runtime.metrics import Metrics
from runtime.trust import ExpectedRelease
from runtime.worker import Worker


class Engine:
    """Stands in for a detector: finds the golden boxes, unless a test says otherwise."""

    def __init__(self, golden: Golden, manifest: Manifest) -> None:
        self.manifest = manifest
        self.frames = {frame.tobytes(): n for n, frame in enumerate(golden.frames)}
        self.golden = golden
        self.looks: list[int] = []
        self.before: Callable[[], None] = lambda: None
        self.closed = False

    def detect(self, frames: list[Any]) -> list[Detections]:
        self.looks.append(self.frames[frames[0].tobytes()])
        self.before()
        return [self.golden.found[self.looks[-1]]]

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def engine(wanted: ExpectedRelease) -> Engine:
    folder = EngineFolder(wanted.folder)
    return Engine(read_golden(folder.golden), folder.read(Manifest))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.0", release="r", expected_version="1.0", gpu=False)


@pytest.fixture
def worker(engine: Engine) -> Iterator[Worker]:
    made = Worker(engine)  # type: ignore[arg-type]
    yield made
    made.close(0.1)


@pytest.fixture
def examiner(engine: Engine, worker: Worker, metrics: Metrics) -> Examiner:
    """Whose deadline a busy machine keeps too."""
    return Examiner(worker, engine.golden, metrics, confidence=0.25, deadline_s=60)


@pytest.fixture
def hurried(engine: Engine, worker: Worker, metrics: Metrics) -> Examiner:
    """For an engine that is late."""
    return Examiner(worker, engine.golden, metrics, confidence=0.25, deadline_s=0.3)


def counted(metrics: Metrics) -> dict[str, float]:
    """The errors by cause."""
    lines = metrics.text().decode().splitlines()
    found = (line.split('"') for line in lines if line.startswith("inference_errors_total{"))
    return {cause: float(value.removeprefix("} ")) for _, cause, value in found}


def test_every_golden_frame_has_its_turn(
    engine: Engine, examiner: Examiner, metrics: Metrics
) -> None:
    for _ in range(4):
        health = examiner.examine()
        assert health.healthy
        assert health.objects == 1
        assert health.latency_ms is not None
    assert engine.looks == [0, 1, 2, 0]
    assert set(counted(metrics).values()) == {0}


def test_a_frame_whose_boxes_may_be_missing_is_not_asked_about(
    engine: Engine, worker: Worker, metrics: Metrics
) -> None:
    engine.golden.found[1].confidences[:] = 0.29
    examiner = Examiner(worker, engine.golden, metrics, confidence=0.25, deadline_s=30)
    for _ in range(3):
        assert examiner.examine().healthy
    assert engine.looks == [0, 2, 0]


def test_an_engine_that_fails(engine: Engine, examiner: Examiner, metrics: Metrics) -> None:
    def fail() -> None:
        raise RuntimeError("CUDA_ERROR_OUT_OF_MEMORY")

    engine.before = fail
    health = examiner.examine()
    assert (health.healthy, health.cause) == (False, "failed")
    assert health.reason == "The engine failed: CUDA_ERROR_OUT_OF_MEMORY"
    assert counted(metrics) == {"failed": 1, "late": 0, "other boxes": 0}
    engine.before = lambda: None
    assert examiner.examine().healthy


def test_an_engine_that_finds_something_else(
    engine: Engine, examiner: Examiner, metrics: Metrics
) -> None:
    engine.golden = Golden(frames=engine.golden.frames, found=(Detections.empty(),) * 3)
    health = examiner.examine()
    assert (health.healthy, health.cause) == (False, "other boxes")
    assert health.reason is not None
    assert "Of the 1 golden boxes of frame 0 1 are missing" in health.reason
    assert counted(metrics)["other boxes"] == 1


def test_an_engine_that_never_answers(
    engine: Engine, worker: Worker, hurried: Examiner, metrics: Metrics
) -> None:
    """As a wedged driver does: each asker has an answer, and the process can end."""
    go_on = threading.Event()
    engine.before = lambda: bool(go_on.wait(60))  # type: ignore[assignment, return-value]
    began = time.monotonic()
    first = hurried.examine()
    assert time.monotonic() - began < 10
    assert (first.healthy, first.cause) == (False, "late")
    assert first.reason is not None
    assert "and 0.3 s are allowed" in first.reason
    began = time.monotonic()
    again = [hurried.examine() for _ in range(3)]
    assert time.monotonic() - began < 10
    assert {one.cause for one in again} == {"late"}
    assert len(engine.looks) == 1, "nothing is piled up behind it"
    assert counted(metrics)["late"] == 1
    assert not worker.close(0.05)
    go_on.set()
    assert worker.close(10)
    assert engine.closed


def test_an_engine_that_is_slow_recovers(engine: Engine, hurried: Examiner) -> None:
    go_on = threading.Event()
    engine.before = lambda: bool(go_on.wait(60))  # type: ignore[assignment, return-value]
    assert hurried.examine().cause == "late"
    go_on.set()
    engine.before = lambda: None
    end = time.monotonic() + 30
    while not hurried.examine().healthy:
        assert time.monotonic() < end


def test_many_who_ask_at_once_share_one_look(engine: Engine, worker: Worker) -> None:
    metrics = Metrics(version="1.0", release="r", expected_version=None, gpu=False)
    examiner = Examiner(worker, engine.golden, metrics, confidence=0.25, deadline_s=60)
    go_on = threading.Event()
    engine.before = lambda: bool(go_on.wait(60))  # type: ignore[assignment, return-value]
    healths: list[bool] = []
    threads = [
        threading.Thread(target=lambda: healths.append(examiner.examine().healthy))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    while not engine.looks:
        time.sleep(0.001)
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join()
    assert healths == [True] * 8
    assert len(engine.looks) < 8


def test_a_change_is_said_once(
    engine: Engine, examiner: Examiner, capsys: pytest.CaptureFixture[str]
) -> None:
    found = engine.golden
    for golden in (found, Golden(frames=found.frames, found=(Detections.empty(),) * 3)):
        engine.golden = golden
        examiner.examine()
        examiner.examine()
    engine.golden = found
    examiner.examine()
    lines = capsys.readouterr().err.splitlines()
    assert [line[:24] for line in lines] == ["runtime: not healthy: Of", "runtime: healthy again"]
