"""CUDA's streams, graphs and events. Source: CUDA Driver API reference, "Stream Management"."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

from engines.backends.tensorrt.cuda import driver as cuda
from engines.errors import JetrailError

EVENTS_IN_FLIGHT = 8
"""Pairs of events that wait to be read: work queues up, so that the GPU never waits for Python."""


class Stream:
    """Work for the GPU, done in order."""

    def __init__(self) -> None:
        # Not the default stream's kind, which would wait for all others and could not be captured.
        self.handle = cuda.call(
            "cuStreamCreate", cuda.driver().CUstream_flags.CU_STREAM_NON_BLOCKING
        )

    def wait(self) -> None:
        """Return when all work is done."""
        cuda.call("cuStreamSynchronize", self.handle)

    def capture(self, work: Callable[[], object]) -> Graph | None:
        """What `work` hands to this stream, as a graph; nothing of it is done. None where it cannot
        be captured: then `work` raised JetrailError, or did what CUDA does not take in a capture.
        """
        # What other threads do meanwhile, other slots' allocations for example, is allowed.
        mode = cuda.driver().CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        cuda.call("cuStreamBeginCapture", self.handle, mode)
        failed = False
        try:
            work()
        except JetrailError:
            failed = True
        finally:
            # Always: the stream could not be used again.
            status, graph = cuda.driver().cuStreamEndCapture(self.handle)
        if status != cuda.driver().CUresult.CUDA_SUCCESS:
            return None
        try:
            return None if failed else Graph(graph)
        finally:
            cuda.call("cuGraphDestroy", graph)

    def close(self) -> None:
        cuda.call("cuStreamDestroy", self.handle)


class Graph:
    """Captured work, ready to be launched as a whole."""

    def __init__(self, graph: Any) -> None:
        """`graph` is the driver's; it may be destroyed afterwards."""
        self._executable = cuda.call("cuGraphInstantiate", graph, 0)

    def launch(self, stream: Stream) -> None:
        """Do all of it when the stream comes to it."""
        cuda.call("cuGraphLaunch", self._executable, stream.handle)

    def close(self) -> None:
        cuda.call("cuGraphExecDestroy", self._executable)


def times_ms(stream: Stream, work: Callable[[], object], rounds: int) -> Iterator[float]:
    """Milliseconds that the GPU takes for what `work` hands to the stream, `rounds` times, by a
    pair of events around each.

    The next rounds are handed over before one is done, as in trtexec: the time from the first event
    to the start of the work, when the GPU has nothing to do, is Python's and not the GPU's.
    """
    with ExitStack() as events:
        pairs = [(_event(events), _event(events)) for _ in range(EVENTS_IN_FLIGHT)]
        running: deque[tuple[Any, Any]] = deque()
        for number in range(rounds):
            if len(running) == len(pairs):
                yield _elapsed(*running.popleft())
            start, end = pairs[number % len(pairs)]
            cuda.call("cuEventRecord", start, stream.handle)
            work()
            cuda.call("cuEventRecord", end, stream.handle)
            running.append((start, end))
        while running:
            yield _elapsed(*running.popleft())


def _event(events: ExitStack) -> Any:
    event = cuda.call("cuEventCreate", 0)
    events.callback(cuda.call, "cuEventDestroy", event)
    return event


def _elapsed(start: Any, end: Any) -> float:
    cuda.call("cuEventSynchronize", end)
    return float(cuda.call("cuEventElapsedTime", start, end))
