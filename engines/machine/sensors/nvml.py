"""NVIDIA's management library (NVML): what card this machine has, and what it does.

The only module that imports pynvml (the distribution `nvidia-ml-py`), inside functions. NVML comes
with the driver of a discrete card. A Jetson from JetPack 6 on has one that starts, and then says
"Not Supported" to nearly all questions (an Orin) or to some (a Thor). What NVML does not say is
None; nothing here raises.

Which card: the first of `CUDA_VISIBLE_DEVICES` (a number, a UUID or the beginning of one, a MIG
device's UUID, which stands for its card), else card 0. NVML numbers cards by their PCI bus, and
`engines.machine.cuda.number_by_bus` makes CUDA do so too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from engines.machine.cuda import version_text
from engines.machine.sensors.reading import Counters, Reading

Answer = TypeVar("Answer")

HARMLESS = ("GpuIdle", "ApplicationsClocksSetting")
"""Reasons that are no throttling: the card has nothing to do, or somebody set its clocks, which is
how they are held still."""

REASONS = ("nvmlClocksThrottleReason", "nvmlClocksEventReason")
"""What begins the names of pynvml's constants; the first is the older."""


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
    sensor = open_card(environment)
    if sensor is None:
        return None
    try:
        return sensor.card()
    finally:
        sensor.close()


class CardSensor:
    """A card while it works: what `nvidia-smi` shows."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle
        self._reasons = _reason_names(nvml)

    def card(self) -> Card | None:
        """What it is; None where the driver does not say."""
        return _ask(self._nvml, lambda: _card(self._nvml, self._handle))

    def read(self) -> Reading:
        """NVML says MHz, degrees, milliwatts and bytes."""
        nvml = self._nvml
        milliwatts = self._ask("nvmlDeviceGetPowerUsage")
        celsius = self._ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU)
        memory = self._ask("nvmlDeviceGetMemoryInfo")
        busy = self._ask("nvmlDeviceGetUtilizationRates")
        return Reading(
            temperatures_c=() if celsius is None else (float(celsius),),
            gpu_temperature_c=None if celsius is None else float(celsius),
            gpu_clock_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_GRAPHICS),
            memory_clock_mhz=self._ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
            power_w=None if milliwatts is None else milliwatts / 1e3,
            gpu_busy_percent=None if busy is None else float(busy.gpu),
            gpu_memory_mib=None if memory is None else memory.used / (1 << 20),
            throttle_reasons=self._throttle_reasons(),
            other_gpu_processes=self._other_processes(),
        )

    def count(self) -> Counters:
        """Energy since the driver was loaded (Volta and later)."""
        return Counters(energy_mj=self._ask("nvmlDeviceGetTotalEnergyConsumption"))

    def close(self) -> None:
        """Let go of the library."""
        _ask(self._nvml, self._nvml.nvmlShutdown)

    def _other_processes(self) -> frozenset[int]:
        """Processes with a CUDA context on the card, but this one.

        In a container the driver may number them as its host does. Where this process is not in the
        list, one of them is it: a single one is nobody else's, and of several each may be.
        """
        listed = self._ask("nvmlDeviceGetComputeRunningProcesses") or ()
        found = frozenset(int(process.pid) for process in listed)
        own = os.getpid()
        if own in found:
            return found - {own}
        return found if len(found) > 1 else frozenset()

    def _throttle_reasons(self) -> frozenset[str]:
        mask = self._ask("nvmlDeviceGetCurrentClocksEventReasons")
        if mask is None:
            mask = self._ask("nvmlDeviceGetCurrentClocksThrottleReasons") or 0
        return frozenset(name for bit, name in self._reasons.items() if mask & bit)

    def _ask(self, function: str, *arguments: Any) -> Any:
        question = getattr(
            self._nvml, function, None
        )  # pynvml and the driver may be older or newer
        if question is None:
            return None
        return _ask(self._nvml, lambda: question(self._handle, *arguments))


def open_card(environment: Mapping[str, str] = os.environ) -> CardSensor | None:
    """The sensor of the card that CUDA uses first, to be closed; None where there is no card."""
    nvml = _library()
    if nvml is None:
        return None
    handle = _ask(nvml, lambda: _handle(nvml, environment.get("CUDA_VISIBLE_DEVICES")))
    if handle is None:
        _ask(nvml, nvml.nvmlShutdown)
        return None
    return CardSensor(nvml, handle)


def _reason_names(nvml: Any) -> dict[int, str]:
    """Bit to its name in NVML's words, for example `SwThermalSlowdown`; no bit that is harmless."""
    bits: dict[str, int] = {
        constant.removeprefix(begin): getattr(nvml, constant)
        for begin in REASONS
        for constant in dir(nvml)
        if constant.startswith(begin)
    }
    harmless = {bits.get(name) for name in HARMLESS}
    # Not the masks, which are none or all of the bits.
    return {bit: name for name, bit in bits.items() if bit.bit_count() == 1 and bit not in harmless}


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


def _card(nvml: Any, handle: Any) -> Card:
    major, minor = nvml.nvmlDeviceGetCudaComputeCapability(handle)
    cuda = nvml.nvmlSystemGetCudaDriverVersion_v2()
    return Card(
        name=nvml.nvmlDeviceGetName(handle),
        compute_capability=f"{major}.{minor}",
        memory_mib=_ask(nvml, lambda: int(nvml.nvmlDeviceGetMemoryInfo(handle).total) >> 20),
        driver=nvml.nvmlSystemGetDriverVersion(),
        cuda=version_text(cuda),
    )
