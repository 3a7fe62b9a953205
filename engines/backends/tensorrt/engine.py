"""A deserialised plan, and execution contexts of it.

A CUDA graph holds the state that its context had, so each captured graph wants a context of its
own, and contexts that never run at once share their scratch memory (TensorRT's documentation, "CUDA
Graphs"). TensorRT-RTX captures graphs by itself, since it compiles kernels while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any

from engines.backends.tensorrt.cuda.memory import DeviceMemory
from engines.backends.tensorrt.cuda.stream import Stream
from engines.backends.tensorrt.out_of_memory import about_memory
from engines.backends.tensorrt.sdk import Messages, choose, is_rtx, logger_for, release, trt
from engines.backends.tensorrt.supported import known_compute_capabilities
from engines.errors import InputError, JetrailError, WrongEngine
from engines.machine.cuda import read_cuda_device
from engines.records.manifest import Manifest

IO_TYPES = {"INPUT": "UINT8", "OUTPUT": "FLOAT"}
"""What goes in and comes out, by TensorRT's names: camera pixels, raw head output."""

RTX_DEFAULT = ("8.6", "8.9", "12.0")
"""Compute capabilities that a plan of TensorRT-RTX is for where none was named (support matrix of
1.5; its chapter "CPU-Only AOT" says "8.0, 8.6, 8.9, 12.0, and later", so others are tried)."""


