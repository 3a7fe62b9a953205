"""Pinned host memory, memory on the GPU, and the two as one buffer."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.backends.tensorrt.cuda import driver as cuda
from engines.backends.tensorrt.cuda.stream import Stream
from engines.errors import JetrailError


class Pinned:
    """Page-locked host memory, which lives as long as an array looks into it.

    Whoever keeps a result after its engine was closed must not read freed memory. So arrays keep
    this object, and this object keeps the primary context, without which the memory would go.
    """

    def __init__(self, device: Any, size: int) -> None:
        context = cuda.call("cuDevicePrimaryCtxRetain", device)
        try:
            self.address = int(cuda.call("cuMemHostAlloc", size, 0))
        except JetrailError:
            cuda.call("cuDevicePrimaryCtxRelease", device)
            raise
        self.__array_interface__ = {
            "shape": (size,),
            "typestr": "|u1",
            "data": (self.address, False),
            "version": 3,
        }
        last = weakref.finalize(self, _free_pinned, cuda.driver(), device, context, self.address)
        last.atexit = False  # the driver frees all that a process leaves


def _free_pinned(bindings: Any, device: Any, context: Any, address: int) -> None:
    """Statuses are not looked at: nobody is left to hear of them."""
    bindings.cuCtxSetCurrent(context)  # the last array may go in any thread
    bindings.cuMemFreeHost(address)
    bindings.cuDevicePrimaryCtxRelease(device)


class DeviceMemory:
    """Memory on the GPU. Fresh memory holds anything."""

    def __init__(self, size: int) -> None:
        # CUDA refuses to allocate nothing. The memory begins at a multiple of 256 bytes at least.
        self.address = int(cuda.call("cuMemAlloc", max(size, 1)))
        self.size = max(size, 1)

    def close(self) -> None:
        cuda.call("cuMemFree", self.address)


class Buffer:
    """The same number of bytes twice: in pinned host memory, seen as an array, and on the GPU."""

    def __init__(self, gpu: cuda.Gpu, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        self._row = size // shape[0]
        self._device = DeviceMemory(size)
        try:
            host = Pinned(gpu.device, size)
        except JetrailError:
            self._device.close()
            raise
        self._host = host.address
        self.array: NDArray[Any] = np.asarray(host).view(dtype).reshape(shape)
        self.array[...] = 0

    @property
    def address(self) -> int:
        """On the GPU."""
        return self._device.address

    def upload(self, rows: int, stream: Stream) -> None:
        """Copy the first `rows` to the GPU when the stream comes to it."""
        cuda.call("cuMemcpyHtoDAsync", self.address, self._host, self._row * rows, stream.handle)

    def download(self, rows: int, stream: Stream) -> None:
        """Copy the first `rows` back when the stream comes to it."""
        cuda.call("cuMemcpyDtoHAsync", self._host, self.address, self._row * rows, stream.handle)

    def close(self) -> None:
        """Free the GPU's side at once, the host's with the last array that looks into it."""
        self.array = np.empty(0, self.array.dtype)
        self._device.close()
