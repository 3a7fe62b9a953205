"""What a released engine needs to be loaded where Jetrail is not installed.

Jetrail's own Python files travel with the model. As a requirement, its name would be looked up in
whatever package index the loading machine uses, and anybody may give that name to a package there.
"""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import engines
from engines.records.manifest import Manifest

_PACKAGES = ("numpy", "opencv-python-headless", "pandas", "pydantic", "ruamel.yaml")
"""What `engines.detect.pyfunc` and `engines.detect.detector` import, with any backend."""

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


def copy_code(folder: Path) -> str:
    """Copy the Python files of `engines` into `folder`; gives the folder made.

    Only what is a module: targets with their engines lie in there too.
    """
    source = Path(str(engines.__file__)).parent
    copy = folder / source.name
    for init in source.rglob("__init__.py"):
        inner = copy / init.parent.relative_to(source)
        inner.mkdir(parents=True, exist_ok=True)
        for module in init.parent.glob("*.py"):
            shutil.copyfile(module, inner / module.name)
    return str(copy)


def _pinned(package: str) -> str:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        # A machine that only publishes needs no OpenCV, for example.
        return package
