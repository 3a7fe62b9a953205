"""A command that is ended from outside: what does its work ends too, before the device is free."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from factories.processes import PATIENCE_SECONDS, runs, until

from engines.process.lock import device_lock

HARNESS = """
import os, time
from pathlib import Path

def work():
    folder = Path(__file__).parent
    (folder / "pid.new").write_text(str(os.getpid()))
    (folder / "pid.new").rename(folder / "pid")
    time.sleep(600)

def test_for_ever(benchmark):
    benchmark(work)
"""

COMMAND = """
import tempfile
from pathlib import Path

from engines.cli import app, reports_errors
from engines.process.lock import device_lock
from pipeline.latency import pytest_benchmark
from engines.measure.neighbours import Limits
from pipeline.latency.harness.plan import BenchmarkPlan

commands = app("")

@commands.command()
@reports_errors
def benchmark(folder: Path) -> None:
    pytest_benchmark.HARNESS = folder / "bench_engine.py"
    plan = BenchmarkPlan(
        tests=("test_for_ever",),
        engine_folder=folder,
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
    with (
        tempfile.TemporaryDirectory(dir=folder, prefix="scratch-") as scratch,
        device_lock("pipeline benchmark slow-fp16", folder),
    ):
        pytest_benchmark.measure(plan, Path(scratch))

commands()
"""


@pytest.fixture
def measuring(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A command that holds the device, and the process of its harness, which would never end."""
    (tmp_path / "bench_engine.py").write_text(HARNESS)
    command = subprocess.Popen([sys.executable, "-c", COMMAND, "benchmark", str(tmp_path)])
    assert until((tmp_path / "pid").exists)
    harness = int((tmp_path / "pid").read_text())
    yield command, harness
    command.kill()
    command.wait()
    with suppress(ProcessLookupError):
        os.kill(harness, signal.SIGKILL)


@pytest.mark.parametrize(
    ("number", "exit_status"), [(signal.SIGTERM, 143), (signal.SIGKILL, -signal.SIGKILL)]
)
def test_the_harness_ends_with_its_command(
    measuring: tuple[subprocess.Popen[bytes], int],
    tmp_path: Path,
    number: signal.Signals,
    exit_status: int,
) -> None:
    command, harness = measuring
    command.send_signal(number)
    assert command.wait(PATIENCE_SECONDS) == exit_status
    assert until(lambda: not runs(harness))
    with device_lock("pipeline build meter-int8", tmp_path):
        pass


def test_a_cancelled_command_cleans_up(
    measuring: tuple[subprocess.Popen[bytes], int], tmp_path: Path
) -> None:
    command, harness = measuring
    assert list(tmp_path.glob("scratch-*"))
    command.terminate()
    command.wait(PATIENCE_SECONDS)
    assert not list(tmp_path.glob("scratch-*"))
    assert not runs(harness)  # at once: the command waited for it


BUILD = """
import time

from engines.process.child import run_in_child
from engines.cli import app, reports_errors

commands = app("")

@commands.command()
@reports_errors
def build() -> None:
    run_in_child(time.sleep, 600, print)

commands()
"""


def test_a_cancelled_build_ends_its_builder() -> None:
    command = subprocess.Popen([sys.executable, "-c", BUILD, "build"])
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    # The resource tracker of multiprocessing, which ends by itself, and the builder.
    assert until(lambda: len(children.read_text().split()) == 2)
    started = [int(one) for one in children.read_text().split()]
    command.terminate()
    assert command.wait(PATIENCE_SECONDS) == 143
    assert until(lambda: not any(map(runs, started)))
