"""NVML, by a stand-in for pynvml: no card was asked, and no real device confirmed its answers.

Its constants are those of the real pynvml, which is installed beside it without a driver.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from engines.machine.sensors.nvml import Card, open_card, read_card
from engines.measure.sampler import StateSampler

MIG = "MIG-8f2d8a3a-0000-0000-0000-000000000000"


class FakeNvml:
    """Stands in for pynvml: answers as NVIDIA documents NVML's; no real device confirmed it."""

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_CLOCK_GRAPHICS = pynvml.NVML_CLOCK_GRAPHICS
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM

    def __init__(self, uuids: tuple[str, ...] = ("GPU-aaaa1111", "GPU-bbbb2222")) -> None:
        self.uuids = uuids
        self.refused: set[str] = set()
        self.open = 0
        self.reasons = 0
        self.millijoules = 1_000_000
        self.pids: tuple[int, ...] = (os.getpid(),)
        for name in dir(pynvml):
            if name.startswith(("nvmlClocksEventReason", "nvmlClocksThrottleReason")):
                setattr(self, name, getattr(pynvml, name))

    def _answer(self, function: str, value: Any) -> Any:
        if function in self.refused:
            raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return value

    def nvmlInit(self) -> None:  # noqa: N802
        self._answer("nvmlInit", None)
        self.open += 1

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return len(self.uuids)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        if index >= len(self.uuids):
            raise pynvml.NVMLError(pynvml.NVML_ERROR_INVALID_ARGUMENT)
        return self.uuids[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, part: str) -> str:  # noqa: N802
        assert part == MIG
        return self.uuids[0]

    def __getattr__(self, name: str) -> Any:
        answers: dict[str, Any] = {
            "nvmlDeviceGetUUID": lambda handle: handle,
            "nvmlDeviceGetName": lambda handle: f"NVIDIA L4 {handle}",
            "nvmlDeviceGetCudaComputeCapability": lambda handle: (8, 9),
            "nvmlSystemGetDriverVersion": lambda: "560.35.03",
            "nvmlSystemGetCudaDriverVersion_v2": lambda: 12060,
            "nvmlDeviceGetMemoryInfo": lambda handle: SimpleNamespace(
                total=23_034 << 20, used=1_500 << 20
            ),
            "nvmlDeviceGetClockInfo": lambda handle, kind: {0: 1_500, 2: 6_251}[kind],
            "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
            "nvmlDeviceGetPowerUsage": lambda handle: 40_500,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: self.reasons,
            "nvmlDeviceGetCurrentClocksThrottleReasons": lambda handle: self.reasons,
            "nvmlDeviceGetTotalEnergyConsumption": lambda handle: self.millijoules,
            "nvmlDeviceGetComputeRunningProcesses": lambda handle: [
                SimpleNamespace(pid=pid, usedGpuMemory=1 << 20) for pid in self.pids
            ],
        }
        if name not in answers:
            raise AttributeError(name)
        return lambda *arguments: self._answer(name, answers[name](*arguments))


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def test_the_card(nvml: FakeNvml) -> None:
    assert read_card() == Card(
        name="NVIDIA L4 GPU-aaaa1111",
        compute_capability="8.9",
        memory_mib=23_034,
        driver="560.35.03",
        cuda="12.6",
    )
    assert nvml.open == 0


@pytest.mark.parametrize(
    ("visible", "uuid"),
    [
        ("0", "GPU-aaaa1111"),
        ("1", "GPU-bbbb2222"),
        ("1,0", "GPU-bbbb2222"),
        (" 1 , 0", "GPU-bbbb2222"),
        ("GPU-bbbb2222", "GPU-bbbb2222"),
        ("GPU-bb", "GPU-bbbb2222"),
        (MIG, "GPU-aaaa1111"),
        ("", None),
        ("-1", None),
        ("7", None),
        ("GPU-cccc", None),
        ("nonsense", None),
    ],
)
def test_the_first_card_that_cuda_sees(nvml: FakeNvml, visible: str, uuid: str | None) -> None:
    card = read_card({"CUDA_VISIBLE_DEVICES": visible})
    assert (card.name if card else None) == (f"NVIDIA L4 {uuid}" if uuid else None)
    assert nvml.open == 0


def test_no_library_no_driver_no_card(nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch) -> None:
    nvml.refused = {"nvmlInit"}
    assert read_card() is None
    nvml.refused, nvml.uuids = set(), ()
    assert read_card() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert read_card() is None
    assert nvml.open == 0


def test_a_card_without_memory_of_its_own(nvml: FakeNvml) -> None:
    nvml.refused = {"nvmlDeviceGetMemoryInfo"}
    card = read_card()
    assert card is not None
    assert card.memory_mib is None


def test_a_driver_that_says_nearly_nothing_has_no_card(nvml: FakeNvml) -> None:
    nvml.refused = {"nvmlDeviceGetCudaComputeCapability"}
    assert read_card() is None