class Engine:
    """A plan on the GPU."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        """Raises WrongEngine when TensorRT is not there or does not take the plan, InputError when
        memory is used up."""
        self._package = manifest.backend_package
        choose(self._package)
        self._messages = Messages()
        self._making = Lock()
        self._rebuild = (
            f"Build it here with `pipeline build {manifest.engine} --target {manifest.target}`."
        )
        how = manifest.tensorrt
        self._built_for = (how and how.compute_capabilities) or RTX_DEFAULT
        self._single = bool(how and how.single)
        self._runtime = _runtime(manifest, self._messages)
        self._engine = self._deserialize(path)
        self._settings = _RtxSettings(self._engine) if is_rtx(self._package) else None
        self._check(path, manifest)

    @property
    def captures(self) -> bool:
        """Whether graphs are for the caller to capture."""
        return self._settings is None

    @property
    def scratch_bytes(self) -> int:
        """GPU memory that a context needs while it runs."""
        engine = self._engine
        old = not hasattr(engine, "device_memory_size_v2")  # TensorRT 8.6, 10.0
        return int(engine.device_memory_size if old else engine.device_memory_size_v2)

    def context(
        self,
        scratch: DeviceMemory,
        addresses: Mapping[str, int],
        shapes: Mapping[str, tuple[int, ...]],
        stream: Stream,
    ) -> Context:
        """A context for inputs of `shapes`, whose tensors lie at `addresses` on the GPU; `stream`
        is the one that it will run in. A batch of 1 gets the profile for it, where there is one.

        Raises InputError when the GPU's memory is used up.
        """
        with self._making:
            context = self._new_context(scratch)
            batches = {shape[0] for shape in shapes.values()}
            self._choose_profile(context, int(self._single and batches == {1}), stream)
        for name, address in addresses.items():
            if not context.set_tensor_address(name, address):
                raise self.failed(f"take an address for its tensor {name}")
        for name, shape in shapes.items():
            if not context.set_input_shape(name, shape):
                raise self.failed(f"take the shape {shape} for its tensor {name}")
        return Context(context, self)

    def failed(self, what: str) -> JetrailError:
        """The sentence for what the plan was expected to do and did not."""
        return JetrailError(
            f"Expected the plan to {what}, but {self._package} {trt.__version__} says: "
            f"{self._messages.reason()}. {self._rebuild} If it says the same again, report it with "
            "these lines."
        )

    def forget_messages(self) -> None:
        """Drop what was said of a failure that was dealt with."""
        self._messages.errors.clear()

    def close(self) -> None:
        """Free the plan. TensorRT frees what nobody refers to, so the contexts must go first."""
        del self._settings, self._engine, self._runtime

    def _deserialize(self, path: Path) -> trt.ICudaEngine:
        engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if engine is not None:
            return engine
        if reason := about_memory(self._messages.errors):
            raise out_of_memory(reason)
        raise WrongEngine(
            f"Expected a plan that {self._package} {trt.__version__} can load on this GPU: {path}, "
            f"but it says: {self._messages.reason()}. {self._rebuild}{self._other_gpus()}"
        )

    def _other_gpus(self) -> str:
        """What to do where a plan of TensorRT-RTX, built again, would be refused again."""
        gpu = read_cuda_device() if is_rtx(self._package) else None
        if gpu is None or gpu.compute_capability in self._built_for:
            return ""
        sm = gpu.compute_capability
        return (
            f" That helps only if the plan is for this GPU: it was built for SM "
            f"{', '.join(self._built_for)}, and this GPU has SM {sm}. TensorRT-RTX builds for SM "
            f"{known_compute_capabilities()}: if {sm} is among them, name it in the row's "
            "`builder.compute_capabilities` first, otherwise take a target with the package "
            "tensorrt, as dgpu-x86."
        )

    def _new_context(self, scratch: DeviceMemory) -> trt.IExecutionContext:
        engine = self._engine
        if self._settings is not None:
            context = engine.create_execution_context(self._settings.of(engine))
        elif hasattr(trt, "ExecutionContextAllocationStrategy"):
            ours = trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = engine.create_execution_context(ours)
        else:  # TensorRT 8.6
            context = engine.create_execution_context_without_device_memory()
        if context is None:
            reason = about_memory(self._messages.errors)
            raise out_of_memory(reason) if reason else self.failed("make an execution context")
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(scratch.address, scratch.size)
        else:  # TensorRT 8.6, 10.0
            older: Any = context
            older.device_memory = scratch.address
        return context

    def _choose_profile(self, context: trt.IExecutionContext, profile: int, stream: Stream) -> None:
        """Choose another profile than the first; the first, too, for TensorRT 8.6.

        NvInferRuntime.h says of getOptimizationProfile that only the first context has one until it
        is set, "deprecated in TensorRT 8.6", without saying whether 8.6 still does so; choosing it
        again does no harm. It may queue copies in the stream, which must be over before a capture.
        """
        if not profile and (is_rtx(self._package) or release() >= (10, 0)):
            return
        if not context.set_optimization_profile_async(profile, int(stream.handle)):
            raise self.failed("choose its profile for one more context")
        stream.wait()

    def _check(self, path: Path, manifest: Manifest) -> None:
        """Buffers are made after the manifest: a plan that is not what it says would write beyond
        them."""
        names = [self._engine.get_tensor_name(n) for n in range(self._engine.num_io_tensors)]
        found = sorted(_tensor(self._engine, name) for name in names)
        expected = sorted(
            (tensor.name, mode, IO_TYPES[mode], tensor.shape[1:])
            for mode, tensors in (("INPUT", manifest.inputs), ("OUTPUT", manifest.outputs))
            for tensor in tensors
        )
        profiles = self._engine.num_optimization_profiles
        if self._single and profiles < 2:
            raise WrongEngine(
                f"Expected a plan with a profile for batch 1 beside the first one, as its manifest "
                f"says, but {path} has {profiles}. {self._rebuild}"
            )
        if found != expected:
            raise WrongEngine(
                f"Expected a plan with the tensors {expected}, as its manifest says, but {path} "
                f"has {found}. {self._rebuild}"
            )


def out_of_memory(reason: str) -> InputError:
    """The sentence for a plan that memory is too small for."""
    return InputError(
        f"Expected enough memory to load and run the plan, but it ran out: {reason}. Stop other "
        "programs on the GPU, or lower `batch.max` in the target's params.yaml and build the "
        "engine again."
    )


class Context:
    """An execution context whose tensors, shapes and scratch memory are set."""

    def __init__(self, context: trt.IExecutionContext, engine: Engine) -> None:
        self._context = context
        self._engine = engine

    def enqueue(self, stream: Stream) -> None:
        """Run when the stream comes to it. Raises JetrailError when TensorRT does not take it."""
        if not self._context.execute_async_v3(int(stream.handle)):
            raise self._engine.failed("run")

    def close(self) -> None:
        """TensorRT frees it when nobody refers to it."""
        del self._context


class _RtxSettings:
    """How contexts of TensorRT-RTX are made: with graphs, and kernels compiled once for all."""

    def __init__(self, engine: trt.ICudaEngine) -> None:
        settings: Any = engine.create_runtime_config()
        self._cache = settings.create_runtime_cache()

    def of(self, engine: trt.ICudaEngine) -> Any:
        package: Any = trt
        settings: Any = engine.create_runtime_config()
        settings.cuda_graph_strategy = package.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        # Else the first frames run on slower kernels, until those for the shape are compiled.
        eager = package.DynamicShapesKernelSpecializationStrategy.EAGER
        settings.dynamic_shapes_kernel_specialization_strategy = eager
        settings.set_execution_context_allocation_strategy(
            package.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        settings.set_runtime_cache(self._cache)
        return settings


def _runtime(manifest: Manifest, messages: Messages) -> trt.Runtime:
    runtime = trt.Runtime(logger_for(messages))
    how = manifest.tensorrt
    if how and how.version_compatible:
        # Such plans hold code for the processor, which TensorRT runs only for those who trust the
        # plan; the manifest has its sha256.
        runtime.engine_host_code_allowed = True
    if how and how.dla_core is not None:
        runtime.DLA_core = how.dla_core
    return runtime


def _tensor(engine: trt.ICudaEngine, name: str) -> tuple[str, str, str, tuple[int, ...]]:
    """Name, mode, type and shape without the batch."""
    axes = engine.get_tensor_shape(name)
    return (
        name,
        engine.get_tensor_mode(name).name,
        engine.get_tensor_dtype(name).name,
        tuple(axes[index] for index in range(1, len(axes))),
    )
