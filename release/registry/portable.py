"""What a released engine needs to be loaded where Jetrail is not installed.

Jetrail's own Python files travel with the model. As a requirement, its name would be looked up in
whatever package index the loading machine uses, and anybody may give that name to a package there.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import engines
from engines.files import copy_file
from engines.packages import PACKAGES
from engines.records.manifest import Manifest

_PACKAGES = ("numpy", "opencv-python-headless", "packaging", "pandas", "pillow", "pydantic")
"""What `engines.detect.pyfunc` and `engines.detect.detector` import, with any backend."""


def requirements(manifest: Manifest) -> tuple[str, ...]:
    """What pip has to install, pinned: the runtime to the version that the engine was built with,
    the rest to what is installed here (where it is)."""
    row = PACKAGES[manifest.backend_package]
    runtime = (f"{row.requirement}=={manifest.backend_version}",) if row.requirement else ()
    return (*runtime, *map(_pinned, (*row.run_needs, *_PACKAGES)))


def copy_code(folder: Path) -> str:
    """Copy the Python files of `engines` into `folder`; gives the folder made.

    Only what is a module: targets with their engines lie in there too.
    """
    source = Path(str(engines.__file__)).parent
    copy = folder / source.name
    for init in source.rglob("__init__.py"):
        inner = copy / init.parent.relative_to(source)
        inner.mkdir(parents=True, exist_ok=True)
        for module in init.parent.glob("[!.]*.py"):  # Emacs' lock .#x.py leads nowhere
            copy_file(module, inner / module.name)
    return str(copy)


def _pinned(package: str) -> str:
    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        # A machine that only publishes needs no OpenCV, for example.
        return package
