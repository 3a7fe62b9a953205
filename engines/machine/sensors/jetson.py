"""A Jetson's GPU, memory, power rails and over-current counters, read without root.

No real device has confirmed these paths here. They are those of NVIDIA's Jetson Linux Developer
Guide ("Platform Power and Performance" of Orin, r36, and of Thor, r38), of the device trees and
drivers in NVIDIA's kernel (`soctherm_oc`, `ina3221`), and of what users posted.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.machine.jetson import is_jetson, power_mode
from engines.machine.sensors.reading import (
    Counters,
    Reading,
    find,
    read_events,
    read_memory_used_mib,
    read_number,
    read_text,
)

GPU_CLOCKS = ("*.gpu", "*.ga10b", "*.gv11b", "gpu-gpc-*")
"""Folders of devfreq: JetPack 6, JetPack 5 on Orin and on Xavier, Thor. Thor's `gpu-nvd-0` is that
of the video engines."""

MEMORY_CLOCKS = (
    "sys/class/devfreq/bwmgr/cur_freq",  # JetPack 7
    "sys/kernel/debug/bpmp/debug/clk/emc/rate",  # before it, only for root
)

TOTAL_RAIL = "VDD_IN"
"""What the whole module takes: Orin NX and Nano have it. On AGX Orin and Thor the rails add up to
it; Thor's `VIN`, of another chip (ina238), holds the carrier board too and is left out."""
NO_RAILS = ("NC", "sum of shunt voltages", "VDDQ_VDD2_1V8AO")
"""Labels of ina3221 channels that add nothing: one that is not connected, a sum that is none of
power, and one of AGX Orin that is a part of its VIN_SYS_5V0 (NVIDIA's guide)."""


def read_power_mode(root: Path) -> str | None:
    """The power mode's name, for example `MAXN`; None where this is no Jetson or does not say."""
    return power_mode(root) if is_jetson(root) else None


@dataclass(frozen=True, kw_only=True)
class Rail:
    """One channel of a power monitor: millivolts and milliamperes."""

    voltage: Path
    current: Path

    def watts(self) -> float | None:
        """Power of the rail at this moment."""
        millivolts, milliamperes = read_number(self.voltage), read_number(self.current)
        if millivolts is None or milliamperes is None:
            return None
        return millivolts * milliamperes / 1e6


class JetsonSensor:
    """What `tegrastats` shows, from the files that it reads."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._gpu_clock = _gpu_clock(root)
        self._gpu_load = self._gpu_clock and self._gpu_clock.with_name("device") / "load"
        self._memory_clock = _first_readable([root / path for path in MEMORY_CLOCKS])
        self._over_currents = find(root, "sys/class/hwmon/hwmon*/oc[0-9]_event_cnt")
        self._rails = _rails(root)
        self._alerts = _alerts(root)

    def read(self) -> Reading:
        """Clocks come in Hz, the GPU's load in thousandths (nvgpu's `load`)."""
        load = read_number(self._gpu_load)
        return Reading(
            gpu_clock_mhz=_mhz(self._gpu_clock),
            memory_clock_mhz=_mhz(self._memory_clock),
            power_w=self._watts(),
            gpu_busy_percent=None if load is None else load / 10,
            gpu_memory_mib=read_memory_used_mib(self._root),
            throttle_reasons=frozenset(
                name for path, name in self._alerts.items() if (read_number(path) or 0) > 0
            ),
        )

    def count(self) -> Counters:
        """oc1 counts under-voltage, oc2 average and oc3 instantaneous over-current (Orin)."""
        return Counters(over_currents=read_events(self._over_currents))

    def close(self) -> None:
        """Nothing is held."""

    def _watts(self) -> float | None:
        """All rails together; None when one is missing, since a part is no total."""
        parts = [rail.watts() for rail in self._rails]
        known = [part for part in parts if part is not None]
        return sum(known) if known and len(known) == len(parts) else None


def _gpu_clock(root: Path) -> Path | None:
    folder = root / "sys/class/devfreq"
    found = [path for name in GPU_CLOCKS for path in sorted(folder.glob(f"{name}/cur_freq"))]
    return found[0] if found else None


def _first_readable(paths: list[Path]) -> Path | None:
    return next((path for path in paths if read_number(path) is not None), None)


def _rails(root: Path) -> list[Rail]:
    """The rail of the whole module, or all rails that add up to it."""
    found: dict[str, Rail] = {}
    for chip in find(root, "sys/class/hwmon/hwmon*"):
        if read_text(chip / "name") == "ina3221":
            found |= _channels(chip)
    return [found[TOTAL_RAIL]] if TOTAL_RAIL in found else list(found.values())


def _channels(chip: Path) -> dict[str, Rail]:
    channels = {}
    for label in find(chip, "in[0-9]_label"):
        name, number = read_text(label), label.name[2]
        if name and name not in NO_RAILS:
            channels[name] = Rail(
                voltage=chip / f"in{number}_input", current=chip / f"curr{number}_input"
            )
    return channels


def _alerts(root: Path) -> dict[Path, str]:
    """Cooling devices that say whether clocks are held down for heat, by their file: several may
    have one name.

    Not `hot-surface-alert`, which slows nothing, nor `cpufreq-*` and `devfreq-*`: users saw values
    above zero there on a cool Thor.
    """
    types = find(root, "sys/class/thermal/cooling_device*/type")
    return {
        path.with_name("cur_state"): name
        for path in types
        if (name := read_text(path)).endswith("-throttle-alert")
    }


def _mhz(path: Path | None) -> float | None:
    hertz = read_number(path)
    return None if hertz is None else hertz / 1e6
