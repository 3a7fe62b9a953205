"""Which machine this is: the fingerprint that engines are tied to.

Read from files below a root that tests replace with a file tree, and, on a machine that is no
Jetson, from NVIDIA's driver. No backend is imported: `pipeline probe` runs with every `dvc repro`.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from engines.machine import ROOT
from engines.machine.jetson import Jetson, read_jetson
from engines.machine.processor import read_processor
from engines.machine.sensors.nvml import Card, read_card
from engines.packages import PACKAGES, installed_packages
from engines.records.fingerprint import Fingerprint


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
        backends=installed_packages(),
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


def differences(
    expected: Fingerprint, here: Fingerprint, package: str, free: Collection[str] = ()
) -> list[str]:
    """The fields that differ of those that tie an engine of `package` to a device, but for the
    `free` ones, each as `field: expected …, this device has …`."""
    fields = (field for field in PACKAGES[package].tied_to if field not in free)
    pairs = ((field, getattr(expected, field), getattr(here, field)) for field in fields)
    return [f"{field}: {_difference(one, other)}" for field, one, other in pairs if one != other]


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


def _difference(expected: object, here: object) -> str:
    if isinstance(expected, tuple) and isinstance(here, tuple):
        missing = ", ".join(sorted(set(expected) - set(here))) or "nothing"
        added = ", ".join(sorted(set(here) - set(expected))) or "nothing"
        return f"this device lacks {missing} and has {added} more"
    return f"expected {expected!r}, this device has {here!r}"
