"""Which machine this is: the fingerprint that engines are tied to.

Read from files below a root that tests replace with a file tree, and, on a machine that is no
Jetson, from NVIDIA's driver. No backend is imported: `pipeline probe` runs with every `dvc repro`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engines.backends import BACKENDS
from engines.config.target import TargetConfig
from engines.errors import InputError, WrongEngine
from engines.installing import how_to_install
from engines.jetson import ROOT, Jetson, read_jetson
from engines.nvml import Card, read_card
from engines.processor import read_processor
from engines.records.fingerprint import Fingerprint

PROCESSOR = ("architecture", "name", "isa", "cores")
GPU = (
    *("kind", "architecture", "gpu", "compute_capability", "driver", "cuda"),
    *("family", "module", "l4t", "jetpack"),
)
COMPARED = {"openvino": PROCESSOR, "tensorrt": GPU, "tensorrt_rtx": ("architecture",)}
"""Package to the fields of the fingerprint that tie its engines to a device.

`cores` is among the processor's since latencies and the verdict were measured with that many; on a
Jetson the power mode changes them, so there they are not. Memory and the versions of other packages
are nowhere. A plan of TensorRT-RTX is compiled for the GPU when it is loaded.
"""


DISTRIBUTIONS = {"tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12")}
"""Package of a backend to the names that its installations go by; one's own name where not here."""


def read_fingerprint(
    root: Path = ROOT,
    *,
    architecture: str | None = None,
    card: Callable[[], Card | None] | None = None,
) -> Fingerprint:
    """The fingerprint of the machine whose files lie below `root`.

    `card` says which NVIDIA card there is; by default the driver does, on the real root alone. A
    Jetson is not asked: its GPU is known from its module. Raises InputError where /proc cannot be
    read (any system but Linux).
    """
    processor = read_processor(root)
    memory = max(1, round(processor.memory_gib))
    jetson = read_jetson(root, memory_gib=processor.memory_gib)
    return Fingerprint(
        name=processor.name,
        architecture=architecture or platform.machine(),
        isa=processor.isa,
        cores=(jetson and processor.present) or processor.usable,
        memory_gib=memory,
        backends=installed_backends(),
        **(_of_jetson(jetson, memory) if jetson else _of_card(_card(root, card), memory)),
    )


def _card(root: Path, card: Callable[[], Card | None] | None) -> Card | None:
    if card is not None:
        return card()
    return read_card() if root == ROOT else None


def _of_jetson(jetson: Jetson, memory_gib: int) -> dict[str, Any]:
    return {
        "kind": "jetson",
        "gpu": jetson.gpu,
        "compute_capability": jetson.compute_capability,
        "gpu_memory_gib": memory_gib,
        "unified_memory": True,
        "dla_cores": jetson.dla_cores,
        "driver": jetson.l4t,  # the driver is a part of Jetson Linux
        "cuda": jetson.cuda,
        "family": jetson.family,
        "module": jetson.module,
        "l4t": jetson.l4t,
        "jetpack": jetson.jetpack,
    }


def _of_card(card: Card | None, memory_gib: int) -> dict[str, Any]:
    if card is None:
        return {"kind": "cpu"}
    unified = card.memory_mib is None
    own = memory_gib if card.memory_mib is None else max(1, round(card.memory_mib / 2**10))
    return {
        "kind": "dgpu",
        "gpu": card.name,
        "compute_capability": card.compute_capability,
        "gpu_memory_gib": own,
        "unified_memory": unified,
        "dla_cores": 0,
        "driver": card.driver,
        "cuda": card.cuda,
    }


def installed_backends() -> dict[str, str]:
    """Package of a backend to its installed version, without importing any.

    JetPack's `python3-libnvinfer` is seen too, where the system's packages are.
    """
    packages = (package for entry in BACKENDS.values() for package in entry.packages)
    versions = {package: installed_version(package) for package in packages}
    return {package: found for package, found in versions.items() if found is not None}


