"""CUDA's driver API, as far as running an engine needs it: memory, a stream, events and graphs.

The driver API and not the runtime's: it comes with the driver, on a Jetson too, so that nothing
must fit the CUDA toolkit's version. It works in the primary context, which is TensorRT's as well.
Source: CUDA Driver API reference.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.errors import InputError, JetrailError, WrongEngine


def _driver() -> Any:
    from cuda.bindings import driver

    return driver


def call(name: str, *arguments: Any) -> Any:
    """Call the driver's function `name`; gives its value, or a tuple where it has several.

    Raises InputError when the GPU's memory is used up, JetrailError for all else that fails.
    """
    driver = _driver()
    status, *values = getattr(driver, name)(*arguments)
    if status != driver.CUresult.CUDA_SUCCESS:
        raise _failed(name, driver.CUresult(status).name)
    return values[0] if len(values) == 1 else tuple(values)


def _failed(function: str, status: str) -> JetrailError:
    if status == "CUDA_ERROR_OUT_OF_MEMORY":
        return InputError(
            f"Expected enough GPU memory to load the engine, but {function} says {status}. Stop "
            "other programs on the GPU, or lower `batch.max` in the target's params.yaml and build "
            "the engine again."
        )
    return JetrailError(
        f"Expected the GPU to do {function}, but the driver says {status}. Run the command again; "
        "if it says the same, reset the GPU or restart the device, and see `dmesg`."
    )


class Gpu:
    """The first GPU that CUDA shows, and its primary context."""

    def __init__(self) -> None:
        """Raises WrongEngine where there is no driver or no GPU."""
        try:
            call("cuInit", 0)
            self._device = call("cuDeviceGet", 0)
        except (ImportError, RuntimeError, OSError, JetrailError) as error:
            raise WrongEngine(
                f"Expected an NVIDIA GPU with its driver to run this engine, but: {error}. An "
                "engine is run and measured on its target's own device; `pipeline doctor` says "
                "what this machine is."
            ) from error
        self._context = call("cuDevicePrimaryCtxRetain", self._device)
        self.use()

    def use(self) -> None:
        """Make the context current in the calling thread."""
        call("cuCtxSetCurrent", self._context)

    def close(self) -> None:
        call("cuDevicePrimaryCtxRelease", self._device)


class Memory:
    """The same number of bytes twice: in pinned host memory, seen as an array, and on the GPU."""

    def __init__(self, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        self._bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._host = call("cuMemHostAlloc", self._bytes, 0)
        self._gpu = call("cuMemAlloc", self._bytes)
        raw = (ctypes.c_uint8 * self._bytes).from_address(int(self._host))
        self.array: NDArray[Any] = np.ctypeslib.as_array(raw).view(dtype).reshape(shape)
        self.array[...] = 0

    @property
    def address(self) -> int:
        """On the GPU."""
        return int(self._gpu)

    def upload(self, rows: int, stream: Stream) -> None:
        """Copy the first `rows` to the GPU when the stream comes to it."""
        call("cuMemcpyHtoDAsync", self._gpu, int(self._host), self._part(rows), stream.handle)

    def download(self, rows: int, stream: Stream) -> None:
        """Copy the first `rows` back when the stream comes to it."""
        call("cuMemcpyDtoHAsync", int(self._host), self._gpu, self._part(rows), stream.handle)

    def close(self) -> None:
        """Free both. The array must not be used afterwards."""
        self.array = np.empty(0, self.array.dtype)
        call("cuMemFree", self._gpu)
        call("cuMemFreeHost", int(self._host))

    def _part(self, rows: int) -> int:
        return self._bytes // len(self.array) * rows


class Stream:
    """Work for the GPU, done in order."""

    def __init__(self) -> None:
        driver = _driver()
        # Not the default stream's kind, which would wait for all others and could not be captured.
        self.handle = call("cuStreamCreate", driver.CUstream_flags.CU_STREAM_NON_BLOCKING)

    def wait(self) -> None:
        """Return when all work is done."""
        call("cuStreamSynchronize", self.handle)

    def capture(self, work: Callable[[], bool]) -> Graph | None:
        """What `work` hands to this stream as a graph; None where it cannot be captured, or `work`
        says that it failed."""
        driver = _driver()
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        call("cuStreamBeginCapture", self.handle, mode)
        done = False
        try:
            done = work()
        finally:
            # Even after a failure: the stream could not be used again.
            status, graph = driver.cuStreamEndCapture(self.handle)
        return Graph(graph) if done and status == driver.CUresult.CUDA_SUCCESS else None

    def close(self) -> None:
        call("cuStreamDestroy", self.handle)


class Graph:
    """Captured work, ready to be launched as a whole."""

    def __init__(self, graph: Any) -> None:
        self._executable = call("cuGraphInstantiate", graph, 0)
        call("cuGraphDestroy", graph)

    def launch(self, stream: Stream) -> None:
        call("cuGraphLaunch", self._executable, stream.handle)

    def close(self) -> None:
        call("cuGraphExecDestroy", self._executable)


@contextmanager
def stopwatch(stream: Stream) -> Iterator[Callable[[Callable[[], object]], float]]:
    """Yield a function that gives the milliseconds which the GPU takes for work on the stream."""
    start, end = call("cuEventCreate", 0), call("cuEventCreate", 0)

    def measure(work: Callable[[], object]) -> float:
        call("cuEventRecord", start, stream.handle)
        work()
        call("cuEventRecord", end, stream.handle)
        call("cuEventSynchronize", end)
        return float(call("cuEventElapsedTime", start, end))

    try:
        yield measure
    finally:
        call("cuEventDestroy", start)
        call("cuEventDestroy", end)
