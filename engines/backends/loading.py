"""The checks before an engine is deserialised: is it whole, unaltered, and built for here?

A deserialiser trusts its input, and an engine of another device or SDK version crashes or, worse,
computes something else. So the manifest is compared with the file and the machine first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from engines.backends import Backend, Session, open_backend
from engines.errors import InputError, WrongEngine
from engines.machine.fingerprint import differences
from engines.packages import PACKAGES
from engines.records.fingerprint import Fingerprint
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest

SYSTEM = frozenset({"driver", "cuda", "l4t", "jetpack"})
FREE = {
    "none": frozenset[str](),
    "same-compute-capability": frozenset({"gpu", "driver", "cuda"}),
    "ampere+": frozenset({"gpu", "compute_capability", "driver", "cuda"}),
}
"""Hardware compatibility to the fields of the fingerprint that a plan is not tied to with it."""


def load_engine(
    folder: Path, device: Fingerprint, *, in_flight: int = 1
) -> tuple[Manifest, Session]:
    """Check and load the engine in `folder`; `in_flight` 1 means lowest latency.

    Raises WrongEngine when it is damaged, altered or not for this device, InputError when there is
    no readable manifest.
    """
    manifest = EngineFolder(folder).read(Manifest)
    engine = check_engine(folder, manifest, device)
    return manifest, _backend(manifest).load(engine, manifest, in_flight=in_flight)


def check_engine(folder: Path, manifest: Manifest, device: Fingerprint) -> Path:
    """The engine's file, when it is what the manifest says and may run here.

    Raises WrongEngine with the field that differs, both values and what to do.
    """
    _check_device(manifest, device)
    _check_compute_capability(manifest, device)
    _check_backend(manifest, _backend(manifest))
    if problem := EngineFolder(folder).altered(manifest):
        raise _refused(manifest, problem)
    return folder / manifest.engine_file


def device_differences(manifest: Manifest, device: Fingerprint) -> list[str]:
    """The fields of the fingerprint that differ of those that tie this engine to its device: fewer
    where it was built to be compatible with other hardware or later versions."""
    plan = manifest.tensorrt
    free = FREE[plan.hardware_compatibility] if plan else FREE["none"]
    if plan and plan.version_compatible:
        free |= SYSTEM
    return differences(manifest.device, device, manifest.backend_package, free)


def _backend(manifest: Manifest) -> Backend[Any]:
    row = PACKAGES.get(manifest.backend_package)
    if row is None or row.backend != manifest.backend:
        known = ", ".join(f"{one.backend} on {one.name}" for one in PACKAGES.values())
        raise _refused(
            manifest,
            f"backend: expected one of {known}, the manifest says {manifest.backend!r} on "
            f"{manifest.backend_package!r}",
        )
    return open_backend(row.name)


def _check_device(manifest: Manifest, device: Fingerprint) -> None:
    if found := device_differences(manifest, device):
        raise _refused(
            manifest, "it was built for another device: " + "; ".join(f"device {d}" for d in found)
        )


def _check_compute_capability(manifest: Manifest, device: Fingerprint) -> None:
    """Whether the plan was built for this GPU, where it was built for some by name.

    No advice to build it again: the same row would make the same plan.
    """
    plan, here = manifest.tensorrt, device.compute_capability
    built_for = plan.compute_capabilities if plan else ()
    if built_for and here and here not in built_for:
        raise WrongEngine(
            f"Engine {manifest.engine} is refused: it was built for GPUs of SM "
            f"{', '.join(built_for)}, and {device.gpu} has SM {here}. Add {here!r} to "
            f"`builder.compute_capabilities` in the params.yaml of {manifest.target}, then build "
            f"it with `pipeline build {manifest.engine} --target {manifest.target}`; where "
            "TensorRT-RTX does not build for it, the build says so."
        )


def _check_backend(manifest: Manifest, backend: Backend[Any]) -> None:
    try:
        installed = backend.version()
    except InputError as error:
        problem = f"{manifest.backend_package} is not installed here"
        raise _refused(manifest, problem, _installing(manifest)) from error
    if not _takes(manifest, installed):
        raise _refused(
            manifest,
            f"backend_version: it was built with {manifest.backend_package} "
            f"{manifest.backend_version}, here is {installed}",
            _installing(manifest),
        )


def _installing(manifest: Manifest) -> str:
    """How the version that built the engine gets here, for who loads it and has no clone to build
    it in; nothing where it comes with the device's system."""
    package = PACKAGES[manifest.backend_package].requirement
    version = manifest.backend_version
    return f"Run `pip install {package}=={version}`, or build it here" if package else ""


def _takes(manifest: Manifest, installed: str) -> bool:
    """Whether the installed version loads the engine: the one that built it, and for a plan that is
    version compatible later ones of the same major version (TensorRT's developer guide)."""
    built = manifest.backend_version
    if not (manifest.tensorrt and manifest.tensorrt.version_compatible):
        return installed == built
    try:
        here, there = Version(installed), Version(built)
    except InvalidVersion:
        return False
    return here.major == there.major and here >= there


def _refused(manifest: Manifest, problem: str, remedy: str = "") -> WrongEngine:
    return WrongEngine(
        f"Engine {manifest.engine} is refused: {problem}. {remedy or 'Build it here'} with "
        f"`pipeline build {manifest.engine} --target {manifest.target}`."
    )
