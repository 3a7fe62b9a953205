"""A stand-in for `cuda.bindings.driver`, for machines without a GPU.

No real device has confirmed that it behaves as one does. It was written after the CUDA Driver API
reference, and errs on the strict side:

- Device memory is memory of its own, at addresses that nothing on the host can be read from.
- Streams queue their work and do it when somebody waits for them, so that a missing wait, or memory
  that was freed or filled anew too early, shows in the results or as an error that stays.
- A capture records and does nothing; what may not be done in one invalidates it.
- Calls need a current context in their thread, and memory has a budget.

Its clock runs by the work that is done, in milliseconds: copies and kernels say what they cost.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

COPY_MS = 0.25
KERNEL_MS = 1.0
DEVICE_BEGIN = 0x7F0000000000
ALIGNMENT = 512


class CUresult(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_INVALID_VALUE = 1
    CUDA_ERROR_OUT_OF_MEMORY = 2
    CUDA_ERROR_NOT_INITIALIZED = 3
    CUDA_ERROR_NO_DEVICE = 100
    CUDA_ERROR_INVALID_CONTEXT = 201
    CUDA_ERROR_INVALID_HANDLE = 400
    CUDA_ERROR_ILLEGAL_STATE = 401
    CUDA_ERROR_NOT_READY = 600
    CUDA_ERROR_ILLEGAL_ADDRESS = 700
    CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE = 708
    CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED = 900
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901
    CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD = 908


class CUstream_flags(IntEnum):  # noqa: N801
    CU_STREAM_DEFAULT = 0
    CU_STREAM_NON_BLOCKING = 1


class CUstreamCaptureMode(IntEnum):
    CU_STREAM_CAPTURE_MODE_GLOBAL = 0
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1
    CU_STREAM_CAPTURE_MODE_RELAXED = 2


class Refused(Exception):
    """A call that gives a status other than success."""

    def __init__(self, status: CUresult) -> None:
        super().__init__(status.name)
        self.status = status


class Handle:
    """What the bindings give for streams, graphs, events and contexts: an object with an int()."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __int__(self) -> int:
        return self._number


@dataclass
class Work:
    """One thing for the GPU to do."""

    run: Callable[[], None]
    cost_ms: float


Kernel = Callable[["Driver", int], Callable[[], None]]
"""Given the driver and the address of the array of pointers to its arguments, which it must read at
once, what the kernel then does."""


@dataclass
class FakeStream:
    queue: deque[Work] = field(default_factory=deque)
    capture: list[Work] | None = None
    capturer: int = 0
    mode: Any = None
    invalid: bool = False


@dataclass
class FakeEvent:
    stream: FakeStream | None = None
    pending: int = 0
    time_ms: float = 0.0


def _function(*, unsafe: bool = False, context: bool = True) -> Any:
    """A driver function: its status first, then its value. `unsafe`: not in a capture."""

    def wrap(body: Callable[..., Any]) -> Any:
        name = body.__name__

        def call(self: Driver, *arguments: Any) -> tuple[Any, ...]:
            with self.lock:
                self.calls[name] += 1
                try:
                    self._before(name, unsafe=unsafe, context=context)
                    value = body(self, *arguments)
                except Refused as refused:
                    return (refused.status, None)
            values = () if value is None else value if isinstance(value, tuple) else (value,)
            return (CUresult.CUDA_SUCCESS, *values)

        call.__name__ = name
        call.__wrapped__ = body  # type: ignore[attr-defined]
        return call

    return wrap


