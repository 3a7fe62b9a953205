"""A soak: its windows and its hot end on given times, and the real harness for some seconds."""

from __future__ import annotations

import math
import re
import shutil
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from engines.config.workspace import Workspace
from engines.errors import Conflict, InputError, JetrailError
from engines.machine.fingerprint import read_fingerprint
from engines.measure.neighbours import Limits
from engines.measure.sampler import StateSampler
from engines.process.lock import device_lock
from engines.records.benchmark import Benchmark, CrossCheck, Latency, MachineState
from pipeline.latency import pytest_benchmark
from pipeline.latency.harness.plan import SOAK, BenchmarkPlan
from pipeline.latency.harness.soak import Frames, run_frames, soak, window_seconds, windows
from pipeline.latency.pytest_benchmark import measure
from pipeline.steps.benchmark import benchmark
from pipeline.steps.build import build
from pipeline.steps.probe import probe

REPOSITORY = Path(__file__).parents[4]
TARGET, ENGINE = "x86-openvino", "tiny-fp32"

STATE = MachineState(
    steal_share=None,
    others_share=None,
    run_queue_wait_share=None,
    drift_share=0,
    clock_min_mhz=None,
    clock_max_mhz=None,
    throttle_events=7,
    temperature_max_c=None,
    over_current_events=2,
    throttle_reasons=("gpu-throttle-alert",),
)


@pytest.fixture
def sampler(tmp_path: Path) -> StateSampler:
    """Of a machine that says nothing."""
    with StateSampler(tmp_path, cpus=[0]) as found:
        return found


def steady(times_s: list[float], seconds: float | None = None) -> Frames:
    """Frames one after the other."""
    starts = np.concatenate([[0.0], np.cumsum(times_s)[:-1]])
    whole = math.fsum(times_s) if seconds is None else seconds
    return Frames(begun=0.0, starts=starts, times=np.array(times_s), seconds=whole)


def test_a_device_that_gets_slow_is_seen_in_the_windows_and_at_the_end(
    sampler: StateSampler,
) -> None:
    frames = steady([0.015] * 4000 + [0.040] * 1500)  # 60 s cool, then 60 s throttled
    found = soak(frames, sampler, STATE)
    assert found.minutes == pytest.approx(2)
    assert [round(one.p50_ms) for one in found.windows] == [15] * 5 + [40] * 5
    assert [one.start_s for one in found.windows] == [12 * n for n in range(10)]
    assert (found.hot.p50_ms, found.hot.count) == (pytest.approx(40), 1000)
    assert (found.throttle_events, found.over_current_events) == (7, 2)
    assert found.throttle_reasons == ("gpu-throttle-alert",)


@pytest.mark.parametrize(("minutes", "seconds"), [(0.05, 0.3), (1, 6), (5, 30), (10, 30), (60, 30)])
def test_a_window_is_a_tenth_or_half_a_minute(minutes: float, seconds: float) -> None:
    assert window_seconds(60 * minutes) == pytest.approx(seconds)


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=60), st.floats(0.5, 1.0, exclude_max=True)
)
def test_every_frame_is_in_one_window(times_s: list[float], share: float) -> None:
    frames = steady(times_s, seconds=math.fsum(times_s[:-1]) + share * times_s[-1])
    with StateSampler(Path("/nonexistent"), cpus=[0]) as sampler:
        pass
    found = windows(frames, sampler)
    assert sum(one.count for one in found) == len(times_s)
    assert [one.start_s for one in found] == sorted({one.start_s for one in found})
    hot = soak(frames, sampler, STATE).hot
    assert 1 <= hot.count <= len(times_s)


def test_a_frame_longer_than_the_soak_is_measured_still(sampler: StateSampler) -> None:
    found = soak(steady([2.0], seconds=0.1), sampler, STATE)
    assert (found.hot.count, found.hot.p99_ms) == (1, 2000)


def test_windows_hold_what_was_read_in_them(tmp_path: Path) -> None:
    tree = Path(__file__).parents[3] / "documented" / "jetson" / "orin-nx-16gb"
    with StateSampler(tree, cpus=[0], gpu=True) as sampler:
        frames = run_frames(lambda: time.sleep(0.01), 0.4, lambda seconds, times: None)
    found = windows(frames, sampler)
    clocks = {one.gpu_clock_min_mhz for one in found}
    assert clocks <= {306.0, None}
    assert 306.0 in clocks
    assert {one.temperature_max_c for one in found} <= {52.312, None}
    assert any(one.power_mean_w == pytest.approx(7.62432) for one in found)


