"""Which Jetson this is, read from files below a root that tests replace with a file tree.

The device tree names board, module and system on chip, `/etc/nv_tegra_release` the Jetson Linux
(L4T), dpkg's status the packages. Nothing here needs root, and nothing raises on a file that is
missing or says something new: what cannot be told is None.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engines.machine import ROOT
from engines.machine.cuda import CudaDevice
from engines.machine.jetson_facts import (
    FAMILIES,
    FAMILIES_OF_SM,
    JETPACK_OF_L4T,
    JETPACKS,
    MODELS,
    PARTS,
    SOCS,
    JetPack,
    Module,
)

DEVICE_TREES = ("proc/device-tree", "sys/firmware/devicetree/base")
RELEASE_FILE = "etc/nv_tegra_release"
DPKG_STATUS = "var/lib/dpkg/status"
POWER_MODES = "etc/nvpmodel.conf"
POWER_STATUS = "var/lib/nvpmodel/status"

TEGRA = "nvidia,tegra"
"""Begins the name of the system on chip in the device tree's `compatible`."""
PART = re.compile(r"p\d{4}-\d{4}")
RELEASE = re.compile(r"^#\s*R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)", re.MULTILINE)
NVIDIA_PACKAGE = re.compile(r"nvidia-|libnv|libcuda|cuda-|libcudnn|tensorrt|python3-libnvinfer")
POWER_MODE = re.compile(r"^NV Power Mode:\s*(\S+)\s*$", re.MULTILINE)
POWER_MODEL = re.compile(r"<\s*POWER_MODEL\s+ID=(\d{1,4})\s+NAME=(\S+?)\s*>")
STATUS = re.compile(r"pmode:(\d{1,4})\b")

NVPMODEL_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Jetson:
    """What does not change between boots."""

    model: str
    """The board as its device tree names it, with the carrier."""
    family: str | None
    """For example `orin-nx`."""
    module: str | None
    """For example `Jetson Orin NX 16GB`."""
    compute_capability: str | None
    gpu: str | None
    dla_cores: int | None
    l4t: str | None
    """Jetson Linux, for example `36.4.3`."""
    jetpack: str | None
    """For example `6.2`."""
    cuda: str | None
    """The CUDA that the JetPack brings, for example `12.6`."""


def read_jetson(root: Path = ROOT, *, memory_gib: float) -> Jetson | None:
    """The Jetson whose files lie below `root`; None on any other machine.

    `memory_gib` is the whole memory, which tells modules of one family apart.
    """
    if not is_jetson(root):
        return None
    compatible = read_compatible(root)
    model = _device_tree(root, "model").strip("\0 \n")
    soc = next((SOCS[entry] for entry in compatible if entry in SOCS), None)
    family = _family(compatible, model)
    module = _module(family, memory_gib)
    l4t = _l4t(root)
    jetpack = _jetpack(root, l4t)
    brings = jetpack_brings(jetpack)
    return Jetson(
        model=model or "NVIDIA Jetson",
        family=family,
        module=module.name if module else None,
        compute_capability=soc.compute_capability if soc else None,
        gpu=soc.gpu if soc else None,
        dla_cores=module.dla_cores if module else None,
        l4t=l4t,
        jetpack=jetpack,
        cuda=brings.cuda if brings else None,
    )


def jetson_of_gpu(gpu: CudaDevice, root: Path = ROOT, *, memory_gib: float) -> Jetson | None:
    """The Jetson whose GPU CUDA tells of; None for any other GPU.

    For a container without privileges: `/proc/device-tree` leads into `/sys/firmware`, which
    container engines mask (moby/moby#43419), and dpkg's status is the image's own. What is left
    is CUDA, and `/etc/nv_tegra_release` where NVIDIA's container runtime mounts it. An Orin NX and
    an Orin Nano of 8 GB look the same there: then family and module are None.
    """
    soc = next((s for s in SOCS.values() if s.compute_capability == gpu.compute_capability), None)
    if soc is None or not gpu.integrated:
        return None
    fitting = [
        (family, module)
        for family in FAMILIES_OF_SM[soc.compute_capability]
        if (module := _module(family, memory_gib)) and module.multiprocessors == gpu.multiprocessors
    ]
    family, module = fitting[0] if len(fitting) == 1 else (None, None)
    l4t = parse_release(_text(root / RELEASE_FILE))
    jetpack = JETPACK_OF_L4T.get(l4t or "")
    brings = jetpack_brings(jetpack)
    return Jetson(
        model="NVIDIA Jetson",
        family=family,
        module=module.name if module else None,
        compute_capability=soc.compute_capability,
        gpu=soc.gpu,
        dla_cores=module.dla_cores if module else None,
        l4t=l4t,
        jetpack=jetpack,
        cuda=brings.cuda if brings else gpu.cuda,
    )


