"""What the harness measured, typed: written into pytest-benchmark's JSON and read from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

from engines.measure.windows import Windows
from engines.records.benchmark import MachineState, Soak
from engines.records.record import Part


class WindowCounts(Part):
    """How much of a measurement was quiet."""

    seconds: float
    quiet_seconds: float
    enough: bool
    set_aside: dict[str, int]
    """What disturbed windows, and how many."""

    @classmethod
    def of(cls, windows: Windows) -> Self:
        """The counts of a measurement's windows."""
        return cls(
            seconds=windows.seconds,
            quiet_seconds=windows.quiet_seconds,
            enough=windows.enough,
            set_aside=dict(windows.set_aside),
        )


class Extra(Part):
    """What a measurement says beside its times: pytest-benchmark's `extra_info`."""

    memory_peak_mib: float
    machine: MachineState | None = None
    windows: WindowCounts | None = None
    in_flight: int | None = None
    """Frames at once, where the throughput was measured: each round is one of each slot."""
    gpu_p50_ms: float | None = None
    gpu_wait: str | None = None
    """How the processor waits for the GPU."""
    soak: Soak | None = None

    def put(self, extra_info: dict[str, Any]) -> None:
        """Hand it to pytest-benchmark, which writes it as JSON."""
        told = self.model_dump(mode="json")
        extra_info.update({key: value for key, value in told.items() if value is not None})


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One measurement of pytest-benchmark."""

    name: str
    """Name of the test function, for example `test_frame`."""
    parameters: dict[str, int]
    """For example `{"batch": 4}`."""
    seconds: tuple[float, ...]
    """Time of each round."""
    extra: Extra