def test_readings(nvml: FakeNvml) -> None:
    card = open_card()
    assert card is not None
    found = card.read()
    assert (found.gpu_clock_mhz, found.memory_clock_mhz) == (1500, 6251)
    assert (found.power_w, found.temperatures_c) == (40.5, (61.0,))
    assert (found.gpu_temperature_c, found.other_gpu_processes) == (61.0, frozenset())
    assert found.gpu_memory_mib == 1500
    assert card.count().energy_mj == 1_000_000
    card.close()
    assert nvml.open == 0


def test_a_card_that_does_not_say_is_unknown_not_wrong(nvml: FakeNvml) -> None:
    names = ("ClockInfo", "Temperature", "PowerUsage", "MemoryInfo", "TotalEnergyConsumption")
    nvml.refused = {f"nvmlDeviceGet{name}" for name in names} | {
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",
        "nvmlDeviceGetComputeRunningProcesses",
    }
    card = open_card()
    assert card is not None
    found = card.read()
    assert (found.gpu_clock_mhz, found.power_w, found.gpu_memory_mib) == (None, None, None)
    assert (found.temperatures_c, found.throttle_reasons) == ((), frozenset())
    assert (found.gpu_temperature_c, found.other_gpu_processes) == (None, frozenset())
    assert card.count().energy_mj is None


@pytest.mark.parametrize(
    ("mask", "names"),
    [
        (0x0, set()),
        (0x1, set()),  # idle
        (0x2, set()),  # somebody set the clocks
        (0x4, {"SwPowerCap"}),
        (0x20 | 0x1, {"SwThermalSlowdown"}),
        (0x8 | 0x40, {"HwSlowdown", "HwThermalSlowdown"}),
        (0x80, {"HwPowerBrakeSlowdown"}),
        (1 << 40, set()),  # a bit that this pynvml does not know yet
    ],
)
def test_throttle_reasons_by_name(nvml: FakeNvml, mask: int, names: set[str]) -> None:
    nvml.reasons = mask
    card = open_card()
    assert card is not None
    assert card.read().throttle_reasons == names


def test_an_older_driver_knows_the_reasons_by_another_name(nvml: FakeNvml) -> None:
    nvml.reasons = 0x4
    nvml.refused = {"nvmlDeviceGetCurrentClocksEventReasons"}
    card = open_card()
    assert card is not None
    assert card.read().throttle_reasons == {"SwPowerCap"}


def test_the_card_s_own_count_of_energy_is_the_mean_power(nvml: FakeNvml, tmp_path: Path) -> None:
    with StateSampler(tmp_path, cpus=[0], gpu=True) as sampler:
        nvml.reasons = 0x40
        nvml.millijoules += 20_000
        time.sleep(0.05)
    found = sampler.state(0)
    assert found.power_mean_w == pytest.approx(20 / sampler._seconds)
    assert found.power_max_w == max(found.power_mean_w or 0, 40.5)
    assert found.throttle_reasons == ("HwThermalSlowdown",)
    assert (found.gpu_clock_min_mhz, found.memory_clock_max_mhz) == (1500, 6251)
    assert (found.temperature_max_c, found.gpu_temperature_max_c) == (61, 61)
    assert nvml.open == 0


def test_a_count_that_began_anew_is_not_the_mean(nvml: FakeNvml, tmp_path: Path) -> None:
    with StateSampler(tmp_path, cpus=[0], gpu=True) as sampler:
        nvml.millijoules = 10
    assert sampler.state(0).power_mean_w == 40.5


def test_a_card_that_shares_the_memory_takes_it_from_the_machine_s(
    nvml: FakeNvml, tmp_path: Path
) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable: 8000000 kB\n")
    with StateSampler(tmp_path, cpus=[0], gpu=True) as sampler:
        pass
    assert sampler.state(0).gpu_memory_max_mib == 1500
    nvml.refused = {"nvmlDeviceGetMemoryInfo"}
    with StateSampler(tmp_path, cpus=[0], gpu=True) as sampler:
        pass
    assert sampler.state(0).gpu_memory_max_mib == 7812.5
    assert nvml.open == 0


OWN = os.getpid()


@pytest.mark.parametrize(
    ("pids", "others"),
    [
        ((OWN,), ()),
        ((OWN, 4_000_001, 4_000_002), (4_000_001, 4_000_002)),
        # In a container, with the host's numbers: one of them is this process.
        ((4_000_001,), ()),
        ((4_000_001, 4_000_002), (4_000_001, 4_000_002)),
        ((), ()),
    ],
)
def test_other_programs_on_the_card(
    nvml: FakeNvml, tmp_path: Path, pids: tuple[int, ...], others: tuple[int, ...]
) -> None:
    with StateSampler(tmp_path, cpus=[0], gpu=True) as sampler:
        nvml.pids = pids
    assert sampler.state(0).other_gpu_processes == others