def is_jetson(root: Path = ROOT) -> bool:
    """Whether the device tree names a Tegra."""
    return any(entry.startswith(TEGRA) for entry in read_compatible(root))


def jetpack_brings(jetpack: str | None) -> JetPack | None:
    """What the JetPack of that version brings; None for one that is not known."""
    return JETPACKS.get(".".join((jetpack or "").split(".")[:2]))


def read_compatible(root: Path = ROOT) -> tuple[str, ...]:
    """The device tree's `compatible`: board, module and chip, the most special first."""
    return parse_compatible(_device_tree(root, "compatible"))


def parse_compatible(text: str) -> tuple[str, ...]:
    """The strings of a device tree's list, each of which ends with a NUL."""
    return tuple(entry.strip() for entry in text.split("\0") if entry.strip())


def parse_release(text: str) -> str | None:
    """L4T of /etc/nv_tegra_release: `# R36 (release), REVISION: 4.3, …` is `36.4.3`."""
    found = RELEASE.search(text)
    return f"{found[1]}.{found[2]}" if found else None


def debian_packages(root: Path = ROOT) -> dict[str, str]:
    """NVIDIA's Debian packages that are installed, with their versions."""
    return {name: version for name, version, _ in nvidia_stanzas(root)}


def nvidia_stanzas(root: Path = ROOT) -> list[tuple[str, str, str]]:
    """Name, version and whole stanza of NVIDIA's installed packages in dpkg's status."""
    found = []
    for stanza in _text(root / DPKG_STATUS).split("\n\n"):
        name = _field(stanza, "Package")
        if NVIDIA_PACKAGE.match(name) and _field(stanza, "Status").endswith(" installed"):
            found.append((name, _field(stanza, "Version"), stanza.strip()))
    return found


def power_mode(root: Path = ROOT, *, run: Callable[[], str] | None = None) -> str | None:
    """The power mode as `nvpmodel -q` names it, for example `MAXN_SUPER`; None where there is none.

    Where `nvpmodel` says nothing, the name of the mode that it stored. `run` gives its output in
    place of the tool, which is asked only on the real root.
    """
    ask = run or (nvpmodel_query if root == ROOT else str)
    return parse_power_mode(ask()) or _stored_power_mode(root)


def parse_power_mode(text: str) -> str | None:
    """The mode in what `nvpmodel -q` prints, among its warnings and the mode's number."""
    found = POWER_MODE.search(text)
    return found[1] if found else None


def nvpmodel_query() -> str:
    """What `nvpmodel -q` prints; empty where it is not there or does not answer. Needs no root."""
    tool = shutil.which("nvpmodel", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if tool is None:
        return ""
    try:
        done = subprocess.run(
            [tool, "-q"], capture_output=True, text=True, timeout=NVPMODEL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def power_mode_number(root: Path, mode: str) -> int | None:
    """The number that `nvpmodel -m` takes for a mode; None where this device has no such mode."""
    return {name: number for number, name in _power_modes(root).items()}.get(mode)


def _stored_power_mode(root: Path) -> str | None:
    number = STATUS.search(_text(root / POWER_STATUS))
    return _power_modes(root).get(int(number[1])) if number else None


def _power_modes(root: Path) -> dict[int, str]:
    return {int(key): name for key, name in POWER_MODEL.findall(_text(root / POWER_MODES))}


def _family(compatible: tuple[str, ...], model: str) -> str | None:
    parts = [part for entry in compatible for part in PART.findall(entry)]
    known = [PARTS[part] for part in parts if part in PARTS]
    named = [family for words, family in MODELS.items() if words in model]
    return next(iter(known + named), None)


def _module(family: str | None, memory_gib: float) -> Module | None:
    """The family's smallest module that has so much memory: firmware keeps a part for itself."""
    modules = FAMILIES.get(family or "", {})
    return next((modules[size] for size in sorted(modules) if memory_gib <= size), None)


def _l4t(root: Path) -> str | None:
    release = parse_release(_text(root / RELEASE_FILE))
    return release or _version(root, "nvidia-l4t-core")


def _jetpack(root: Path, l4t: str | None) -> str | None:
    return JETPACK_OF_L4T.get(l4t or "") or _version(root, "nvidia-jetpack")


def _version(root: Path, package: str) -> str | None:
    """The numbers that a package's version begins with."""
    found = re.match(r"\d+(?:\.\d+)+", debian_packages(root).get(package, ""))
    return found[0] if found else None


def _field(stanza: str, key: str) -> str:
    found = re.search(rf"^{key}: (.*)$", stanza, re.MULTILINE)
    return found[1].strip() if found else ""


def _device_tree(root: Path, name: str) -> str:
    return next(filter(None, (_text(root / tree / name) for tree in DEVICE_TREES)), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
