"""Which machine this is: the fingerprint that engines are tied to.

Read from files below a root that tests replace with a file tree, and, on a machine that is no
Jetson, from NVIDIA's driver. No backend is imported: `pipeline probe` runs with every `dvc repro`.

A container without privileges does not see which Jetson it runs on. There a file of the node
speaks, which is device.json as `pipeline probe` wrote it on the node (`JETRAIL_DEVICE_FILE` is its
path), or else CUDA, which knows less.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from engines.errors import InputError
from engines.machine import ROOT
from engines.machine.cuda import CudaDevice, read_cuda_device
from engines.machine.jetson import Jetson, jetson_of_gpu, read_jetson
from engines.machine.processor import read_processor
from engines.machine.sensors.nvml import Card, read_card
from engines.packages import PACKAGES, installed_packages
from engines.records.fingerprint import Fingerprint

NODE_FILE = "JETRAIL_DEVICE_FILE"
"""Environment variable with the path of a device.json that the node hands to its containers."""
OF_THE_NODE = (
    *("kind", "gpu", "compute_capability", "gpu_memory_gib", "unified_memory", "dla_cores"),
    *("driver", "cuda", "family", "module", "l4t", "jetpack"),
)
"""What such a file speaks of; processors and packages are the container's own."""

AskCard = Callable[[], Card | None]
AskGpu = Callable[[], CudaDevice | None]


def read_fingerprint(
    root: Path = ROOT,
    *,
    architecture: str | None = None,
    card: AskCard | None = None,
    gpu: AskGpu | None = None,
    node_file: Path | None = None,
) -> Fingerprint:
    """The fingerprint of the machine whose files lie below `root`.

    `card` says which NVIDIA card there is, `gpu` what CUDA says of its GPU; by default the drivers
    do, on the real root only. A Jetson whose files can be seen is not asked: its GPU is known from
    its module. `node_file` stands in for JETRAIL_DEVICE_FILE.

    Raises InputError where /proc cannot be read (any system but Linux), or the node's file cannot,
    or is of another machine.
    """
    processor = read_processor(root)
    memory = max(1, round(processor.memory_gib))
    machine = architecture or platform.machine()
    ask_card = card or (read_card if root == ROOT else _nothing)
    ask_gpu = gpu or (read_cuda_device if root == ROOT else _nothing)
    node = node_file or _named_node_file(root)
    jetson = read_jetson(root, memory_gib=processor.memory_gib)
    if jetson:
        told = _of_jetson(jetson, memory)
    elif node:
        told = _of_node(node, machine, ask_gpu)
    elif masked := _masked_jetson(machine, ask_gpu, root, processor.memory_gib):
        told = _of_jetson(masked, memory) | {"source": "cuda"}
    else:
        told = _of_card(ask_card(), memory)
    is_jetson = told["kind"] == "jetson"
    return Fingerprint(
        name=processor.name,
        architecture=machine,
        isa=processor.isa,
        cores=(is_jetson and processor.present) or processor.usable,
        memory_gib=memory,
        backends=installed_packages(),
        **told,
    )


def _nothing() -> None:
    return None


def _named_node_file(root: Path) -> Path | None:
    named = os.environ.get(NODE_FILE)
    return Path(named) if named and root == ROOT else None


def _masked_jetson(architecture: str, gpu: AskGpu, root: Path, memory_gib: float) -> Jetson | None:
    """The Jetson that CUDA tells of; elsewhere than on ARM nobody is asked."""
    found = gpu() if architecture == "aarch64" else None
    return jetson_of_gpu(found, root, memory_gib=memory_gib) if found else None


def _of_node(path: Path, architecture: str, gpu: AskGpu) -> dict[str, Any]:
    """What the node's file says of GPU and system, unless it is of another machine."""
    said = Fingerprint.read(path)
    found = gpu() if said.compute_capability else None
    here = found.compute_capability if found else said.compute_capability
    if (said.architecture, said.compute_capability) != (architecture, here):
        raise InputError(
            f"Expected {path} ({NODE_FILE}) to be the device.json of this node, which has "
            f"{architecture} and SM {here}, but it is of {describe(said)} ({said.architecture}). "
            "Write it anew on the node with `pipeline probe`, or take the variable away."
        )
    return said.model_dump(include=set(OF_THE_NODE)) | {"source": "node"}


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
    `free` ones, each as `field: expected …, this device has …`.

    What CUDA could not tell in a container is no difference: what is left then are architecture,
    compute capability and whatever it could tell, and TensorRT's version, which is compared apart.
    """
    fields = [
        field
        for field in PACKAGES[package].tied_to
        if field not in free and not any(_untold(one, field) for one in (expected, here))
    ]
    pairs = ((field, getattr(expected, field), getattr(here, field)) for field in fields)
    return [f"{field}: {_difference(one, other)}" for field, one, other in pairs if one != other]


def _untold(fingerprint: Fingerprint, field: str) -> bool:
    return fingerprint.source == "cuda" and getattr(fingerprint, field) is None


def describe(fingerprint: Fingerprint) -> str:
    """The device in words, for messages."""
    sm = f"SM {fingerprint.compute_capability or 'unknown'}"
    if fingerprint.kind == "jetson":
        jetpack = f"JetPack {fingerprint.jetpack or 'unknown'}"
        name = fingerprint.module or f"a Jetson of the family {fingerprint.family or 'unknown'}"
        told = ", as CUDA tells in a container" if fingerprint.source == "cuda" else ""
        return f"{name} ({jetpack}, L4T {fingerprint.l4t or 'unknown'}, {sm}{told})"
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
