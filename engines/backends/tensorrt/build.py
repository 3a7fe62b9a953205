"""Building a plan, in the process that `engines.backends.tensorrt.backend` starts for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.backends import BuildResult
from engines.backends.layers import main_precision
from engines.backends.tensorrt import timing_cache
from engines.backends.tensorrt.layers import Inspected, inspect_plan, network_layers
from engines.backends.tensorrt.options import Request, TensorRTOptions
from engines.backends.tensorrt.out_of_memory import MIB, lack_of_memory
from engines.backends.tensorrt.parse import parse, profile_of, single_of, tensor_of
from engines.backends.tensorrt.sdk import (
    Messages,
    choose,
    is_rtx,
    logger_for,
    quiet_polygraphy,
    release,
    trt,
)
from engines.backends.tensorrt.supported import (
    check_options,
    compute_capability,
    hardware_level,
)
from engines.backends.tensorrt.timing_cache import Use
from engines.backends.tensorrt.uint8_input import IN_ENGINE
from engines.errors import InputError
from engines.process.child import tell
from engines.records.manifest import Preprocess, Profile, TensorRTPlan


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the builder's process is to do."""

    request: Request
    package: str
    engine: Path
    """Where the plan goes."""

    @property
    def options(self) -> TensorRTOptions:
        return self.request.options


def build(job: Job) -> BuildResult:
    """Build the plan and write it. Raises InputError with TensorRT's reason, MemoryError when
    memory runs out, WrongEngine when TensorRT cannot be imported."""
    choose(job.package)
    quiet_polygraphy()
    check_options(job.request, job.options, job.package)
    timings = timing_cache.prepared(job.request.device, job.package, job.options.timing_cache)
    messages = Messages()
    builder = trt.Builder(logger_for(messages))
    typed = is_strongly_typed(job)
    network = _network(builder, strongly_typed=typed)
    parser = parse(network, job.request, messages, typed=typed)
    profile = profile_of(network, job.request)
    messages.clear()
    with _in_our_words(job, messages):
        config = config_of(builder, network, job, profile, timings)
        used = timing_cache.use_of(timings, messages)
        messages.clear()
        plan = _plan(builder, network, config)
    if timings:
        timing_cache.save(config, timings)
    found = inspect_built(job, plan)
    job.engine.write_bytes(plan)
    layers = found.layers if found and not typed else network_layers(network)
    del parser  # not before: it holds the network's weights
    return BuildResult(
        executed_precision=main_precision(layers),
        executed_layers=dict(Counter(precision for _, precision in layers).most_common()),
        inputs=tuple(tensor_of(network.get_input(i)) for i in range(network.num_inputs)),
        outputs=tuple(tensor_of(network.get_output(i)) for i in range(network.num_outputs)),
        preprocess=Preprocess(in_engine=IN_ENGINE),
        tensorrt=how_built(job, profile, used, found, tf32=has_tf32(config)),
    )


def inspect_built(job: Job, plan: bytes) -> Inspected | None:
    """What the engine inspector tells of the plan, where the types of the network are not the law
    or a DLA shall run it; None elsewhere, where no GPU need be there.

    Raises InputError when the DLA took nothing: with GPU fallback TensorRT says nothing of it
    (developer guide, "GPU Fallback Mode": "silently fall back to GPU execution").
    """
    core = job.options.dla_core
    if is_strongly_typed(job) and core is None:
        return None
    found = inspect_plan(plan, core)
    if core is not None and not found.on_dla:
        raise InputError(
            f"Expected DLA core {core} to run a part of {job.request.onnx}, but in the plan all "
            f"{len(found.layers) + found.untold} layers run on the GPU. Set `builder.dla_core: "
            "null` in the target's params.yaml, or ask `trtexec --useDLACore --verbose` which "
            "layers the DLA does not take."
        )
    return found


def has_tf32(config: trt.IBuilderConfig) -> bool:
    """Whether the configuration lets float32 layers multiply in TF32, whatever was asked for."""
    flag = getattr(trt.BuilderFlag, "TF32", None)
    return flag is not None and bool(config.get_flag(flag))


