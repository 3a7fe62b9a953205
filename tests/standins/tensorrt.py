"""A stand-in for TensorRT's and TensorRT-RTX's runtime, over the stand-in of the CUDA driver.

No real device has confirmed that it behaves as TensorRT does. It was written after TensorRT's
Python API and developer guide. A plan of it is an ONNX file with a header; ONNX Runtime computes,
when the stream comes to it. It errs on the strict side:

- a context's first run, and the first after another shape, cannot be captured;
- a captured run computes nonsense once its context's shape has changed;
- a run whose context is gone is an illegal access;
- contexts that share scratch memory must run in one stream;
- with TensorRT 8.6, two contexts share a profile only where the plan was built for it, and the
  second has none until it is chosen, by a copy in the stream;
- a run that could not be captured leaves an error behind, which the next run reports;
- a process has one logger: the first one that it gives (NVIDIA/TensorRT#4134).
"""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Callable
from enum import Enum
from types import ModuleType
from typing import Any

import numpy as np

MAGIC = b"stand-in for a plan\n"
SM = "8.7"
RUN_MS = 5.0


def make_plan(onnx: bytes, profile: tuple[int, int], **facts: Any) -> bytes:
    """A plan for batches in `profile`, and with a second profile for batch 1 unless `single` is
    False; `facts` say what it was built with."""
    header = {"version": "10.3.0", "sm": SM, "profile": profile, "scratch": 4096, "weights": 9999}
    header |= {"sharing": True, "capturable": True, "host_code": False, "single": True, **facts}
    text = json.dumps(header).encode()
    digest = hashlib.sha256(text + onnx).hexdigest().encode()
    return b"\n".join((MAGIC.strip(), digest, text, onnx))