def installed_version(package: str) -> str | None:
    """The version of a Python package that is installed here; None where none is."""
    for name in DISTRIBUTIONS.get(package, (package,)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def differences(
    expected: Fingerprint, here: Fingerprint, package: str, free: Collection[str] = ()
) -> list[str]:
    """The fields that differ of those that tie an engine of `package` to a device, but for the
    `free` ones, each as `field: expected …, this device has …`."""
    fields = (field for field in COMPARED[package] if field not in free)
    pairs = ((field, getattr(expected, field), getattr(here, field)) for field in fields)
    return [f"{field}: {_difference(one, other)}" for field, one, other in pairs if one != other]


def check_target(
    fingerprint: Fingerprint,
    target: TargetConfig,
    expected: Mapping[str, str],
    others: Callable[[], Iterable[TargetConfig]] = tuple,
) -> None:
    """Raise WrongEngine unless this device is what the target's row asks for: `expected` is its
    `device` or its `build_device`. `others` gives the targets to name instead, where one is for
    this device. Raises InputError when the row asks for something that no fingerprint says."""
    if target.backend not in BACKENDS:
        raise InputError(
            f"Target {target.target}: expected one of the backends {', '.join(BACKENDS)}, came "
            f"{target.backend!r}. Mend `backend:` in its params.yaml."
        )
    if unknown := expected.keys() - Fingerprint.model_fields.keys():
        raise InputError(
            f"Target {target.target}: expected under `device:` the fields of a fingerprint "
            f"({', '.join(PROCESSOR)}, …), came {', '.join(sorted(unknown))}. Mend its params.yaml."
        )
    if wrong := mismatches(fingerprint, expected):
        raise WrongEngine(
            f"Expected a device of target {target.target} ({_row(expected)}), came "
            f"{describe(fingerprint)}, which is not {', '.join(wrong)}. "
            + _elsewhere(target, [row.target for row in others() if suits(fingerprint, row)])
        )
    if target.package not in fingerprint.backends:
        installed = ", ".join(fingerprint.backends) or "none"
        raise WrongEngine(
            f"Expected the package {target.package!r}, which target {target.target} runs on, on "
            f"this device, came {installed} installed. "
            + how_to_install(fingerprint, target.package)
        )


def mismatches(fingerprint: Fingerprint, expected: Mapping[str, str]) -> list[str]:
    """What a row asks for and this device is not, each as `key: value`."""
    asked = expected.items()
    return [f"{key}: {value}" for key, value in asked if not _matches(fingerprint, key, value)]


def suits(fingerprint: Fingerprint, target: TargetConfig) -> bool:
    """Whether this is a device of the target, with the package that its engines run on."""
    at_home = target.package in fingerprint.backends
    return at_home and not mismatches(fingerprint, target.device)


def frames_in_flight(fingerprint: Fingerprint, package: str) -> tuple[int, int]:
    """How many frames at once keep the device busy: a number to begin with, and a larger one."""
    # One frame a core keeps them busy; the second hides the work between two inferences. A GPU runs
    # one inference at a time, while the processors make the next frame ready.
    return (fingerprint.cores, 2 * fingerprint.cores) if package == "openvino" else (2, 4)


def _elsewhere(target: TargetConfig, suiting: list[str]) -> str:
    runner = f" (GitLab runners have the tag {target.runner_tag})" if target.runner_tag else ""
    if suiting:
        here = f"take a target of this one: `--target {suiting[0]}`"
        more = f" (or {', '.join(suiting[1:])})" if suiting[1:] else ""
        return f"Run this on such a device{runner}, or {here}{more}."
    return (
        f"Run this on such a device{runner}, or add a target for this one with `pipeline "
        "add-target NAME --from TARGET` and set its `device:`. `pipeline doctor` says what this "
        "machine can do."
    )


def describe(fingerprint: Fingerprint) -> str:
    """The device in words, for messages."""
    sm = f"SM {fingerprint.compute_capability or 'unknown'}"
    if fingerprint.kind == "jetson":
        jetpack = f"JetPack {fingerprint.jetpack or 'unknown'}"
        name = fingerprint.module or f"a Jetson of the family {fingerprint.family or 'unknown'}"
        return f"{name} ({jetpack}, L4T {fingerprint.l4t or 'unknown'}, {sm})"
    if fingerprint.kind == "dgpu":
        memory = f"{fingerprint.gpu_memory_gib} GiB"
        driver = f"driver {fingerprint.driver}"
        return f"{fingerprint.gpu} ({sm}, {memory}, {driver}) in {_processor(fingerprint)}"
    return f"{_processor(fingerprint)} without an NVIDIA GPU"


def _processor(fingerprint: Fingerprint) -> str:
    cores = f"{fingerprint.cores} core{'s' if fingerprint.cores != 1 else ''}"
    return f"{fingerprint.name!r} ({fingerprint.architecture}, {cores})"


def _matches(fingerprint: Fingerprint, key: str, value: str) -> bool:
    found = getattr(fingerprint, key, None)
    if isinstance(found, tuple):
        return set(value.split()) <= set(found)
    return str(found) == value


def _row(device: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in device.items())


def _difference(expected: object, here: object) -> str:
    if isinstance(expected, tuple) and isinstance(here, tuple):
        missing = ", ".join(sorted(set(expected) - set(here))) or "nothing"
        added = ", ".join(sorted(set(here) - set(expected))) or "nothing"
        return f"this device lacks {missing} and has {added} more"
    return f"expected {expected!r}, this device has {here!r}"
