"""NVIDIA's management library (NVML): what card this machine has, and what it does.

The only module that imports pynvml (the distribution `nvidia-ml-py`), inside functions. NVML comes
with the driver of a discrete card; a Jetson has none before JetPack 7, and there it answers only a
part of the questions. What NVML does not say is None; nothing here raises.

Which card: the first of `CUDA_VISIBLE_DEVICES` (a number, a UUID or the beginning of one, a MIG
device's UUID, which stands for its card), else card 0. NVML numbers cards by their PCI bus, CUDA by
their speed unless `CUDA_DEVICE_ORDER=PCI_BUS_ID` is set: on a machine with different cards set it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True)
class Card:
    """What does not change between boots."""

    name: str
    """As the driver names it, for example `NVIDIA L4`."""
    compute_capability: str
    """SM version, for example `8.9`."""
    memory_mib: int | None
    """None where the GPU has no memory of its own (NVML refuses on a Jetson Thor)."""
    driver: str
    cuda: str
    """Newest CUDA that the driver takes, for example `12.6`."""


def read_card(environment: Mapping[str, str] = os.environ) -> Card | None:
    """The card that CUDA uses first; None without library, driver or card."""
    with _opened(environment) as (nvml, handle):
        return _ask(nvml, lambda: _card(nvml, handle)) if handle is not None else None


def _card(nvml: Any, handle: Any) -> Card:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    cuda = nvml.nvmlSystemGetCudaDriverVersion_v2()  # 1000 * major + 10 * minor
    return Card(
        name=nvml.nvmlDeviceGetName(handle),
        compute_capability=f"{major}.{minor}",
        memory_mib=_ask(nvml, lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total) >> 20),
        driver=nvml.nvmlSystemGetDriverVersion(),
        cuda=f"{cuda // 1000}.{cuda % 1000 // 10}",
    )


@contextmanager
def _opened(environment: Mapping[str, str]) -> Iterator[tuple[Any, Any]]:
    """pynvml and the handle of the card; None in its place where there is none."""
    nvml = _library()
    if nvml is None:
        yield None, None
        return
    try:
        yield nvml, _ask(nvml, lambda: _handle(nvml, environment.get("CUDA_VISIBLE_DEVICES")))
    finally:
        _ask(nvml, nvml.nvmlShutdown)


def _library() -> Any:
    """pynvml, initialised; None where it or the driver is not there."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    return pynvml


def _handle(nvml: Any, visible: str | None) -> Any:
    """The handle of the first visible card; None where all are hidden from CUDA."""
    first = None if visible is None else visible.split(",")[0].strip()
    if first is None or first.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(first or 0))
    if first.startswith("MIG-"):
        part = nvml.nvmlDeviceGetHandleByUUID(first)
        return nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)
    if not first.startswith("GPU-"):
        return None  # CUDA ends the list at the first entry that is no device: empty or -1
    for index in range(nvml.nvmlDeviceGetCount()):
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        if nvml.nvmlDeviceGetUUID(handle).startswith(first):
            return handle
    return None


def _ask(nvml: Any, question: Callable[[], Answer]) -> Answer | None:
    """The answer; None where the driver or the card has none."""
    try:
        return question()
    except nvml.NVMLError:
        return None
