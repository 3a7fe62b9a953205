"""TensorRT and TensorRT-RTX on NVIDIA GPUs: builds raw plans, through Polygraphy.

The engine takes uint8 NHWC BGR (`engines.backends.uint8_input`). Precision is the ONNX file's own:
the network is strongly typed, but where TensorRT is too old for it (8.6) or has a DLA run untyped
networks only (before 11): there the builder's flags decide.

The builder works in a process of its own. On a small Jetson the kernel may end it for want of
memory, and then somebody must be left to say so.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from engines.backends import BuildRequest, BuildResult, timing_cache
from engines.backends.layers import main_precision
from engines.backends.tensorrt_layers import network_layers, plan_layers
from engines.backends.tensorrt_options import check_options, hardware_level
from engines.backends.tensorrt_sdk import Messages, choose, is_rtx, new_logger, release, trt
from engines.backends.tensorrt_session import TensorRTSession
from engines.backends.timing_cache import Use
from engines.backends.uint8_input import IN_ENGINE, with_uint8_input
from engines.child import run_in_child, tell
from engines.config import TensorRTBuilder
from engines.errors import InputError
from engines.records import Manifest, Precision, Preprocess, Profile, Tensor, TensorRTPlan

OUTPUT = "output0"
OUT_OF_MEMORY = re.compile(
    r"out ?of ?memory|bad_alloc|cannot allocate|allocat\w+ failed|insufficient (memory|workspace)"
    r"|memory is insufficient",
    re.IGNORECASE,
)
MIB = 1 << 20
DTYPES = {"UINT8": "uint8", "FLOAT": "float32", "HALF": "float16"}
"""TensorRT's names of types to numpy's."""


class TensorRT:
    """Builds and loads engines for NVIDIA GPUs."""

    name = "tensorrt"
    engine_file = "engine.plan"

    def __init__(self, package: str = "tensorrt") -> None:
        self._package = package

    def version(self) -> str:
        """Version of the package that is installed. Raises InputError when it is missing."""
        try:
            return version(self._package)
        except PackageNotFoundError as error:
            raise InputError(
                f"Expected the package {self._package}, which the backend `tensorrt` runs on, but "
                "it is not installed. Run `pipeline doctor`: it says how to install it here."
            ) from error

    def onnx_precision(self, precision: Precision) -> Precision:
        """TensorRT 8.6 takes the float32 file for float16, and its builder decides."""
        old = not is_rtx(self._package) and int(self.version().split(".")[0]) < 10
        return "fp32" if old and precision == "fp16" else precision

    def build(self, request: BuildRequest, engine: Path) -> BuildResult:
        """Build the plan in a process of its own and write it to `engine`, nothing before it.

        Raises InputError when TensorRT does not take the ONNX file, the profile or an option, or
        when memory runs out.
        """
        job = Job(request=replace(request, progress=tell), package=self._package, engine=engine)
        try:
            return run_in_child(_build, job, request.progress)
        except BrokenProcessPool as error:
            raise out_of_memory(request, "the system ended the builder's process") from error
        except MemoryError as error:
            raise out_of_memory(request, "the builder got no more of it") from error

    def load(self, engine: Path, manifest: Manifest, *, in_flight: int) -> TensorRTSession:
        """Deserialise an engine whose manifest was checked, with `in_flight` sets of buffers.

        Raises WrongEngine where there is no GPU, or TensorRT does not take the plan.
        """
        return TensorRTSession(engine, manifest, in_flight=in_flight)


# --- building, in the child ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the builder's process is to do."""

    request: BuildRequest
    package: str
    engine: Path
    """Where the plan goes."""

    @property
    def options(self) -> TensorRTBuilder:
        assert isinstance(self.request.options, TensorRTBuilder)
        return self.request.options


def _build(job: Job) -> BuildResult:
    choose(job.package)
    check_options(job.request, job.options, job.package)
    messages = Messages()
    builder = trt.Builder(new_logger(messages))
    network = _network(builder, strongly_typed=is_strongly_typed(job))
    _parse(network, builder, job.request, messages)
    profile = _profile(network, job.request)
    keeps_timings = job.options.timing_cache
    timings = timing_cache.file_of(job.request.device, job.package) if keeps_timings else None
    config = _config(builder, network, job, profile, timings)
    used = timing_cache.use_of(timings, messages)
    plan = _serialize(builder, network, config, job, messages)
    job.engine.write_bytes(plan)
    if timings:
        timing_cache.save(config, timings)
    layers = network_layers(network) if is_strongly_typed(job) else plan_layers(plan)
    return BuildResult(
        executed_precision=main_precision(layers),
        executed_layers=dict(Counter(precision for _, precision in layers).most_common()),
        inputs=tuple(_tensor(network.get_input(i)) for i in range(network.num_inputs)),
        outputs=tuple(_tensor(network.get_output(i)) for i in range(network.num_outputs)),
        preprocess=Preprocess(in_engine=IN_ENGINE),
        tensorrt=_how(job, profile, used),
    )