class Severity(Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class ILogger:
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING = Severity.INTERNAL_ERROR, Severity.ERROR, Severity.WARNING

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


class TensorIOMode(Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(Enum):
    FLOAT = 0
    HALF = 1
    UINT8 = 5


class ExecutionContextAllocationStrategy(Enum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class CudaGraphStrategy(Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class DynamicShapesKernelSpecializationStrategy(Enum):
    LAZY = 0
    EAGER = 1
    NONE = 2


class ComputeCapability(Enum):
    NONE = 0
    CURRENT = 1
    SM75 = 75
    SM80 = 80
    SM86 = 86
    SM89 = 89
    SM120 = 120
    SM121 = 121


LOADED: weakref.WeakSet[Engine] = weakref.WeakSet()
"""Engines that somebody holds."""


class Runtime:
    driver: Any
    version: str

    def __init__(self, logger: ILogger) -> None:
        self.logger = logger
        self.engine_host_code_allowed = False
        self.DLA_core = -1

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        reason = self._refuses(plan)
        if reason:
            self.logger.log(Severity.ERROR, f"IRuntime::deserializeCudaEngine: {reason}")
            return None
        _, _, header, onnx = plan.split(b"\n", 3)
        try:
            return type(self).engine_type(self, json.loads(header), onnx)
        except self.driver_refused as error:
            self.logger.log(Severity.ERROR, f"Error Code 2: OutOfMemory ({error})")
            return None

    engine_type: type[Engine]
    driver_refused: type[Exception]

    def _refuses(self, plan: bytes) -> str:
        parts = plan.split(b"\n", 3)
        if len(parts) != 4 or parts[0] != MAGIC.strip():
            return "Error Code 1: Serialization (Magic tag does not match)"
        if hashlib.sha256(parts[2] + parts[3]).hexdigest().encode() != parts[1]:
            return "Error Code 1: Serialization (Serialization assertion failed: checksum)"
        header = json.loads(parts[2])
        if header["version"] != self.version:
            return (
                "Error Code 6: The engine plan file is not compatible with this version of "
                f"TensorRT, expecting library version {header['version']} got {self.version}"
            )
        if header["sm"] != SM:
            return f"Error Code 6: plan for SM {header['sm']}, this GPU has {SM}"
        if header["host_code"] and not self.engine_host_code_allowed:
            return "Error Code 4: engine contains host code, which is not allowed"
        return ""


class Engine:
    """What TensorRT 8.6 has; newer versions below."""

    context_type: type[Context]

    def __init__(self, runtime: Runtime, facts: dict[str, Any], onnx: bytes) -> None:
        import onnxruntime

        self.facts = facts
        self.driver = runtime.driver
        self.logger = runtime.logger
        self.weights = _Held(self.driver, facts["weights"])
        self.network = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
        self.users: weakref.WeakSet[Context] = weakref.WeakSet()
        self.streams_of_scratch: dict[int, int] = {}
        self.runtime = runtime  # as pybind11's keep_alive
        LOADED.add(self)

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors())

    @property
    def num_optimization_profiles(self) -> int:
        return 2 if self.facts["single"] else 1

    def get_tensor_name(self, index: int) -> str:
        return str(self._tensors()[index].name)

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        first = self._tensors()[0].name
        return TensorIOMode.INPUT if name == first else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        kind = next(t.type for t in self._tensors() if t.name == name)
        return {
            "tensor(uint8)": DataType.UINT8,
            "tensor(float)": DataType.FLOAT,
            "tensor(float16)": DataType.HALF,
        }[kind]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        shape = next(t.shape for t in self._tensors() if t.name == name)
        return tuple(side if isinstance(side, int) else -1 for side in shape)

    @property
    def device_memory_size(self) -> int:
        return int(self.facts["scratch"])

    def create_execution_context_without_device_memory(self) -> Any:
        return self._context()

    def _context(self) -> Any:
        try:
            return self.context_type(self)
        except type(self.runtime).driver_refused as error:
            self.logger.log(Severity.ERROR, f"Error Code 2: OutOfMemory ({error})")
            return None

    def _tensors(self) -> list[Any]:
        return [*self.network.get_inputs(), *self.network.get_outputs()]


class Context:
    """What TensorRT 8.6 has; newer versions below."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.persistent = _Held(engine.driver, 128)
        self.may_have_profile = engine.facts["sharing"] or not engine.users
        self.has_profile = self.always_has_profile or not engine.users
        self.stale = False
        self.profile = 0
        engine.users.add(self)
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] | None = None
        self.settled: tuple[int, ...] | None = None
        self.device_memory = 0

    always_has_profile = False

    def set_optimization_profile_async(self, index: int, stream_handle: int) -> bool:
        if not 0 <= index < self.engine.num_optimization_profiles:
            return self._error(f"there is no profile {index}")
        if not self.may_have_profile:
            return self._error("Profile 0 has been chosen by another IExecutionContext")

        def copied() -> None:
            self.has_profile, self.profile = True, index

        self.engine.driver.submit(stream_handle, copied, 0.0)
        self.shape = None
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = int(memory)
        return True

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, most = (1, 1) if self.profile else self.engine.facts["profile"]
        axes = self.engine.get_tensor_shape(name)
        if not self.has_profile:
            return self._error("set_input_shape: no optimization profile has been chosen")
        if tuple(shape[1:]) != axes[1:] or not least <= shape[0] <= most:
            return self._error(f"set_input_shape: {shape} is outside the profile")
        self.shape = tuple(shape)
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        driver, facts = self.engine.driver, self.engine.facts
        if self.shape is None or not self.device_memory:
            return self._error("shape or device memory is not set")
        if driver.is_capturing(stream_handle) and not self._capturable(facts):
            driver.invalidate(stream_handle)
            self.stale = True
            return self._error("operation not permitted when stream is capturing")
        if self.stale:
            self.stale = False
            return self._error(
                "Error Code 1: Cuda Runtime (operation failed due to a previous ...)"
            )
        self.settled = self.shape
        try:
            driver.submit(stream_handle, self._work(int(stream_handle)), RUN_MS)
        except type(self.engine.runtime).driver_refused as error:
            return self._error(str(error))
        return True

    def _capturable(self, facts: dict[str, Any]) -> bool:
        return bool(facts["capturable"]) and self.settled == self.shape

    def _work(self, stream: int) -> Callable[[], None]:
        me = weakref.ref(self)
        shape, scratch = self.shape, self.device_memory
        addresses, engine = dict(self.addresses), self.engine
        source = engine.network.get_inputs()[0].name
        result = engine.network.get_outputs()[0].name

        def run() -> None:
            assert shape is not None
            pixels = engine.driver.at(addresses[source], int(np.prod(shape)))
            found = engine.network.run(None, {source: pixels.reshape(shape)})[0]
            context = me()
            if context is None:
                engine.driver.at(0, 1)
            stale = context.shape != shape
            busy = engine.streams_of_scratch.setdefault(scratch, stream) != stream
            engine.driver.at(scratch, engine.facts["scratch"])[:] = stream % 251
            if stale or busy:
                found = np.full_like(found, np.nan)
            bytes_out = np.ascontiguousarray(found).view(np.uint8).reshape(-1)
            engine.driver.at(addresses[result], bytes_out.size)[:] = bytes_out

        return run

    def _error(self, message: str) -> bool:
        self.engine.logger.log(Severity.ERROR, message)
        return False


class ModernContext(Context):
    """From TensorRT 10.1 on."""

    always_has_profile = True

    def set_device_memory(self, memory: int, size: int) -> None:
        if int(size) >= self.engine.facts["scratch"]:
            self.device_memory = int(memory)


class ModernEngine(Engine):
    """From TensorRT 10.1 on."""

    context_type = ModernContext

    @property
    def device_memory_size_v2(self) -> int:
        return int(self.facts["scratch"])

    def create_execution_context(self, strategy: Any) -> Any:
        assert strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        return self._context()


class RtxContext(ModernContext):
    """Captures graphs by itself, and cannot be captured where it does."""

    def _capturable(self, facts: dict[str, Any]) -> bool:
        return False


class RtxEngine(ModernEngine):
    context_type = RtxContext

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, runtime_config: Any) -> Any:
        assert runtime_config.strategy is ExecutionContextAllocationStrategy.USER_MANAGED
        assert runtime_config.cuda_graph_strategy is CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        context = self._context()
        if context is not None:
            context.settings = runtime_config
            self.caches.add(runtime_config.cache)
        return context

    @property
    def caches(self) -> set[Any]:
        return self.__dict__.setdefault("_caches", set())  # type: ignore[no-any-return]


class RuntimeConfig:
    def __init__(self) -> None:
        self.strategy = ExecutionContextAllocationStrategy.STATIC
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        kernels = DynamicShapesKernelSpecializationStrategy
        self.dynamic_shapes_kernel_specialization_strategy = kernels.LAZY
        self.cache: Any = None

    def set_execution_context_allocation_strategy(self, strategy: Any) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> Any:
        return object()

    def set_runtime_cache(self, cache: Any) -> bool:
        self.cache = cache
        return True


class _Held:
    """GPU memory that TensorRT frees when nobody refers to its owner any more."""

    def __init__(self, driver: Any, size: int) -> None:
        self._address = driver.allocate(size)
        weakref.finalize(self, driver.free, self._address).atexit = False


def make_module(driver: Any, refused: type[Exception], *, name: str, version: str) -> ModuleType:
    """The package `name` in `version`, as far as running a plan needs it."""
    rtx, old = name == "tensorrt_rtx", version.startswith("8.")
    module: Any = ModuleType(name)
    Engine.context_type = Context

    class ThisRuntime(Runtime):
        engine_type = RtxEngine if rtx else Engine if old else ModernEngine
        driver_refused = refused

        def __init__(self, logger: ILogger) -> None:
            first = vars(driver).setdefault("first_logger", weakref.ref(logger))
            assert first() is logger, "a second logger, or one that is gone: a crash"
            super().__init__(logger)

    ThisRuntime.driver, ThisRuntime.version = driver, version
    module.__version__ = version
    module.Runtime, module.ILogger = ThisRuntime, ILogger
    if not old:
        module.ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy
    if rtx:
        module.CudaGraphStrategy = CudaGraphStrategy
        module.ComputeCapability = ComputeCapability
        kernels = DynamicShapesKernelSpecializationStrategy
        module.DynamicShapesKernelSpecializationStrategy = kernels
    return module
