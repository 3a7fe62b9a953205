"""Whether a package that is installed can be used too: tried in a process of its own.

JetPack 6's TensorRT bindings were compiled before NumPy 2, and a virtual environment brings NumPy 2
beside them: what was compiled for NumPy 1 "cannot be run in NumPy 2" unless it was with pybind11
2.12 or later (NumPy's own words; microsoft/onnxruntime#27562 is a wheel for JetPack 6 of which they
are true). Whether TensorRT's are such, no document says, so it is tried. A process of its own: a
module like that may crash, and `doctor` imports no backend.
"""

from __future__ import annotations

import os
import subprocess
import sys

from engines.process.orphans import SAFE_PATH

SECONDS = 60
CODE = """
import numpy, {package} as trt
trt.Weights(numpy.zeros(1, numpy.float32))
"""
"""Imports, and hands an array to the bindings: they look for NumPy's functions only then."""

NUMPY_1 = "compiled using NumPy 1"
PIN = "`pip install 'numpy<2' 'opencv-python-headless<4.12'`"
"""OpenCV's wheels from 4.12 on want NumPy 2."""


def import_problem(package: str, python: str = sys.executable) -> str:
    """Why a TensorRT package that is installed cannot be used, with what to do; empty where it can.

    `python` is the interpreter that tries it.
    """
    try:
        done = subprocess.run(
            [python, "-c", CODE.format(package=package)],
            env=os.environ | SAFE_PATH,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{package} is installed, but its import did not end within {SECONDS} seconds."
    if NUMPY_1 in done.stderr:
        return (
            f"{package} is installed, but was compiled for NumPy 1 and does not run beside the "
            f"NumPy 2 of this environment: {PIN}."
        )
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
    return (
        f"{package} is installed, but cannot be used: {said[0]}. If that speaks of NumPy, {PIN}; "
        "if not, install the package again."
    )
