"""pytest-benchmark's process, and what is said of it where it ends badly."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.measure.neighbours import Limits
from pipeline.latency import pytest_benchmark
from pipeline.latency.harness.plan import BenchmarkPlan


def test_a_full_disk_on_which_the_harness_could_not_even_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = BenchmarkPlan(
        tests=("test_frame",),
        engine_folder=tmp_path,
        frames=(),
        frame_size=(90, 160),
        batches=(1,),
        in_flight=(2,),
        warmup_seconds=0,
        seconds=0,
        max_seconds=1,
        p99_interval_share=1.0,
        drift_share=1.0,
        limits=Limits(steal_share=1, others_share=1, wait_share=1),
        gpu=False,
        soak_seconds=0,
    )
    monkeypatch.setattr(pytest_benchmark, "HARNESS", tmp_path / "none.py")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    with pytest.raises(OSError, match="No space left") as raised:
        pytest_benchmark.measure(plan, tmp_path)
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path)