def test_frames_run_for_the_time_and_progress_is_told() -> None:
    told: list[tuple[float, Latency]] = []
    frames = run_frames(
        lambda: time.sleep(0.002), 0.2, lambda seconds, times: told.append((seconds, times))
    )
    assert 0 < len(frames.times) <= 100
    assert frames.starts[0] == 0
    assert frames.starts[-1] < 0.2 <= frames.starts[-1] + frames.times[-1]
    assert 1 <= len(told) <= 10
    assert sum(times.count for _, times in told) <= len(frames.times)


def test_one_frame_runs_in_no_time_at_all() -> None:
    assert len(run_frames(lambda: None, 1e-9, lambda seconds, times: None).times) == 1


# --- for real ----------------------------------------------------------------------------------

MODEL = """\
schema: 1
name: tiny
version: '1.0'
task: detect
weights: {path: weights.pt, sha256: '%s'}
imgsz: [64, 96]
classes: [bolt, nut, washer]
data: {calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}
""" % ("1" * 64)
QUICK = {"warmup_seconds": 0.02, "seconds": 0.05, "max_seconds": 0.05, "max_attempts": 1}


def _pictures(folder: Path) -> None:
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        picture = random.integers(0, 256, (80, 100, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "images" / f"{number}.png"), picture)
        (folder / "labels" / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.5\n")


@pytest.fixture
def built(tmp_path: Path, tiny_onnx: Path) -> Workspace:
    """A repository with the tiny model, built for the target x86-openvino."""
    workspace = Workspace(root=tmp_path / "repository")
    workspace.target(TARGET).mkdir(parents=True)
    workspace.model_out("tiny").mkdir(parents=True)
    (workspace.root / "dvc.yaml").touch()
    (workspace.model("tiny") / "model.yaml").write_text(MODEL)
    _pictures(workspace.model("tiny") / "data" / "evaluation")
    shutil.copy(tiny_onnx, workspace.model_out("tiny") / "model.fp32.onnx")
    yaml = YAML()
    row = yaml.load((REPOSITORY / "engines/targets" / TARGET / "params.yaml").read_text())
    row["benchmark"] |= QUICK
    row["engines"] = {ENGINE: {"model": "tiny", "precision": "fp32"}}
    yaml.dump(row, workspace.target(TARGET) / "params.yaml")
    probe(workspace, TARGET)
    build(workspace, TARGET, ENGINE)
    return workspace


def test_a_soak_of_seconds_on_a_real_engine(
    built: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    found = benchmark(built, TARGET, ENGINE, soak_minutes=0.05)
    assert found == Benchmark.read(built.engine(TARGET, ENGINE).path / "benchmark.json")
    assert found.soak is not None
    assert found.soak.minutes == pytest.approx(0.05)
    assert 1 <= len(found.soak.windows) <= 10
    assert sum(one.count for one in found.soak.windows) > found.soak.hot.count >= 1
    assert found.machine.gpu_clock_max_mhz is None
    assert found.cross_check is None
    # The ordinary measurements are still there, and the soak is not among them.
    raw = (built.engine(TARGET, ENGINE).path / "pytest-benchmark.json").read_text()
    assert set(re.findall(r'"name": "(test_\w+)', raw)) == {
        "test_inference",
        "test_frame",
        "test_throughput",
    }
    assert re.search(r"soak tiny-fp32: [\d.]+ of 3 s, p99 [\d.]+ ms", capfd.readouterr().err)


def test_a_cross_check_of_another_backend_is_refused_before_anything_is_measured(
    built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.latency.attempts.measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(InputError, match=r"TensorRT.*--cross-check"):
        benchmark(built, TARGET, ENGINE, cross_check=True)
    assert not (built.engine(TARGET, ENGINE).path / "benchmark.json").exists()


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stands in for trtexec, which is there and refuses the plan; what it was asked."""
    asked: list[str] = []

    def refuse(*_: Any) -> CrossCheck:
        asked.append("cross_check")
        raise JetrailError("trtexec broke")

    ours = "pipeline.steps.benchmark"
    monkeypatch.setattr(f"{ours}.with_cross_check", refuse)
    monkeypatch.setattr(f"{ours}.trtexec_tool.find", lambda package: Path("trtexec"))
    monkeypatch.setattr(f"{ours}.trtexec.arguments", lambda tool, manifest: ())
    monkeypatch.setattr(f"{ours}.trtexec_tool.probe", lambda path: asked.append("probe"))
    return asked


def test_a_cross_check_that_fails_loses_nothing_of_what_was_measured(
    built: Workspace, tool: list[str]
) -> None:
    with pytest.raises(JetrailError, match="trtexec broke"):
        benchmark(built, TARGET, ENGINE, soak_minutes=0.05, cross_check=True)
    assert tool == ["probe", "cross_check"]
    folder = built.engine(TARGET, ENGINE).path
    found = Benchmark.read(folder / "benchmark.json")
    assert (found.cross_check, found.soak) == (None, None)
    assert set(found.frame) == {"1", "4"}
    assert found.device == read_fingerprint()
    assert (folder / "pytest-benchmark.json").is_file()
    assert (folder.parent / "latency" / f"{ENGINE}.csv").is_file()


def test_a_tool_that_does_not_start_is_told_before_anything_is_measured(
    built: Workspace, tool: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> None:
        raise JetrailError(f"{path} does not start")

    monkeypatch.setattr("pipeline.steps.benchmark.trtexec_tool.probe", broken)
    monkeypatch.setattr("pipeline.latency.attempts.measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(JetrailError, match="does not start"):
        benchmark(built, TARGET, ENGINE, cross_check=True)


@pytest.mark.parametrize("minutes", [-1, math.nan, math.inf])
def test_what_is_no_number_of_minutes(built: Workspace, minutes: float) -> None:
    with pytest.raises(InputError, match="in minutes, 0 for none"):
        benchmark(built, TARGET, ENGINE, soak_minutes=minutes)


def test_a_device_that_is_taken_is_not_measured(
    built: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        device_lock("pipeline build other-fp16"),
        pytest.raises(Conflict, match="pipeline build other-fp16"),
    ):
        benchmark(built, TARGET, ENGINE)
    assert not (built.engine(TARGET, ENGINE).path / "benchmark.json").exists()


PLAN = BenchmarkPlan(
    tests=SOAK,
    engine_folder=Path("not-there"),
    frames=(),
    frame_size=(90, 160),
    batches=(1,),
    in_flight=(2,),
    warmup_seconds=0.05,
    seconds=0.1,
    max_seconds=1,
    p99_interval_share=1.0,
    drift_share=1.0,
    limits=Limits(steal_share=1, others_share=1, wait_share=1),
    gpu=False,
    soak_seconds=1,
)


def test_a_harness_that_fails_says_why(built: Workspace, tmp_path: Path) -> None:
    plan = PLAN.model_copy(update={"engine_folder": tmp_path / "not-there"})
    with pytest.raises(JetrailError, match=r"(?s)the harness ended with 1:.*not-there"):
        measure(plan, tmp_path)


HARNESS = """
import os

def test_it(benchmark):
    if benchmark is None:
        raise MemoryError("bad_alloc")
    {wanted}
"""


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ("raise BlockingIOError(11, 'Resource temporarily unavailable')", BlockingIOError),
        ("raise RuntimeError('could not create a primitive: not enough memory')", MemoryError),
        ("raise ValueError('another')", JetrailError),
        ("print('terminate: std::bad_alloc', flush=True); os.abort()", MemoryError),
        ("print('Resource temporarily unavailable', flush=True); os.abort()", BlockingIOError),
        ("os.kill(os.getpid(), 9)", MemoryError),
        ("os.kill(os.getpid(), 15)", MemoryError),
    ],
)
def test_a_harness_that_lacks_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, kind: type[Exception]
) -> None:
    """The code that pytest shows around an error names errors that did not happen."""
    harness = tmp_path / "bench_engine.py"
    harness.write_text(HARNESS.format(wanted=wanted))
    monkeypatch.setattr(pytest_benchmark, "HARNESS", harness)
    plan = PLAN.model_copy(update={"tests": ("test_it",), "engine_folder": tmp_path})
    with pytest.raises(kind):
        measure(plan, tmp_path)
