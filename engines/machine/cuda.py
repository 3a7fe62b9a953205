"""What CUDA's driver says of its first GPU, where nothing else tells which machine this is.

Asked by ctypes, since a probe must not need NVIDIA's bindings, and only questions that need no
context: no memory of the GPU is taken. Source: CUDA Driver API, "Device Management".
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

LIBRARY = "libcuda.so.1"

MULTIPROCESSORS = 16
INTEGRATED = 18
MAJOR, MINOR = 75, 76
"""CUdevice_attribute's numbers."""


@dataclass(frozen=True, kw_only=True)
class CudaDevice:
    """What does not change between boots."""

    compute_capability: str
    """SM version, for example `8.7`."""
    integrated: bool
    """Whether it shares the machine's memory, as a Jetson's GPU does."""
    multiprocessors: int
    cuda: str
    """Newest CUDA that the driver takes, for example `12.6`."""


def read_cuda_device() -> CudaDevice | None:
    """CUDA's device 0; None without a driver or a GPU.

    Initialises CUDA in this process, so that a fork of it could not use CUDA.
    """
    number_by_bus()
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return None
    device, version = ctypes.c_int(), ctypes.c_int()
    if library.cuInit(0) or library.cuDeviceGet(ctypes.byref(device), 0):
        return None
    asked = (MAJOR, MINOR, INTEGRATED, MULTIPROCESSORS)
    found = [_attribute(library, attribute, device) for attribute in asked]
    if None in found or library.cuDriverGetVersion(ctypes.byref(version)):
        return None
    major, minor, integrated, multiprocessors = (value or 0 for value in found)
    return CudaDevice(
        compute_capability=f"{major}.{minor}",
        integrated=bool(integrated),
        multiprocessors=multiprocessors,
        cuda=version_text(version.value),
    )


def _attribute(library: ctypes.CDLL, attribute: int, device: ctypes.c_int) -> int | None:
    """The value; None where the driver does not say."""
    value = ctypes.c_int()
    failed = library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return None if failed else value.value


def version_text(number: int) -> str:
    """A version as drivers say it, 1000 * major + 10 * minor, for example 12060, as `12.6`."""
    return f"{number // 1000}.{number % 1000 // 10}"


def newer_than_driver(bindings: str, cuda: str) -> str | None:
    """Why NVIDIA's Python bindings of version `bindings` cannot be used with a driver whose newest
    CUDA is `cuda`; None where they can. Those of CUDA 13 look for functions that the drivers of
    most 12.x lack (cuEventElapsedTime_v2), those of 12 work with both (NVIDIA's cuda-bindings,
    "Support")."""
    wanted, had = bindings.partition(".")[0], cuda.partition(".")[0]
    if not (wanted.isdecimal() and had.isdecimal()) or int(wanted) <= int(had):
        return None
    return (
        f"cuda-bindings {bindings} is for drivers of CUDA {wanted}, and this one takes {cuda} at "
        f"most. Run `pip install 'cuda-bindings<{wanted}'`, or install a newer driver."
    )


def number_by_bus() -> None:
    """Let CUDA number cards as NVML does, by their PCI bus and not by their speed: the card that
    runs is then the one that is watched. Counts where this process has not started CUDA yet."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
