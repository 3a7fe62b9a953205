"""CUDA's bindings and the GPU: how a call fails, which card runs, and its primary context.

The driver API and not the runtime's: it comes with the driver, on a Jetson too, so that nothing
must fit the CUDA toolkit's version. It works in the primary context, which is TensorRT's as well.
All but `Gpu` needs that context current in the calling thread: call `Gpu.use` first.
Source: CUDA Driver API reference.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from engines.errors import InputError, JetrailError, WrongEngine
from engines.machine.cuda import newer_than_driver, number_by_bus, version_text
from engines.packages import installed_version


@cache
def driver() -> Any:
    """NVIDIA's bindings: each function gives a tuple, the status first."""
    from cuda.bindings import driver

    return driver


def call(name: str, *arguments: Any) -> Any:
    """Call the driver's function `name`; gives its value, or a tuple where it has several.

    Raises InputError when the GPU's memory is used up, JetrailError for all else that fails.
    """
    try:
        status, *values = getattr(driver(), name)(*arguments)
    except (RuntimeError, ValueError) as error:  # not in this driver, or a status it does not know
        raise _failed(name, str(error)) from error
    if status != driver().CUresult.CUDA_SUCCESS:
        raise _failed(name, status.name)
    return values[0] if len(values) == 1 else tuple(values)


def _failed(function: str, status: str) -> JetrailError:
    if status == "CUDA_ERROR_OUT_OF_MEMORY":
        return InputError(
            f"Expected enough GPU memory to run the engine, but {function} says {status}. Stop "
            "other programs on the GPU, or lower `batch.max` in the target's params.yaml and build "
            "the engine again."
        )
    if status == "CUDA_ERROR_NOT_INITIALIZED":
        return JetrailError(
            f"Expected an engine to run in the process that loaded it, but {function} says "
            f"{status}: CUDA does not work in a fork of a process that used it. Load the engine in "
            "the new process, and start that one with `spawn`."
        )
    return JetrailError(
        f"Expected the GPU to do {function}, but the driver says {status}. Run the command again; "
        "if it says the same, restart the device, and see `dmesg` for the driver's own words."
    )


WAITING = {0: "auto", 1: "spin", 2: "yield", 4: "block"}
"""CUctx_flags' scheduling part (the lowest three bits) to how a thread waits for the GPU."""
SPIN = 1
SCHEDULING = 7


class Gpu:
    """The first GPU that CUDA shows, and its primary context."""

    def __init__(self) -> None:
        """Raises WrongEngine where there is no driver or no GPU, InputError where NVIDIA's bindings
        are too new for the driver."""
        self.device = _first_device()
        self._wait_by_spinning()
        self._context = call("cuDevicePrimaryCtxRetain", self.device)
        self._is_open = True
        self.use()

    @property
    def waits(self) -> str:
        """How a thread waits for the GPU: `spin`, `yield`, `block`, or `auto`, CUDA's own choice.
        As the context has it, which somebody else may have made before."""
        flags, _ = call("cuDevicePrimaryCtxGetState", self.device)
        return WAITING.get(int(flags) & SCHEDULING, "auto")

    def _wait_by_spinning(self) -> None:
        """Before the context is there: CUDA's own choice is to spin where there are processors
        enough, but on a Jetson it follows the power profile and may block (CUDA Driver API,
        CU_CTX_SCHED_AUTO), so that the p99 would hang on `nvpmodel`. Spinning costs one processor
        while the GPU works, and is the fastest.

        Flags of whoever made the context before stay: `waits` says what they are.
        """
        flags, active = call("cuDevicePrimaryCtxGetState", self.device)
        if not active:
            call("cuDevicePrimaryCtxSetFlags", self.device, int(flags) & ~SCHEDULING | SPIN)

    def use(self) -> None:
        """Make the context current in the calling thread."""
        call("cuCtxSetCurrent", self._context)

    def close(self) -> None:
        """Let go of the context; CUDA ends it when nobody else holds it. May be called twice."""
        if self._is_open:
            self._is_open = False
            call("cuDevicePrimaryCtxRelease", self.device)


def _first_device() -> Any:
    """CUDA's device 0. No driver is a RuntimeError of the bindings, no GPU a status."""
    number_by_bus()
    try:
        for function in ("cuInit", "cuDeviceGet"):
            status, *device = getattr(driver(), function)(0)
            if status != driver().CUresult.CUDA_SUCCESS:
                raise _no_gpu(f"{function} says {status.name}")
        _check_bindings()
    except (ImportError, RuntimeError, OSError, ValueError) as error:
        raise _no_gpu(str(error)) from error
    return device[0]


def _check_bindings() -> None:
    """Raise InputError for bindings that this driver is too old for: their functions would be
    missing one by one, in the middle of a measurement."""
    bindings, takes = installed_version("cuda-bindings"), call("cuDriverGetVersion")
    if bindings and (problem := newer_than_driver(bindings, version_text(takes))):
        raise InputError(f"Expected bindings of CUDA that fit the driver, but {problem}")


def _no_gpu(reason: str) -> WrongEngine:
    return WrongEngine(
        f"Expected an NVIDIA GPU with its driver to run this engine, but: {reason.rstrip('.')}. An "
        "engine is run and measured on its target's own device; `pipeline doctor` says what this "
        "machine is."
    )