class Driver:
    """One GPU with `memory_bytes` for device and pinned memory together."""

    CUresult = CUresult
    CUstream_flags = CUstream_flags
    CUstreamCaptureMode = CUstreamCaptureMode

    def __init__(self, memory_bytes: int = 1 << 30) -> None:
        self.lock = threading.RLock()
        self.memory_bytes = memory_bytes
        self.calls: Counter[str] = Counter()
        self.failing: dict[str, tuple[int, CUresult]] = {}
        """Function to how many calls of it still succeed, and what the next ones say."""
        self.clock_ms = 0.0
        self.device: dict[int, Any] = {}
        self.host: dict[int, Any] = {}
        self.streams: dict[int, FakeStream] = {}
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.events: dict[int, FakeEvent] = {}
        self.retained = 0
        self.context_flags = 0
        self.version = 13_000
        self.kernels: dict[bytes, Kernel] = {}
        """Function of a module to what it does, for tests that launch one of their own."""
        self.functions: dict[int, Kernel] = {}
        self._freed: list[Any] = []
        self._sticky: CUresult | None = None
        self._numbers = 0x1000
        self._next = DEVICE_BEGIN
        self._thread = threading.local()

    # --- for tests -------------------------------------------------------------------------------

    def fail(self, function: str, status: str, *, after: int = 0) -> None:
        """Let calls of `function` give `status`, when `after` more of them succeeded."""
        self.failing[function] = (after, CUresult[status])

    def heal(self) -> None:
        self.failing.clear()

    def leaks(self) -> dict[str, int]:
        """What was made and not freed."""
        counts = {
            "device": len(self.device),
            "host": len(self.host),
            "streams": len(self.streams),
            "graphs": len(self.graphs),
            "executables": len(self.executables),
            "events": len(self.events),
            "contexts": self.retained,
        }
        return {kind: count for kind, count in counts.items() if count}

    def used_bytes(self) -> int:
        return sum(len(block) for block in (*self.device.values(), *self.host.values()))

    # --- for what stands in for TensorRT ----------------------------------------------------------

    def allocate(self, size: int) -> int:
        """As the CUDA runtime inside TensorRT does, which needs no current context."""
        with self.lock:
            if self.used_bytes() + size > self.memory_bytes:
                raise Refused(CUresult.CUDA_ERROR_OUT_OF_MEMORY)
            address, self._next = self._next, self._next + -(-size // ALIGNMENT) * ALIGNMENT
            self._next += ALIGNMENT  # nothing lies close to something else
            self.device[address] = np.full(size, 0xA5, np.uint8)
            return address

    def free(self, address: int) -> None:
        with self.lock:
            if address not in self.device:
                raise Refused(CUresult.CUDA_ERROR_INVALID_VALUE)
            del self.device[address]

    def at(self, address: int, size: int) -> Any:
        """Device memory; an error that stays where it is not allocated."""
        for begin, block in self.device.items():
            if begin <= address and address + size <= begin + len(block):
                return block[address - begin : address - begin + size]
        raise Refused(CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)

    def submit(self, stream: Any, run: Callable[[], None], cost_ms: float) -> None:
        """Queue work, or record it where the stream is being captured."""
        with self.lock:
            found = self._stream(stream)
            if found.capture is None:
                found.queue.append(Work(run, cost_ms))
            elif found.invalid:
                raise Refused(CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
            else:
                found.capture.append(Work(run, cost_ms))

    def is_capturing(self, stream: Any) -> bool:
        return self._stream(stream).capture is not None

    def invalidate(self, stream: Any) -> None:
        self._stream(stream).invalid = True

    # --- the driver API, in the order of its reference -----------------------------------------

    @_function(context=False)
    def cuInit(self, flags: int) -> None:  # noqa: N802
        _check(flags == 0)

    @_function(context=False)
    def cuDriverGetVersion(self) -> int:  # noqa: N802
        return self.version

    @_function(context=False)
    def cuDeviceGet(self, ordinal: int) -> Any:  # noqa: N802
        _check(ordinal == 0)
        return Handle(0)

    @_function(context=False)
    def cuDevicePrimaryCtxGetState(self, dev: Any) -> tuple[int, int]:  # noqa: N802
        return self.context_flags, int(self.retained > 0)

    @_function(context=False)
    def cuDevicePrimaryCtxSetFlags(self, dev: Any, flags: int) -> None:  # noqa: N802
        # Before CUDA 11; newer ones change the flags under whoever has the context.
        _check(self.retained == 0, CUresult.CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE)
        _check(flags & 7 in (0, 1, 2, 4))
        self.context_flags = flags

    @_function(context=False)
    def cuDevicePrimaryCtxRetain(self, dev: Any) -> Any:  # noqa: N802
        self.retained += 1
        return Handle(0xC0)

    @_function(context=False)
    def cuDevicePrimaryCtxRelease(self, dev: Any) -> None:  # noqa: N802
        _check(self.retained > 0, CUresult.CUDA_ERROR_INVALID_CONTEXT)
        self.retained -= 1

    @_function(context=False)
    def cuCtxSetCurrent(self, ctx: Any) -> None:  # noqa: N802
        _check(self.retained > 0, CUresult.CUDA_ERROR_INVALID_CONTEXT)
        self._thread.context = int(ctx)

    @_function()
    def cuModuleLoadData(self, image: bytes) -> Any:  # noqa: N802
        _check(image.endswith(b"\0"))
        return Handle(0x70)

    @_function()
    def cuModuleGetFunction(self, hmod: Any, name: bytes) -> Any:  # noqa: N802
        _check(name in self.kernels)
        return self._new(self.functions, self.kernels[name])

    @_function()
    def cuModuleUnload(self, hmod: Any) -> None:  # noqa: N802
        self.functions.clear()

    @_function()
    def cuMemGetInfo(self) -> tuple[int, int]:  # noqa: N802
        return self.memory_bytes - self.used_bytes(), self.memory_bytes

    @_function()
    def cuLaunchKernel(  # noqa: N802
        self,
        f: Any,
        grid_x: int,
        grid_y: int,
        grid_z: int,
        block_x: int,
        block_y: int,
        block_z: int,
        shared_bytes: int,
        h_stream: Any,
        kernel_params: int,
        extra: int,
    ) -> None:
        _check(min(grid_x, grid_y, grid_z, block_x, block_y, block_z) > 0 and extra == 0)
        work = self._find(self.functions, f)(self, kernel_params)
        self.submit(h_stream, work, KERNEL_MS)

    @_function(unsafe=True)
    def cuMemAlloc(self, bytesize: int) -> Any:  # noqa: N802
        _check(bytesize > 0)
        return Handle(self.allocate(bytesize))

    @_function(unsafe=True)
    def cuMemFree(self, dptr: Any) -> None:  # noqa: N802
        self.free(int(dptr))

    @_function(unsafe=True)
    def cuMemHostAlloc(self, bytesize: int, flags: int) -> int:  # noqa: N802
        _check(bytesize > 0 and flags == 0)
        if self.used_bytes() + bytesize > self.memory_bytes:
            raise Refused(CUresult.CUDA_ERROR_OUT_OF_MEMORY)
        memory = (ctypes.c_uint8 * bytesize)()
        address = ctypes.addressof(memory)
        self.host[address] = memory
        return address

    @_function(unsafe=True)
    def cuMemFreeHost(self, p: Any) -> None:  # noqa: N802
        memory = self.host.pop(int(p), None)
        _check(memory is not None)
        ctypes.memset(int(p), 0xDD, len(memory))  # whoever still reads it shall notice
        self._freed.append(memory)

    @_function()
    def cuMemcpyHtoDAsync(  # noqa: N802
        self, dst_device: Any, src_host: Any, byte_count: int, h_stream: Any
    ) -> None:
        def copy() -> None:
            self.at(int(dst_device), byte_count)[:] = self._pinned(int(src_host), byte_count)

        self.submit(h_stream, copy, COPY_MS)

    @_function()
    def cuMemcpyDtoHAsync(  # noqa: N802
        self, dst_host: Any, src_device: Any, byte_count: int, h_stream: Any
    ) -> None:
        def copy() -> None:
            self._pinned(int(dst_host), byte_count)[:] = self.at(int(src_device), byte_count)

        self.submit(h_stream, copy, COPY_MS)

    @_function()
    def cuStreamCreate(self, flags: int) -> Any:  # noqa: N802
        # Streams of the default kind wait for the default stream, and break others' captures.
        _check(flags == CUstream_flags.CU_STREAM_NON_BLOCKING)
        return self._new(self.streams, FakeStream())

    @_function()
    def cuStreamBeginCapture(self, h_stream: Any, mode: Any) -> None:  # noqa: N802
        _check(isinstance(mode, CUstreamCaptureMode))
        stream = self._stream(h_stream)
        _check(stream.capture is None, CUresult.CUDA_ERROR_ILLEGAL_STATE)
        stream.capture, stream.invalid = [], False
        stream.capturer, stream.mode = threading.get_ident(), mode

    @_function()
    def cuStreamEndCapture(self, h_stream: Any) -> Any:  # noqa: N802
        stream = self._stream(h_stream)
        _check(stream.capture is not None, CUresult.CUDA_ERROR_ILLEGAL_STATE)
        wrong_thread = CUresult.CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD
        _check(stream.capturer == threading.get_ident(), wrong_thread)
        work, stream.capture = stream.capture, None
        _check(not stream.invalid, CUresult.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED)
        return self._new(self.graphs, work)

    @_function()
    def cuStreamSynchronize(self, h_stream: Any) -> None:  # noqa: N802
        stream = self._stream(h_stream)
        if stream.capture is not None:
            stream.invalid = True
            raise Refused(CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)
        self._drain(stream)

    @_function()
    def cuStreamDestroy(self, h_stream: Any) -> None:  # noqa: N802
        self._drain(self._stream(h_stream))
        del self.streams[int(h_stream)]

    @_function()
    def cuEventCreate(self, flags: int) -> Any:  # noqa: N802
        _check(flags == 0)
        return self._new(self.events, FakeEvent())

    @_function()
    def cuEventRecord(self, h_event: Any, h_stream: Any) -> None:  # noqa: N802
        event = self._find(self.events, h_event)
        event.stream = self._stream(h_stream)
        event.pending += 1

        def record() -> None:
            event.time_ms = self.clock_ms
            event.pending -= 1

        self.submit(h_stream, record, 0.0)

    @_function()
    def cuEventSynchronize(self, h_event: Any) -> None:  # noqa: N802
        event = self._find(self.events, h_event)
        while event.pending and event.stream:
            self._do(event.stream.queue.popleft())

    @_function()
    def cuEventElapsedTime(self, h_start: Any, h_end: Any) -> float:  # noqa: N802
        start, end = self._find(self.events, h_start), self._find(self.events, h_end)
        _check(start.stream is not None and end.stream is not None)
        _check(not start.pending and not end.pending, CUresult.CUDA_ERROR_NOT_READY)
        return end.time_ms - start.time_ms

    @_function()
    def cuEventDestroy(self, h_event: Any) -> None:  # noqa: N802
        self._find(self.events, h_event)
        del self.events[int(h_event)]

    @_function(unsafe=True)
    def cuGraphInstantiate(self, h_graph: Any, flags: int) -> Any:  # noqa: N802
        _check(flags == 0)
        return self._new(self.executables, list(self._find(self.graphs, h_graph)))

    @_function()
    def cuGraphDestroy(self, h_graph: Any) -> None:  # noqa: N802
        self._find(self.graphs, h_graph)
        del self.graphs[int(h_graph)]

    @_function()
    def cuGraphLaunch(self, h_graph_exec: Any, h_stream: Any) -> None:  # noqa: N802
        for work in self._find(self.executables, h_graph_exec):
            self.submit(h_stream, work.run, work.cost_ms)

    @_function()
    def cuGraphExecDestroy(self, h_graph_exec: Any) -> None:  # noqa: N802
        self._find(self.executables, h_graph_exec)
        del self.executables[int(h_graph_exec)]

    # --- inside ----------------------------------------------------------------------------------

    def _before(self, name: str, *, unsafe: bool, context: bool) -> None:
        if name in self.failing:
            left, status = self.failing[name]
            self.failing[name] = (left - 1, status)
            _check(left > 0, status)
        if context:
            has_one = getattr(self._thread, "context", None) is not None and self.retained > 0
            _check(has_one, CUresult.CUDA_ERROR_INVALID_CONTEXT)
            _check(self._sticky is None, self._sticky or CUresult.CUDA_SUCCESS)
        disturbed = [stream for stream in self.streams.values() if _disturbed(stream)]
        if unsafe and disturbed:
            for stream in disturbed:
                stream.invalid = True
            raise Refused(CUresult.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED)

    def _drain(self, stream: FakeStream) -> None:
        while stream.queue:
            self._do(stream.queue.popleft())

    def _do(self, work: Work) -> None:
        try:
            work.run()
        except Refused as refused:
            self._sticky = refused.status
            raise
        self.clock_ms += work.cost_ms

    def _pinned(self, address: int, size: int) -> Any:
        for begin, memory in self.host.items():
            if begin <= address and address + size <= begin + len(memory):
                block = np.frombuffer(memory, np.uint8)
                return block[address - begin : address - begin + size]
        raise Refused(CUresult.CUDA_ERROR_ILLEGAL_ADDRESS)

    def _stream(self, handle: Any) -> FakeStream:
        return self._find(self.streams, handle)

    def _find(self, table: dict[int, Any], handle: Any) -> Any:
        found = table.get(int(handle))
        _check(found is not None, CUresult.CUDA_ERROR_INVALID_HANDLE)
        return found

    def _new(self, table: dict[int, Any], thing: Any) -> Handle:
        self._numbers += 0x10
        table[self._numbers] = thing
        return Handle(self._numbers)


def _disturbed(stream: FakeStream) -> bool:
    """Whether an unsafe call in this thread breaks the stream's capture."""
    is_global = stream.mode is CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_GLOBAL
    return stream.capture is not None and (is_global or stream.capturer == threading.get_ident())


def _check(holds: bool, status: CUresult = CUresult.CUDA_ERROR_INVALID_VALUE) -> None:
    if not holds:
        raise Refused(status)