def _how(job: Job, profile: dict[str, Profile], timing_cache_use: Use) -> TensorRTPlan:
    options = job.options
    return TensorRTPlan(
        profile=profile,
        strongly_typed=is_strongly_typed(job),
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
        dla_core=options.dla_core,
        timing_cache=timing_cache_use,
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


def _parse(
    network: trt.INetworkDefinition,
    builder: trt.Builder,
    request: BuildRequest,
    messages: Messages,
) -> None:
    """Fill the network from the ONNX file. Raises InputError with operators and names of nodes."""
    parser = trt.OnnxParser(network, builder.logger)
    if parser.parse(with_uint8_input(request.onnx, request.imgsz)):
        outputs = [network.get_output(index).name for index in range(network.num_outputs)]
        if outputs == [OUTPUT]:
            return
        raise InputError(
            f"{request.onnx}: expected one output named {OUTPUT}, came {', '.join(outputs)}. "
            "Make the file with `pipeline export MODEL`."
        )
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    raise InputError(
        f"Expected an ONNX file that TensorRT {trt.__version__} can parse, but of {request.onnx} "
        f"it does not take {parser_errors(errors) or messages.reason()}. Export the model again "
        "with `pipeline export MODEL`, without layers that TensorRT does not have."
    )


def parser_errors(errors: Sequence[Any]) -> str:
    """The parser's errors in words: each with its operator and the name of its node.

    TensorRT 8.6 gives the node's number alone.
    """
    said = []
    for error in errors:
        operator = error.node_operator() if hasattr(error, "node_operator") else "an operator"
        name = error.node_name() if hasattr(error, "node_name") else f"number {error.node()}"
        said.append(f"{operator} (node {name}): {' '.join(error.desc().split())[:200]}")
    more = f"; and {len(said) - 5} more" if len(said) > 5 else ""
    return "; ".join(said[:5]) + more


def _profile(network: trt.INetworkDefinition, request: BuildRequest) -> dict[str, Profile]:
    """The optimization profile of the one input: the row's batches, in the axes that are free."""
    tensor = network.get_input(0)
    axes = _axes(tensor)
    batch = request.batch
    shapes = Profile(
        min=(batch.min, *axes[1:]), opt=(batch.opt, *axes[1:]), max=(batch.max, *axes[1:])
    )
    if axes[0] >= 0 and {batch.min, batch.opt, batch.max} != {axes[0]}:
        raise InputError(
            f"{request.onnx}: expected a batch axis that is free, for the profile {batch.min}, "
            f"{batch.opt}, {batch.max} of the row, came one that is always {axes[0]}. Export the "
            f"model again with `pipeline export MODEL`, or set `batch:` in the target's "
            f"params.yaml to {axes[0]} thrice."
        )
    return {tensor.name: shapes}


def _config(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    job: Job,
    profile: Mapping[str, Profile],
    timings: Path | None,
) -> trt.IBuilderConfig:
    from polygraphy.backend.trt import CreateConfig
    from polygraphy.backend.trt import Profile as Shapes

    shapes = Shapes()
    for name, one in profile.items():
        shapes.add(name, min=one.min, opt=one.opt, max=one.max)
    options, precision = job.options, job.request.precision
    untyped = not is_strongly_typed(job)
    on_dla = options.dla_core is not None
    create = CreateConfig(
        profiles=[shapes],
        memory_pool_limits={trt.MemoryPoolType.WORKSPACE: options.workspace_mib * MIB},
        builder_optimization_level=options.optimization_level,
        version_compatible=options.version_compatible,
        hardware_compatibility_level=hardware_level(options),
        fp16=untyped and precision != "fp32",
        int8=untyped and precision == "int8",
        use_dla=on_dla,
        allow_gpu_fallback=on_dla,
        load_timing_cache=str(timings) if timings and timings.is_file() else None,
        progress_monitor=_progress_monitor(),
    )
    config: trt.IBuilderConfig = create(builder, network)
    if options.dla_core is not None:
        config.DLA_core = options.dla_core
    return config


def _serialize(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    job: Job,
    messages: Messages,
) -> bytes:
    """The plan. Raises InputError with TensorRT's reason when it cannot be built."""
    from polygraphy.backend.trt import engine_bytes_from_network
    from polygraphy.exception import PolygraphyException

    try:
        return bytes(engine_bytes_from_network((builder, network), config=config))
    except PolygraphyException as error:
        said = " ".join((*messages.errors, *messages.warnings))
        if OUT_OF_MEMORY.search(said):
            raise out_of_memory(job.request, messages.reason()) from error
        raise InputError(
            f"Expected TensorRT {trt.__version__} to build {job.request.onnx}, but it says: "
            f"{messages.reason()}. Export the model again with `pipeline export MODEL`; if it says "
            "the same again, report it with these lines."
        ) from error


def out_of_memory(request: BuildRequest, reason: str) -> InputError:
    """The sentence for a builder that got no more memory, with the keys of the row to change."""
    options = request.options
    assert isinstance(options, TensorRTBuilder)
    return InputError(
        f"Expected enough memory to build {request.onnx} on {request.device.name}, but it ran out: "
        f"{reason}. In the target's params.yaml lower `builder.workspace_mib` (now "
        f"{options.workspace_mib}), then `batch.max` (now {request.batch.max}) or "
        f"`builder.optimization_level` (now {options.optimization_level}); or stop other programs."
    )


def _tensor(tensor: trt.ITensor) -> Tensor:
    axes = _axes(tensor)
    return Tensor(
        name=tensor.name,
        dtype=DTYPES.get(tensor.dtype.name, tensor.dtype.name.lower()),
        shape=(None, *axes[1:]),
    )


def _axes(tensor: trt.ITensor) -> tuple[int, ...]:
    return tuple(tensor.shape[index] for index in range(len(tensor.shape)))


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
            try:
                tell(phase_name, step + 1, self._steps.get(phase_name, step + 1))
            except (KeyboardInterrupt, OSError):
                return False  # stop building: Ctrl-C, or the parent is gone
            return True

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

    return Monitor()
