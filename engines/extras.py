"""Which extra of Jetrail brings a Python package that is not there, and what a machine without it
does instead: said once, for every command."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from engines.packages import extra_command

DISTRIBUTIONS = {
    "PIL": "pillow",
    "cuda": "cuda-bindings",
    "cv2": "opencv-python-headless",
    "cyclonedx": "cyclonedx-python-lib",
    "faster_coco_eval": "faster-coco-eval",
    "gitlab": "python-gitlab",
    "prometheus_client": "prometheus-client",
    "pynvml": "nvidia-ml-py",
    "pytest_benchmark": "pytest-benchmark",
    "tensorrt_rtx": "tensorrt-rtx",
    "ultralytics": "ultralytics-opencv-headless",
    "yaml": "pyyaml",
}
"""Modules that are called otherwise than what brings them."""

FIRST = {
    "pipeline": ("device", "export", "release", "rtx"),
    "release": ("release", "device", "rtx", "export"),
    "runtime": ("runtime", "device", "rtx"),
}
"""Program to its extras, the first that has the package first."""

INSTEAD = {
    "device": "docs/jetson.md says under 2 how a device gets it.",
    "export": "A device needs none of it: it takes the ONNX files of CI or of a laptop, as "
    "docs/jetson.md says under 3.",
    "release": "A device needs none of it: publish, sign and roll out where it is, with the "
    "engines that the device made, as docs/jetson.md says under 6.",
    "runtime": "A pod has it in its base image: `release base build NAME` makes one, as "
    "docs/runtime.md says.",
    "rtx": "It is for x86_64 machines, as docs/jetson.md says.",
}
"""What a machine without the extra does."""


def require(module: str) -> None:
    """Raise ModuleNotFoundError where `module` is not there, before a child process needs it."""
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named '{module}'", name=module)


def missing_extra(error: ImportError, program: str) -> str | None:
    """The sentence for a package that one of Jetrail's extras brings; None for any other one.

    `program`: pipeline, release or runtime, whose own extras are looked at first.
    """
    module = (error.name or "").partition(".")[0]
    package = DISTRIBUTIONS.get(module, module)
    having = _extras_with(package)
    known = [*FIRST.get(program, ()), *INSTEAD]
    extra = next((one for one in known if one in having), None)
    if not isinstance(error, ModuleNotFoundError) or extra is None:
        return None
    return (
        f"Expected the Python package {package}, which is not installed here: it comes with the "
        f"extra jetrail[{extra}]. In the root of the repository run {extra_command(extra)}. "
        f"{INSTEAD[extra]}"
    )


def _extras_with(package: str) -> set[str]:
    """The extras that name `package`; none where Jetrail is not installed, as in an image."""
    try:
        rows = requires("jetrail") or []
    except PackageNotFoundError:
        return set()
    found = set()
    for row in rows:
        name = re.match(r"[\w.-]+", row)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", row)
        if name and extra and _normal(name[0]) == _normal(package):
            found.add(extra[1])
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
