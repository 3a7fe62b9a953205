"""The package behind the backend `tensorrt`: TensorRT itself, or TensorRT-RTX with the same API.

`trt` stands for whichever was chosen, and its types are those of TensorRT. A process uses one of
the two: Polygraphy looks at its environment variable once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from packaging.version import Version

from engines.errors import InputError, WrongEngine
from engines.machine.cuda import number_by_bus

if TYPE_CHECKING:
    import tensorrt as trt
else:

    class _Chosen:
        package: str | None = None

        def __getattr__(self, name: str) -> Any:
            return getattr(import_module(self.package or "tensorrt"), name)

    trt = _Chosen()

__all__ = ["Messages", "choose", "is_rtx", "logger_for", "quiet_polygraphy", "release", "trt"]

RTX = "tensorrt_rtx"
POLYGRAPHY_SWITCH = "POLYGRAPHY_USE_TENSORRT_RTX"


def choose(package: str) -> None:
    """Let `trt` and Polygraphy mean this package.

    Raises WrongEngine when it cannot be imported, InputError when this process uses the other one.
    """
    chosen = vars(trt).get("package")
    if chosen not in (None, package):
        raise InputError(
            f"Expected this process to go on with {chosen}, got {package}: Polygraphy takes one "
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

    Raises ModuleNotFoundError without Polygraphy; running an engine does not need it.
    """
    from polygraphy.logger import G_LOGGER

    G_LOGGER.module_severity = G_LOGGER.CRITICAL + 1


def is_rtx(package: str) -> bool:
    """Whether the package is TensorRT-RTX, whose version numbers are its own."""
    return package == RTX


def release() -> tuple[int, ...]:
    """Version of the chosen package in numbers, for example (10, 3, 0)."""
    return Version(trt.__version__).release[:3]


KEPT = 200
"""Errors, and warnings, that a listener keeps."""


class Messages:
    """What TensorRT said while this object lives, errors and warnings apart; it prints nothing."""

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


def logger_for(messages: Messages) -> trt.ILogger:
    """This process's one logger for TensorRT, which from now on tells `messages` too.

    One for all, which lives as long as the process: TensorRT keeps the first logger that it is
    given for what belongs to no engine, and a second engine with a logger of its own crashed while
    it was loaded (NVIDIA/TensorRT#4134, 8.6.2 of JetPack 6.0). So each listener hears all of it.
    """
    with _LISTENING:
        _LISTENERS.add(messages)
    return _logger(trt.ILogger)


_LISTENERS: WeakSet[Messages] = WeakSet()
_LISTENING = RLock()
"""Held while the listeners are looked through: engines are loaded in any thread."""


@cache
def _logger(base: type[trt.ILogger]) -> trt.ILogger:
    """The logger; `base` is ILogger of the package that was chosen."""

    class Logger(base):  # type: ignore[misc, valid-type]  # known while this runs
        def __init__(self) -> None:
            base.__init__(self)  # pybind11 wants the base called by its name

        def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
            if severity in (base.INTERNAL_ERROR, base.ERROR):
                _tell(lambda messages: messages.errors, msg)
            elif severity == base.WARNING:
                _tell(lambda messages: messages.warnings, msg)

    return Logger()


def _tell(lines_of: Callable[[Messages], list[str]], message: str) -> None:
    """Let each listener hear it; a pod runs for years, so only the last ones are kept."""
    with _LISTENING:
        for lines in [lines_of(messages) for messages in _LISTENERS]:
            lines.append(message)
            del lines[:-KEPT]
