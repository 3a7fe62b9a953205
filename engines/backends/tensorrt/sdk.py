"""The package behind the backend `tensorrt`: TensorRT itself, or TensorRT-RTX with the same API.

`trt` stands for whichever was chosen, and its types are those of TensorRT. A process uses one of
the two: Polygraphy looks at its environment variable once.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from packaging.version import Version

from engines.backends.tensorrt.cuda.driver import number_by_bus
from engines.errors import InputError, WrongEngine

if TYPE_CHECKING:
    import tensorrt as trt
else:

    class _Chosen:
        package: str | None = None

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self.package or "tensorrt"), name)

    trt = _Chosen()

__all__ = ["Messages", "choose", "is_rtx", "new_logger", "quiet_polygraphy", "release", "trt"]

RTX = "tensorrt_rtx"
POLYGRAPHY_SWITCH = "POLYGRAPHY_USE_TENSORRT_RTX"


def choose(package: str) -> None:
    """Let `trt` and Polygraphy mean this package.

    Raises WrongEngine when it cannot be imported, InputError when this process uses the other one.
    """
    chosen = vars(trt).get("package")
    if chosen not in (None, package):
        raise InputError(
            f"Expected this process to go on with {chosen}, came {package}: Polygraphy takes one "
            "TensorRT a process. Run the two in processes of their own."
        )
    number_by_bus()
    try:
        import_module(package)
    except (ImportError, OSError) as error:
        raise WrongEngine(
            f"Expected the package {package} to be importable, but Python says: {error}. Run "
            "`pipeline doctor`: it says how it is installed on this device."
        ) from error
    if package == RTX:
        os.environ[POLYGRAPHY_SWITCH] = "1"
    vars(trt)["package"] = package


def quiet_polygraphy() -> None:
    """What it would print is in our own messages, with what to do.

    Raises WrongEngine where Polygraphy is not installed; running an engine does not need it.
    """
    try:
        from polygraphy.logger import G_LOGGER
    except ImportError as error:
        raise WrongEngine(
            "Expected the package polygraphy, which builds with TensorRT, but it is not installed. "
            "Install it with `pip install --editable '.[device]'`."
        ) from error
    G_LOGGER.module_severity = G_LOGGER.CRITICAL + 1


def is_rtx(package: str) -> bool:
    """Whether the package is TensorRT-RTX, whose version numbers are its own."""
    return package == RTX


def release() -> tuple[int, ...]:
    """Version of the chosen package in numbers, for example (10, 3, 0)."""
    return Version(trt.__version__).release[:3]


class Messages:
    """What TensorRT said, errors and warnings apart; it prints nothing by itself."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []

    def all(self) -> tuple[str, ...]:
        """Warnings, then errors."""
        return (*self.warnings, *self.errors)

    def clear(self) -> None:
        """Forget what was said, so that a later failure is not given an earlier reason."""
        self.errors.clear()
        self.warnings.clear()

    def reason(self) -> str:
        """The last errors in one line, or the last warnings where there was no error."""
        lines = [" ".join(line.split()) for line in (self.errors or self.warnings)[-3:]]
        return " | ".join(lines)[:900] or "nothing"


def new_logger(messages: Messages) -> trt.ILogger:
    """A logger for TensorRT that keeps in `messages` what it is told."""

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 wants the base called by its name

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in (trt.ILogger.INTERNAL_ERROR, trt.ILogger.ERROR):
                messages.errors.append(msg)
            elif severity == trt.ILogger.WARNING:
                messages.warnings.append(msg)

    return Logger()
