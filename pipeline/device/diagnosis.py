"""Doctor: what this machine is, what it can build and measure, and what is missing.

Reads files and versions; no backend is imported in this process and nothing is built. Whether
TensorRT can be imported is tried in another one.
"""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engines.config.target import TargetConfig, load_target, target_names
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.machine import ROOT
from engines.machine.cuda import newer_than_driver
from engines.machine.fingerprint import read_fingerprint
from engines.machine.jetson import debian_packages, power_mode, power_mode_number
from engines.packages import Package, extra_command, installed_version
from engines.records.fingerprint import Fingerprint
from pipeline.device.installing import environment_command, how_to_install
from pipeline.device.recognition import mismatches
from pipeline.device.trial import import_problem
from pipeline.latency import trtexec_tool

DEVICE_EXTRA = f"Install it with {extra_command('device')}."


@dataclass(frozen=True, kw_only=True)
class Component:
    """A package or tool: its version or place, None where it is missing."""

    name: str
    found: str | None


@dataclass(frozen=True, kw_only=True)
class TargetState:
    """What stands in the way of a target here: sentences, each with the command that helps; None
    where this is another device."""

    name: str
    wants: str
    """The device that it is for."""
    build: tuple[str, ...] | None
    measure: tuple[str, ...] | None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All that `pipeline doctor` prints."""

    device: Fingerprint
    power_mode: str | None
    parts: tuple[Component, ...]
    targets: tuple[TargetState, ...]


@dataclass(frozen=True)
class Python:
    """What the environment that runs this has."""

    version: Callable[[str], str | None]
    """The version of a package; None where it is missing."""
    problem: Callable[[str], str]
    """Why a package that is there cannot be used; empty where it can."""


def diagnose(
    workspace: Workspace,
    root: Path = ROOT,
    *,
    version: Callable[[str], str | None] = installed_version,
    problem: Callable[[str], str] | None = None,
) -> Diagnosis:
    """Look at the machine whose files lie below `root`; `version` says which Python packages it
    has, `problem` why one that it has cannot be used (tried on the real root only)."""
    device = read_fingerprint(root)
    mode = power_mode(root) if device.kind == "jetson" else None
    python = Python(version, cache(problem or (import_problem if root == ROOT else _no_problem)))
    targets = (
        _target(workspace, name, device, mode, root, python) for name in target_names(workspace)
    )
    return Diagnosis(
        device=device,
        power_mode=mode,
        parts=tuple(_parts(device, root, version)),
        targets=tuple(targets),
    )


def _no_problem(package: str) -> str:
    return ""


def _parts(
    device: Fingerprint, root: Path, version: Callable[[str], str | None]
) -> Iterator[Component]:
    """What matters on such a device, whether it is there or not."""
    x86, nvidia = device.architecture == "x86_64", device.kind != "cpu"
    names = [
        *(["openvino"] if x86 else []),
        *(["tensorrt"] if nvidia else []),
        *(["tensorrt_rtx"] if x86 else []),
        *("polygraphy", "cuda-bindings"),
    ]
    yield from (Component(name=name, found=version(name)) for name in names)
    if device.kind != "jetson":
        yield Component(name="nvidia-ml-py (sees NVIDIA cards)", found=version("nvidia-ml-py"))
    if device.kind == "jetson":
        debian = debian_packages(root)
        for name in ("nvidia-jetpack", "python3-libnvinfer"):
            yield Component(name=f"{name} (apt)", found=debian.get(name))
        yield Component(name="nvpmodel", found=_tool("nvpmodel", root))
    if nvidia:
        yield Component(name="trtexec", found=_cross_checker("tensorrt", root))
    if nvidia and x86:
        yield Component(name="tensorrt_rtx (tool)", found=_cross_checker("tensorrt_rtx", root))


def _tool(name: str, root: Path) -> str | None:
    """Where a command is; only on the real root."""
    folders = f"{os.environ.get('PATH', '')}:/usr/sbin"
    return shutil.which(name, path=folders) if root == ROOT else None


def _cross_checker(package: str, root: Path) -> str | None:
    """Where NVIDIA's tool for `--cross-check` is; only on the real root."""
    found = trtexec_tool.locate(package) if root == ROOT else None
    return str(found) if found else None


def _target(
    workspace: Workspace,
    name: str,
    device: Fingerprint,
    mode: str | None,
    root: Path,
    python: Python,
) -> TargetState:
    try:
        row = load_target(workspace, name)
    except InputError as error:
        return TargetState(name=name, wants="?", build=(str(error),), measure=(str(error),))
    build = measure = None
    if not mismatches(device, row.build_device):
        build = tuple(_missing(device, row.package, row.package.build_needs, root, python))
    if not mismatches(device, row.device):
        wrong_mode = _power_mode(row, mode, root)
        measuring = (*row.package.build_needs, *row.package.run_needs)
        measure = (*_missing(device, row.package, measuring, root, python), *wrong_mode)
    wants = ", ".join(row.device.values())
    return TargetState(name=name, wants=wants, build=build, measure=measure)


def _missing(
    device: Fingerprint,
    package: Package,
    beside: tuple[str, ...],
    root: Path,
    python: Python,
) -> Iterator[str]:
    if python.version(package.name) is None:
        yield f"{package.name} is missing. {_install(device, package.name, root)}"
    elif package.backend == "tensorrt" and (problem := python.problem(package.name)):
        yield problem
    for other in beside:
        version = python.version(other)
        if version is None:
            yield f"{other} is missing. {DEVICE_EXTRA}"
        elif other == "cuda-bindings" and (
            too_new := newer_than_driver(version, device.cuda or "")
        ):
            yield too_new


def _install(device: Fingerprint, package: str, root: Path) -> str:
    debian = debian_packages(root).get("python3-libnvinfer")
    if package != "tensorrt" or device.kind != "jetson" or debian is None:
        return how_to_install(device, package)
    return (
        f"JetPack's python3-libnvinfer {debian} is installed, but this Python "
        f"{platform.python_version()} does not see it: make the virtual environment anew with "
        f"{environment_command(device.jetpack)}."
    )


def _power_mode(row: TargetConfig, mode: str | None, root: Path) -> Iterator[str]:
    wanted = row.benchmark.power_mode
    if wanted is None or mode == wanted:
        return
    number = power_mode_number(root, wanted)
    command = f"`sudo nvpmodel -m {number}`" if number is not None else "`sudo nvpmodel -m NUMBER`"
    known = "" if number is not None else ", or name a mode of this device in its params.yaml"
    yield f"the power mode is {mode or 'unknown'}, the row wants {wanted}: {command}{known}"