def how_built(
    job: Job,
    profile: Mapping[str, Profile],
    timing_cache_use: Use,
    found: Inspected | None,
    *,
    tf32: bool,
) -> TensorRTPlan:
    """What the manifest says of how the plan was built; `found` is what the inspector told."""
    options, typed, single = job.options, is_strongly_typed(job), single_of(profile)
    return TensorRTPlan(
        profile=dict(profile),
        single=None if single is None else dict(single),
        strongly_typed=typed,
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
        dla_core=options.dla_core,
        timing_cache=timing_cache_use,
        tf32=tf32,
        compute_capabilities=options.compute_capabilities,
        dla_layers=found.on_dla if found and options.dla_core is not None else None,
        layers_from="network types" if typed else "engine inspector",
        layers_untold=found.untold if found and not typed else 0,
    )


def is_strongly_typed(job: Job) -> bool:
    """Whether the ONNX file's types are the law: in RTX, and from TensorRT 10 on; a DLA takes such
    networks from TensorRT 11 on."""
    major = release()[0]
    return is_rtx(job.package) or major >= (11 if job.options.dla_core is not None else 10)


def _network(builder: trt.Builder, *, strongly_typed: bool) -> trt.INetworkDefinition:
    flags = trt.NetworkDefinitionCreationFlag
    chosen = flags.STRONGLY_TYPED if strongly_typed else flags.EXPLICIT_BATCH
    return builder.create_network(1 << int(chosen))


def config_of(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    job: Job,
    profile: Mapping[str, Profile],
    timings: Path | None,
) -> trt.IBuilderConfig:
    """What the builder is told."""
    from polygraphy.backend.trt import CreateConfig
    from polygraphy.backend.trt import Profile as Shapes

    profiles = []
    for each in (profile, single_of(profile) or {}):
        shapes = Shapes()
        for name, one in each.items():
            shapes.add(name, min=one.min, opt=one.opt, max=one.max)
        profiles += [shapes] if each else []
    options, precision = job.options, job.request.precision
    untyped = not is_strongly_typed(job)
    on_dla = options.dla_core is not None
    create = CreateConfig(
        profiles=profiles,
        memory_pool_limits={trt.MemoryPoolType.WORKSPACE: options.workspace_mib * MIB},
        builder_optimization_level=options.optimization_level,
        version_compatible=options.version_compatible,
        hardware_compatibility_level=hardware_level(options),
        fp16=untyped and precision != "fp32",
        int8=untyped and precision == "int8",
        # Polygraphy's own default is off, and then it clears the flag that TensorRT has set. Which
        # flags later versions keep is not documented: one that is gone is not asked for.
        tf32=options.tf32 and hasattr(trt.BuilderFlag, "TF32"),
        use_dla=on_dla,
        allow_gpu_fallback=on_dla,
        load_timing_cache=str(timings) if timings and timings.is_file() else None,
        progress_monitor=_progress_monitor(),
    )
    config: trt.IBuilderConfig = create(builder, network)
    if not is_rtx(job.package) and release() < (10, 0):
        # A session has several contexts on the one profile; later versions share it by themselves.
        config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    if options.dla_core is not None:
        config.DLA_core = options.dla_core
    if options.compute_capabilities:
        _build_for(config, options.compute_capabilities)
    return config


def _build_for(config: Any, compute_capabilities: Sequence[str]) -> None:
    """Have TensorRT-RTX build for these GPUs and not for those of its default."""
    config.num_compute_capabilities = len(compute_capabilities)
    for index, sm in enumerate(compute_capabilities):
        config.set_compute_capability(compute_capability(sm), index)


def _plan(
    builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig
) -> bytes:
    from polygraphy.backend.trt import engine_bytes_from_network

    return bytes(engine_bytes_from_network((builder, network), config=config))


@contextmanager
def _in_our_words(job: Job, messages: Messages) -> Iterator[None]:
    """Raise MemoryError where memory was the matter, else InputError with TensorRT's reason."""
    from polygraphy.exception import PolygraphyException

    try:
        yield
    except PolygraphyException as error:
        if short := lack_of_memory(messages.errors, messages.warnings):
            raise MemoryError(short) from error
        reason = messages.reason() if messages.all() else " ".join(str(error).split())[:300]
        raise InputError(
            f"Expected TensorRT {trt.__version__} to build {job.request.onnx}, but it says: "
            f"{reason}. Export the model again with `pipeline export MODEL`; if it says the same "
            "again, report it with these lines."
        ) from error


def _progress_monitor() -> Any:
    """Tells the parent which phase is at which step; None where TensorRT (8.6) has none."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)  # pybind11 wants the base called by its name
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            tell(phase_name, 0, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            tell(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            return True  # go on: who wants the build to stop ends this process

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
