"""Which machine this is: the fingerprint that engines are tied to.

Read from `/proc` below a root that tests replace with a file tree; nothing is imported and no
device is opened.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engines.backends import BACKENDS
from engines.config import TargetConfig
from engines.errors import InputError, WrongEngine
from engines.records import Fingerprint

ROOT = Path("/")

# fmt: off
KERNEL_FLAGS = frozenset({
    "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512dq", "avx512vl",
    "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni", "avx_vnni_int8",
    "avx_ne_convert", "amx_tile", "amx_bf16", "amx_int8", "amx_fp16", "avx10", "asimd",
    "asimddp", "asimdhp", "i8mm", "bf16", "sve", "sve2", "svebf16", "svei8mm", "sme",
})
# fmt: on
"""Flags of /proc/cpuinfo that change which kernels a CPU engine is compiled to."""

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


def read_fingerprint(root: Path = ROOT, *, architecture: str | None = None) -> Fingerprint:
    """The fingerprint of this machine's CPU; `root` holds `proc/`.

    Raises InputError where /proc cannot be read (any system but Linux).
    """
    try:
        cpuinfo = _parse_cpuinfo((root / "proc/cpuinfo").read_text(errors="replace"))
        memory_kib = _memory_kib((root / "proc/meminfo").read_text())
    except OSError as error:
        raise InputError(
            f"Expected Linux's /proc/cpuinfo and /proc/meminfo, but {error.filename} cannot be "
            f"read ({error.strerror}). Run this on the Linux device itself."
        ) from error
    flags = (cpuinfo.get("flags") or cpuinfo.get("Features") or "").split()
    return Fingerprint(
        kind="cpu",
        name=_cpu_name(cpuinfo, root),
        architecture=architecture or platform.machine(),
        isa=tuple(sorted(KERNEL_FLAGS.intersection(flags))),
        cores=len(os.sched_getaffinity(0)),
        memory_gib=max(1, round(memory_kib / 2**20)),
        backends=installed_backends(),
    )


def installed_backends() -> dict[str, str]:
    """Package of a backend to its installed version, without importing any."""
    found = {}
    for package in (name for entry in BACKENDS.values() for name in entry.packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def differences(expected: Fingerprint, here: Fingerprint, package: str) -> list[str]:
    """The fields that differ of those that tie an engine of `package` to a device, each as
    `field: expected …, this device has …`."""
    fields = COMPARED[package]
    pairs = ((field, getattr(expected, field), getattr(here, field)) for field in fields)
    return [f"{field}: {_difference(one, other)}" for field, one, other in pairs if one != other]


def check_target(
    fingerprint: Fingerprint, target: TargetConfig, expected: Mapping[str, str]
) -> None:
    """Raise WrongEngine unless this device is what the target's row asks for: `expected` is its
    `device` or its `build_device`. Raises InputError when the row asks for something that no
    fingerprint says."""
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
    wrong = [
        f"{key}: {value}"
        for key, value in expected.items()
        if not _matches(fingerprint, key, value)
    ]
    if wrong:
        raise WrongEngine(
            f"Expected a device of target {target.target} ({_row(expected)}), came "
            f"{describe(fingerprint)}, which is not {', '.join(wrong)}. {_elsewhere(target)}"
        )
    if target.package not in fingerprint.backends:
        installed = ", ".join(fingerprint.backends) or "none"
        raise WrongEngine(
            f"Expected the package {target.package!r}, which target {target.target} runs on, on "
            f"this device, came {installed} installed. "
            + how_to_install(fingerprint, target.package)
        )


def how_to_install(fingerprint: Fingerprint, package: str) -> str:
    """The sentence that says how a backend's package comes onto this device."""
    return f"Install {package} with `pip install '.[device]'` and probe again."


def frames_in_flight(fingerprint: Fingerprint, package: str) -> tuple[int, int]:
    """How many frames at once keep the device busy: a number to begin with, and a larger one."""
    # One frame a core keeps them busy; the second hides the work between two inferences. A GPU runs
    # one inference at a time, while the processors make the next frame ready.
    return (fingerprint.cores, 2 * fingerprint.cores) if package == "openvino" else (2, 4)


def _elsewhere(target: TargetConfig) -> str:
    runner = f" (GitLab runners have the tag {target.runner_tag})" if target.runner_tag else ""
    return (
        f"Run this on such a device{runner}, or add a target for this one with `pipeline "
        "add-target NAME --from TARGET` and set its `device:`."
    )


def describe(fingerprint: Fingerprint) -> str:
    """The device in words, for messages."""
    return (
        f"{fingerprint.kind} {fingerprint.name!r} ({fingerprint.architecture}, "
        f"{fingerprint.cores} cores)"
    )


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


def _parse_cpuinfo(text: str) -> dict[str, str]:
    """The keys of the first processor, and those after all processors (ARM's `Hardware`)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _cpu_name(cpuinfo: dict[str, str], root: Path) -> str:
    if name := cpuinfo.get("model name") or cpuinfo.get("Model"):
        return name
    board = root / "proc/device-tree/model"
    if board.is_file():
        return board.read_text(errors="replace").strip("\0 \n")
    maker, part = cpuinfo.get("CPU implementer", "?"), cpuinfo.get("CPU part", "?")
    return f"CPU implementer {maker} part {part}"


def _memory_kib(meminfo: str) -> int:
    for line in meminfo.splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1])
    return 0
