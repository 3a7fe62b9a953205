"""What Prometheus is told, under the names of docs/runtime.md that a pod without cameras knows.

What this machine does not say has no sample: a box without a GPU has no `gpu_…`.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from engines.machine import ROOT
from engines.machine.sensors import open_sensors
from engines.machine.sensors.reading import Reading, read_all
from runtime.memory import read_memory_percent

Cause = Literal["failed", "late", "other boxes"]
CAUSES: tuple[Cause, ...] = ("failed", "late", "other boxes")

WINDOW = 1000
"""Inferences that the p99 is of: the latest."""
BUCKETS_S = (0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Around the article's 15 ms, its 30 ms for real time, and the 40 ms of a hot Jetson."""
DATA = Path("/data")
"""Where a pod keeps events; without it the disk is that of the container's root."""


class Metrics:
    """Counts what happens, and reads the machine when it is asked."""

    def __init__(
        self,
        *,
        version: str,
        release: str,
        expected_version: str | None,
        gpu: bool,
        root: Path = ROOT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = CollectorRegistry()
        self._latest: deque[float] = deque(maxlen=WINDOW)
        self._lock = threading.Lock()
        self._latency = Histogram(
            "inference_latency_seconds",
            "One frame: pre-processing, inference, boxes",
            buckets=BUCKETS_S,
            registry=self._registry,
        )
        self._errors = Counter(
            "inference_errors",
            "Inferences that failed, were late, or found other boxes in a golden frame",
            ["cause"],
            registry=self._registry,
        )
        for cause in CAUSES:
            self._errors.labels(cause)
        self._name_versions(version, release, expected_version)
        start = clock()
        uptime = Gauge("uptime_seconds", "Since this process began", registry=self._registry)
        uptime.set_function(lambda: clock() - start)
        self._registry.register(_Machine(root, gpu=gpu, p99_ms=self._p99_ms))

    def observe(self, seconds: float) -> None:
        """One inference took so long."""
        self._latency.observe(seconds)
        with self._lock:
            self._latest.append(seconds)

    def count_error(self, cause: Cause) -> None:
        """One inference was none."""
        self._errors.labels(cause).inc()

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)

    def _name_versions(self, version: str, release: str, expected: str | None) -> None:
        """`model_version unless on (version) model_version_expected` is the alert."""
        has = Gauge(
            "model_version", "That runs here", ["version", "release"], registry=self._registry
        )
        has.labels(version, release).set(1)
        if expected is not None:
            wants = Gauge(
                "model_version_expected",
                "That this pod was told to run",
                ["version"],
                registry=self._registry,
            )
            wants.labels(expected).set(1)

    def _p99_ms(self) -> float | None:
        with self._lock:
            latest = np.array(self._latest)
        return float(np.percentile(latest, 99) * 1e3) if len(latest) else None


class _Machine(Collector):
    """Read anew for each scrape; what nobody knows is left out."""

    def __init__(self, root: Path, *, gpu: bool, p99_ms: Callable[[], float | None]) -> None:
        self._root = root
        self._gpu = gpu
        self._p99_ms = p99_ms
        self._sensors = open_sensors(root, os.sched_getaffinity(0), gpu=gpu)
        self._lock = threading.Lock()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """A gauge for each thing that is known."""
        for name, text, value in self._values():
            if value is not None:
                yield GaugeMetricFamily(name, text, value=value)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """None beforehand: which there are is seen at each scrape."""
        return []

    def _values(self) -> Iterator[tuple[str, str, float | None]]:
        yield "inference_latency_p99_ms", f"Of the latest {WINDOW} inferences", self._p99_ms()
        yield "memory_usage_percent", "Of the container's limit", read_memory_percent(self._root)
        yield "disk_usage_percent", "Of the disk that the pod writes to", _disk_percent(self._root)
        if self._gpu:
            with self._lock:
                reading = read_all(self._sensors)
            yield "gpu_utilization_percent", "Time that the GPU worked", reading.gpu_busy_percent
            yield "gpu_memory_used_mb", "By all programs", _megabytes(reading.gpu_memory_mib)
            yield "gpu_temperature_celsius", "Of the GPU", _gpu_temperature(reading)


def _gpu_temperature(reading: Reading) -> float | None:
    """A card's own; of a Jetson, whose GPU is one of its zones, the hottest zone."""
    if reading.gpu_temperature_c is not None:
        return reading.gpu_temperature_c
    return max(reading.temperatures_c, default=None)


def _megabytes(mib: float | None) -> float | None:
    return None if mib is None else mib * 2**20 / 1e6


def _disk_percent(root: Path) -> float | None:
    data = root / DATA.relative_to("/")
    try:
        usage = shutil.disk_usage(data if data.is_dir() else root)
    except OSError:
        return None
    return 100 * usage.used / usage.total if usage.total else None
