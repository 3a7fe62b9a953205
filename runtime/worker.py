"""The one thread that uses the engine: others ask it, and need not wait for ever.

A wedged driver never returns from a call, and no thread can be ended from outside. So whoever asks
gives a deadline, and a thread that hangs is left to the end of the process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

from engines.detect.detector import Detector

Result = TypeVar("Result")


class Worker:
    """Owns a detector, which is not safe for use by several threads."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="engine", daemon=True)
        self._thread.start()

    def run(self, job: Callable[[Detector], Result]) -> Future[Result]:
        """Have the thread do `job` with the detector; wait for the future with a timeout."""
        future: Future[Result] = Future()

        def do() -> None:
            try:
                future.set_result(job(self._detector))
            except BaseException as error:  # noqa: BLE001 told to who asked
                future.set_exception(error)

        self._jobs.put(do)
        return future

    def close(self, timeout_s: float) -> bool:
        """Free the engine after the jobs that wait; whether that was done within the time."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._detector.close()
