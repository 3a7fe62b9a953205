"""What NVIDIA's documents say of Jetsons: modules, systems on chip, JetPack releases. Data alone.

Part numbers (`p3767-0000`) are what the device tree calls a module by.

Sources: NVIDIA's developer guides (docs.nvidia.com/jetson/archives: table of modules under "Quick
Start", power modes and engines under "Platform Power and Performance"), its JetPack archive
(developer.nvidia.com/embedded/jetpack-archive), and jetson_stats' `jetson_variables.py`
(github.com/rbonghi/jetson_stats), which collects what users report of their devices.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Soc:
    """A system on chip."""

    compute_capability: str
    gpu: str
    """As CUDA names it."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """A module: what a device tree's part number and the memory together tell."""

    name: str
    dla_cores: int
    multiprocessors: int
    """Of its GPU: CUDA cores by 128 (Orin, Thor) or by 64 (Xavier)."""


@dataclass(frozen=True, kw_only=True)
class JetPack:
    """What a JetPack brings."""

    cuda: str
    tensorrt: str
    """Its first TensorRT; apt may have upgraded it."""
    python: str
    """The system's Python, for which its TensorRT package is."""


SOCS = {
    # JetPack 7 compiles for sm_110, which CUDA 12 called 10.1.
    "nvidia,tegra264": Soc(compute_capability="11.0", gpu="NVIDIA Thor"),
    "nvidia,tegra234": Soc(compute_capability="8.7", gpu="Orin"),
    "nvidia,tegra194": Soc(compute_capability="7.2", gpu="Xavier"),
}

FAMILIES = {
    "thor": {
        64: Module(name="Jetson T4000", dla_cores=0, multiprocessors=12),
        128: Module(name="Jetson T5000", dla_cores=0, multiprocessors=20),
    },
    "agx-orin": {
        32: Module(name="Jetson AGX Orin 32GB", dla_cores=2, multiprocessors=14),
        64: Module(name="Jetson AGX Orin 64GB", dla_cores=2, multiprocessors=16),
    },
    "orin-nx": {
        8: Module(name="Jetson Orin NX 8GB", dla_cores=1, multiprocessors=8),
        16: Module(name="Jetson Orin NX 16GB", dla_cores=2, multiprocessors=8),
    },
    "orin-nano": {
        4: Module(name="Jetson Orin Nano 4GB", dla_cores=0, multiprocessors=4),
        8: Module(name="Jetson Orin Nano 8GB", dla_cores=0, multiprocessors=8),
    },
    "agx-xavier": {
        16: Module(name="Jetson AGX Xavier 16GB", dla_cores=2, multiprocessors=8),
        32: Module(name="Jetson AGX Xavier 32GB", dla_cores=2, multiprocessors=8),
        64: Module(name="Jetson AGX Xavier 64GB", dla_cores=2, multiprocessors=8),
    },
    "xavier-nx": {
        8: Module(name="Jetson Xavier NX 8GB", dla_cores=2, multiprocessors=6),
        16: Module(name="Jetson Xavier NX 16GB", dla_cores=2, multiprocessors=6),
    },
}
"""Family to its modules by memory in GB.

Multiprocessors are those of NVIDIA's table "Compare Jetson Modules" (CUDA cores).

By memory, not by part number: the device trees of developer kits are flashed for a family, and an
8 GB module answers to `p3768-0000+p3767-0000-super` too.
"""

FAMILIES_OF_SM = {
    "11.0": ("thor",),
    "8.7": ("agx-orin", "orin-nx", "orin-nano"),
    "7.2": ("agx-xavier", "xavier-nx"),
}
"""Compute capability to the families whose GPU has it."""

PARTS = {
    "p3834-0000": "thor",
    "p3834-0008": "thor",
    "p3701-0000": "agx-orin",
    "p3701-0001": "agx-orin",
    "p3701-0002": "agx-orin",
    "p3701-0004": "agx-orin",
    "p3701-0005": "agx-orin",
    "p3701-0008": "agx-orin",
    "p3767-0000": "orin-nx",
    "p3767-0001": "orin-nx",
    "p3767-0003": "orin-nano",
    "p3767-0004": "orin-nano",
    "p3767-0005": "orin-nano",
    "p2888-0001": "agx-xavier",
    "p2888-0003": "agx-xavier",
    "p2888-0004": "agx-xavier",
    "p2888-0005": "agx-xavier",
    "p2888-0008": "agx-xavier",
    "p3668-0000": "xavier-nx",
    "p3668-0001": "xavier-nx",
    "p3668-0003": "xavier-nx",
}
"""Part number to family. p3701-0008 and p2888-0008 are the industrial ones, p3701-0002 is the
module of the IGX Orin developer kit (jetson_stats; NVIDIA flashes it as it does p3701-0000)."""

MODELS = {
    "AGX Thor": "thor",
    "AGX Orin": "agx-orin",
    "Orin NX": "orin-nx",
    "Orin Nano": "orin-nano",
    "AGX Xavier": "agx-xavier",
    "Xavier NX": "xavier-nx",
}
"""What is in a board's name to its family, for a part number that is not above."""

JETPACKS = {
    "5.0": JetPack(cuda="11.4", tensorrt="8.4", python="3.8"),
    "5.1": JetPack(cuda="11.4", tensorrt="8.5", python="3.8"),
    "6.0": JetPack(cuda="12.2", tensorrt="8.6", python="3.10"),
    "6.1": JetPack(cuda="12.6", tensorrt="10.3", python="3.10"),
    "6.2": JetPack(cuda="12.6", tensorrt="10.3", python="3.10"),
    "7.0": JetPack(cuda="13.0", tensorrt="10.13", python="3.12"),
    "7.1": JetPack(cuda="13.0", tensorrt="10.13", python="3.12"),
    "7.2": JetPack(cuda="13.2", tensorrt="10.16", python="3.12"),
}
"""First two numbers of a JetPack to what it brings."""

JETPACK_OF_L4T = {
    "35.1.0": "5.0.2",
    "35.2.1": "5.1",
    "35.3.1": "5.1.1",
    "35.4.1": "5.1.2",
    "35.5.0": "5.1.3",
    "35.6.0": "5.1.4",
    "35.6.1": "5.1.5",
    "35.6.2": "5.1.5",
    "35.6.3": "5.1.5",
    "35.6.4": "5.1.6",
    "36.3.0": "6.0",
    "36.4.0": "6.1",
    "36.4.2": "6.1",
    "36.4.3": "6.2",
    "36.4.4": "6.2.1",
    "36.4.7": "6.2.1",
    "36.5.0": "6.2.2",
    "36.5.2": "6.2.3",
    "38.2.0": "7.0",
    "38.2.1": "7.0",
    "38.2.2": "7.0",
    "38.4.0": "7.1",
    # The early access of 7.2: NVIDIA's own examples for an AGX Thor show `R39, REVISION: 0.0`.
    "39.0.0": "7.2",
    "39.2.0": "7.2",
    "39.2.1": "7.2.1",
}
"""Jetson Linux to the JetPack that it belongs to; one that is not here is asked of dpkg."""
