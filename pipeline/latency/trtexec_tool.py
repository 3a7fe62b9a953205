"""trtexec, and TensorRT-RTX's tensorrt_rtx, as programs: where they are, what they can do, running.

Formats follow NVIDIA/TensorRT, `samples/common` at 8.6.1, 10.3.0, 10.16 and 11.1. No real tool has
confirmed them here.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import InputError, JetrailError
from engines.process.orphans import NOT_STARTED, ends_with_us

HELP_TIMEOUT_S = 60.0
FOLDER = Path("/usr/src/tensorrt/bin")
"""Where NVIDIA's package libnvinfer-bin puts trtexec, which is not on PATH."""
INSTALL = {
    "tensorrt": ("trtexec", "`sudo apt-get install libnvinfer-bin`; the wheel does not bring it"),
    "tensorrt_rtx": (
        "tensorrt_rtx",
        "unpack NVIDIA's TensorRT-RTX SDK of the wheel's version, and put its bin folder on PATH "
        "and its lib folder on LD_LIBRARY_PATH; the wheel does not bring it",
    ),
}
"""Package that a plan was built with to its tool, and how that is installed."""

BANNER = re.compile(r"^&&&& RUNNING \S+ \[\S+ v(\d{4,6})\](?: \[b(\d+)\])?", re.MULTILINE)
HELP_FLAG = re.compile(r"^\s*(--\w+)", re.MULTILINE)
SAID = re.compile(r"\[[EF]\] ")


@dataclass(frozen=True, kw_only=True)
class Tool:
    """A trtexec or tensorrt_rtx that is installed here."""

    path: Path
    version: str
    """For example `10.3.0`; with the build, `10.7.0.23`, where the banner has it (from 10.4 on)."""
    flags: frozenset[str]
    """Those that its help lists."""


def find(package: str = "tensorrt") -> Path:
    """The tool for plans of a package. Raises InputError with how to install it."""
    if package not in INSTALL:
        raise InputError(
            f"Expected an engine of TensorRT or TensorRT-RTX to cross-check, got one of {package}."
            " Leave --cross-check out."
        )
    name, how = INSTALL[package]
    if (found := locate(package)) is not None:
        return found
    packaged = f" or in {FOLDER}" if package == "tensorrt" else ""
    raise InputError(
        f"Expected {name} on PATH{packaged} for --cross-check, but it is not there. To install it: "
        f"{how}."
    )


def locate(package: str) -> Path | None:
    """Where the tool for plans of a package is, on PATH first; None where it is not installed."""
    name, _ = INSTALL[package]
    found = shutil.which(name) or shutil.which(name, path=str(FOLDER))
    return Path(found).absolute() if found else None


def probe(path: Path) -> Tool:
    """Ask a tool for its version and flags, which needs no GPU. Raises InputError or JetrailError.

    The banner is printed before anything else, `--help` included.
    """
    code, said = run([str(path), "--help"], Path.cwd(), HELP_TIMEOUT_S)
    flags = frozenset(HELP_FLAG.findall(said))
    if not {"--loadEngine", "--shapes", "--exportTimes"} <= flags:
        raise JetrailError(
            f"Expected `{path} --help` to list its flags, but it {ended(code)}:\n{tail(said)}\n"
            "If a library is missing, put TensorRT's lib folder on LD_LIBRARY_PATH; otherwise "
            "install the tool again."
        )
    return Tool(path=path, version=read_version(said), flags=flags)


def read_version(output: str) -> str:
    """TensorRT's version from the banner. Raises JetrailError when there is none.

    `[TensorRT v8602]` is 8.6.2, `[TensorRT v100300]` 10.3.0: until 9 the major version counts
    thousands, from 10 on (and in TensorRT-RTX) ten thousands.
    """
    banner = BANNER.search(output)
    if banner is None:
        raise JetrailError(
            "Expected the line `&&&& RUNNING TensorRT.trtexec [TensorRT v…]`, got:\n"
            f"{tail(output)}\nInstall the trtexec of TensorRT 8.6 or later."
        )
    number, build = int(banner[1]), banner[2]
    major, rest = divmod(number, 10_000 if number >= 10_000 else 1_000)
    return ".".join([str(major), str(rest // 100), str(rest % 100), *([build] if build else [])])


def run(command: Sequence[str], folder: Path, timeout_s: float) -> tuple[int, str]:
    """Exit status and all output, errors among it in the order that they came.

    Raises InputError when the program does not start, JetrailError when it takes too long.
    """
    try:
        done = subprocess.run(
            ends_with_us(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        raise JetrailError(
            f"Expected `{shlex.join(command)}` to be done within {timeout_s:g} s, but it was not, "
            f"and was ended. It had said:\n{tail(said)}\nStop other programs on the GPU and "
            "measure again."
        ) from error
    if done.returncode == NOT_STARTED:
        raise InputError(
            f"Expected {command[0]} to be a program for this machine, but it does not start: "
            f"{done.stdout.strip()}. Install it again."
        )
    return done.returncode, done.stdout


def ended(code: int) -> str:
    """How it ended, for a sentence."""
    return f"ended with {code}" if code >= 0 else f"was ended by signal {-code}"


def tail(said: str, lines: int = 12) -> str:
    """Its errors, or else its last lines: after some errors trtexec prints all of its help."""
    every = [line.rstrip() for line in said.splitlines() if line.strip()]
    errors = [line for line in every if SAID.search(line)]
    return "\n".join((errors or every)[-lines:]) or "(nothing)"
