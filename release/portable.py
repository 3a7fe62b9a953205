"""What a released engine needs to be loaded where Jetrail is not installed.

Jetrail's own Python files travel with the model. As a requirement, its name would be looked up in
whatever package index the loading machine uses, and anybody may give that name to a package there.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import engines
import release
from engines.records.manifest import Manifest

_PACKAGES = ("numpy", "opencv-python-headless", "pandas", "pydantic", "ruamel.yaml")
"""What `release.pyfunc` and `engines.detector` import, with any backend."""

_RUNTIMES = {"openvino": "openvino", "tensorrt_rtx": "tensorrt-rtx"}
"""Backend's package to the distribution that runs its engines. TensorRT is not there: it comes with
the device's system."""

_ON_A_GPU = ("cuda-bindings",)
"""What the backend `tensorrt` imports beside it."""


def requirements(manifest: Manifest) -> tuple[str, ...]:
    """What pip has to install, pinned: the runtime to the version that the engine was built with,
    the rest to what is installed here (where it is)."""
    runtime = _RUNTIMES.get(manifest.backend_package)
    first = (f"{runtime}=={manifest.backend_version}",) if runtime else ()
    beside = _ON_A_GPU if manifest.backend == "tensorrt" else ()
    return (*first, *map(_pinned, (*beside, *_PACKAGES)))


def copy_code(folder: Path) -> list[str]:
    """Copy the Python files of `engines` and `release` into `folder`; gives the two folders made.

    Only what is a module: targets with their engines, charts and records lie in there too.
    """
    copies = []
    for package in (engines, release):
        source = Path(str(package.__file__)).parent
        copy = folder / source.name
        for init in source.rglob("__init__.py"):
            inner = copy / init.parent.relative_to(source)
            inner.mkdir(parents=True, exist_ok=True)
            for module in init.parent.glob("*.py"):
                shutil.copyfile(module, inner / module.name)
        copies.append(str(copy))
    return copies


def _pinned(package: str) -> str:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        # A machine that only publishes needs no OpenCV, for example.
        return package
