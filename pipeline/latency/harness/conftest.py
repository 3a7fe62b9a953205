"""Hands the plan of `pipeline benchmark` to the measurements (pytest's hooks must live here)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engines.machine.fingerprint import read_fingerprint
from pipeline.latency.harness.patience import Patience
from pipeline.latency.harness.plan import PLAN_VARIABLE, BenchmarkPlan
from pipeline.latency.harness.timed import TimedDetector


def _plan() -> BenchmarkPlan:
    return BenchmarkPlan.read(Path(os.environ[PLAN_VARIABLE]))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One measurement for each batch, and for each number of frames in flight."""
    for name, values in (("batch", _plan().batches), ("in_flight", _plan().in_flight)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)


@pytest.fixture(scope="session")
def plan() -> BenchmarkPlan:
    """What to measure, and for how long."""
    return _plan()


@pytest.fixture(scope="session")
def used_before(plan: BenchmarkPlan) -> float | None:
    """The machine's used memory in MiB before any engine is loaded, where that tells of engines."""
    return plan.used_memory_mib(read_fingerprint())


@pytest.fixture(scope="session")
def patience() -> Patience:
    """How long measurements may wait for quiet."""
    return Patience()


@pytest.fixture(scope="class")
def detector(plan: BenchmarkPlan, used_before: float | None) -> Iterator[TimedDetector]:
    """The engine as a pod loads it for the lowest latency."""
    with plan.open_detector(read_fingerprint(), in_flight=1) as detector:
        yield detector
