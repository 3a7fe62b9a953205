"""Does the engine still find its golden boxes, and in time?"""

from __future__ import annotations

import sys
import threading
import time
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotInTime
from functools import partial
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from engines.detect.detector import Detector
from engines.detect.golden import Golden, compare
from engines.records.record import Part
from runtime.metrics import Cause, Metrics
from runtime.worker import Worker


class Health(Part):
    """What `/health/inference` answers, as JSON."""

    healthy: bool
    cause: Cause | None = None
    reason: str | None = None
    """A sentence, where it is not healthy."""
    latency_ms: float | None = None
    """Of this frame: pre-processing, engine, boxes."""
    objects: int | None = None
    """Golden boxes of the frame, all of which were found."""


class Examiner:
    """Has the engine look at one golden frame after the other.

    Who asks while it looks gets the same answer, so that no crowd keeps the engine from its work.
    """

    def __init__(
        self,
        worker: Worker,
        golden: Golden,
        metrics: Metrics,
        *,
        confidence: float | NDArray[np.float32],
        deadline_s: float,
    ) -> None:
        """`confidence` is the threshold, of all classes or of each."""
        self._worker = worker
        self._golden = golden
        self._metrics = metrics
        self._confidence = confidence
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._frames = cycle(golden.telling(confidence))
        self._look: Future[Health] | None = None
        self._since = 0.0
        self._late: Future[Health] | None = None
        self._said = True

    def examine(self) -> Health:
        """Look now. Returns within the deadline, whatever the engine does."""
        with self._lock:
            if self._look is None or self._look.done():
                self._since = time.monotonic()
                self._look = self._worker.run(partial(self._look_at, next(self._frames)))
            look, since = self._look, self._since
        try:
            health = look.result(max(0.0, since + self._deadline_s - time.monotonic()))
        except NotInTime:
            health = self._not_in_time(look, time.monotonic() - since)
        self._say(health)
        return health

    def _look_at(self, index: int, detector: Detector) -> Health:
        """By the worker: one frame, counted once, however many ask."""
        start = time.perf_counter()
        try:
            found = detector.detect([self._golden.frames[index]])[0]
        except Exception as error:  # noqa: BLE001 whatever an SDK raises, the pod is not healthy
            return self._unhealthy("failed", f"The engine failed: {error}")
        seconds = time.perf_counter() - start
        self._metrics.observe(seconds)
        comparison = compare(self._golden.found[index], found, self._confidence)
        if not comparison.same:
            return self._unhealthy(
                "other boxes",
                f"Of the {comparison.objects} golden boxes of frame {index} {comparison.missing} "
                f"are missing, and {comparison.unexpected} others are there",
            )
        return Health(healthy=True, latency_ms=round(seconds * 1e3, 3), objects=comparison.objects)

    def _not_in_time(self, look: Future[Health], seconds: float) -> Health:
        reason = (
            f"The engine has not answered for {seconds:.1f} s, "
            f"and {self._deadline_s:g} s are allowed"
        )
        with self._lock:
            again, self._late = self._late is look, look
        if again:
            return Health(healthy=False, cause="late", reason=reason)
        return self._unhealthy("late", reason)

    def _unhealthy(self, cause: Cause, reason: str) -> Health:
        self._metrics.count_error(cause)
        return Health(healthy=False, cause=cause, reason=reason)

    def _say(self, health: Health) -> None:
        """Each change on stderr, for the pod's log."""
        if health.healthy != self._said:
            self._said = health.healthy
            what = "healthy again" if health.healthy else f"not healthy: {health.reason}"
            print(f"runtime: {what}", file=sys.stderr, flush=True)
