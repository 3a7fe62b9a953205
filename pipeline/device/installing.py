"""How a backend's package comes onto a device: the sentence with the command."""

from __future__ import annotations

from packaging.version import Version

from engines.machine.jetson import jetpack_brings
from engines.packages import extra_command
from engines.records.fingerprint import Fingerprint

JETRAIL_PYTHON = Version("3.10")


def how_to_install(fingerprint: Fingerprint, package: str) -> str:
    """The sentence that says how a backend's package comes onto this device."""
    if package == "tensorrt" and fingerprint.kind == "jetson":
        return _tensorrt_on_jetson(fingerprint.jetpack)
    if package == "tensorrt":
        return _tensorrt_elsewhere(fingerprint)
    if package == "tensorrt_rtx":
        return _tensorrt_rtx(fingerprint)
    if fingerprint.architecture != "x86_64":
        return f"Jetrail installs {package} only on x86_64 machines: run this on one."
    return f"Install {package} with {extra_command('device')} and probe again."


def _tensorrt_on_jetson(jetpack: str | None) -> str:
    brings = jetpack_brings(jetpack)
    if brings and Version(brings.python) < JETRAIL_PYTHON:
        return (
            f"JetPack {jetpack} has TensorRT only for Python {brings.python}, and Jetrail wants "
            "3.10 or later: flash JetPack 6 or later, which runs on Orin and Thor."
        )
    tensorrt = f" (TensorRT {brings.tensorrt} for Python {brings.python})" if brings else ""
    return (
        f"It comes with JetPack{f' {jetpack}' if jetpack else ''}{tensorrt}: `sudo apt-get install "
        "python3-libnvinfer libnvinfer-bin`, or `sudo apt-get install nvidia-jetpack` for all of "
        "JetPack; `pip install tensorrt` fails on a Jetson. A virtual environment sees it only "
        f"when made with {environment_command(jetpack)}."
    )


def environment_command(jetpack: str | None) -> str:
    """The command for a virtual environment that sees the TensorRT of that JetPack."""
    brings = jetpack_brings(jetpack)
    python = f"python{brings.python}" if brings else "python3"
    return f"`{python} -m venv --system-site-packages .venv`"


def _tensorrt_elsewhere(fingerprint: Fingerprint) -> str:
    if fingerprint.kind == "cpu":
        return (
            "TensorRT needs an NVIDIA GPU and its driver, and no driver answers here: install the "
            "driver (`nvidia-smi` shows it), then `pip install tensorrt`."
        )
    major = (fingerprint.cuda or "").partition(".")[0]
    # CUDA 13's wheels want a driver that takes CUDA 13; those of 12 run on newer drivers too.
    wheel = f"tensorrt-cu{'13' if major.isdigit() and int(major) >= 13 else '12'}"
    return (
        f"Install TensorRT with `pip install {wheel}` (the driver here takes CUDA "
        f"{fingerprint.cuda or 'of a version it does not say'}), or NVIDIA's system package with "
        "`sudo apt-get install python3-libnvinfer libnvinfer-bin` and a virtual environment made "
        "with `--system-site-packages`, and probe again."
    )


def _tensorrt_rtx(fingerprint: Fingerprint) -> str:
    if fingerprint.architecture != "x86_64":
        return (
            "TensorRT-RTX is for x86_64 machines: run this on one, after "
            f"{extra_command('rtx')} there."
        )
    return f"Install TensorRT-RTX with {extra_command('rtx')} and probe again."
