"""How much memory a process took."""

from __future__ import annotations

from pathlib import Path

from engines.machine import ROOT
from engines.records.benchmark import MachineState


def peak_resident_mib(root: Path = ROOT) -> float:
    """The largest resident memory that this process has had so far, in MiB."""
    for line in (root / "proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"expected VmHWM in {root}/proc/self/status, got none")


def memory_peak_mib(state: MachineState, used_before: float | None, root: Path = ROOT) -> float:
    """The most memory that this process took, in MiB: resident, and where GPU and processors share
    one memory, at least what the machine's used memory rose by since `used_before`.

    CUDA's memory is not resident, so that on such a machine the resident memory misses the engine.
    `used_before`: `read_memory_used_mib` before the engine was loaded; None where the GPU's memory
    is its own, which is not counted here. Read five times a second, while `state` was watched.
    """
    risen = None
    if used_before is not None and state.gpu_memory_max_mib is not None:
        risen = state.gpu_memory_max_mib - used_before
    return max(peak_resident_mib(root), risen or 0)
