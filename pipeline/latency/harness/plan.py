"""What one process of `pipeline benchmark` is to measure: a file between it and the harness."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from engines.machine import ROOT
from engines.machine.sensors.reading import read_memory_used_mib
from engines.measure.neighbours import Limits
from engines.records.fingerprint import Fingerprint
from engines.records.record import Part, Record
from pipeline.latency.harness.timed import TimedDetector

PLAN_VARIABLE = "JETRAIL_BENCHMARK_PLAN"
"""Environment variable with the path of the plan; pytest has no better way to pass data in."""

LATENCY = ("TestLatency::test_frame", "TestLatency::test_inference")
THROUGHPUT = ("test_throughput",)
GPU_TIME = ("TestLatency::test_gpu_time",)
SOAK = ("TestLatency::test_soak",)
"""What the harness can measure, as pytest calls it."""


class SoakProgress(Part):
    """How a soak goes: said at each window's end."""

    seconds: float
    """That are over."""
    p99_ms: float
    """Of the last window."""


class BenchmarkPlan(Record):
    """Times are for each measurement."""

    written_by: ClassVar[str] = "pipeline benchmark"

    tests: tuple[str, ...]
    """What to measure, in this order."""
    engine_folder: Path
    frames: tuple[Path, ...]
    """Pictures that the camera frames are made from."""
    frame_size: tuple[int, int]
    """Height and width of a camera frame, in pixels."""
    batches: tuple[int, ...]
    in_flight: tuple[int, ...]
    warmup_seconds: float
    seconds: float
    """Quiet time that is wanted."""
    max_seconds: float
    """Time in all, quiet or not, settled or not."""
    p99_interval_share: float
    """How wide the 95 % interval of the p99 that has a budget may be, as a part of it."""
    drift_share: float
    """How far the medians of the first and the last third of the times may lie apart."""
    limits: Limits
    gpu: bool
    """Whether the engine runs on a GPU, which is watched then."""
    soak_seconds: float
    progress_fd: int | None = None
    """File descriptor of the pipe into which the harness writes a `SoakProgress` a line."""

    def open_detector(self, device: Fingerprint, *, in_flight: int) -> TimedDetector:
        """The plan's engine, as a pod opens it."""
        return TimedDetector.open(self.engine_folder, device, in_flight=in_flight)

    def used_memory_mib(self, device: Fingerprint) -> float | None:
        """What is taken of the machine's memory; None where the engine does not run on a GPU that
        shares it."""
        return read_memory_used_mib(ROOT) if self.gpu and device.unified_memory else None
