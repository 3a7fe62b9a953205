"""The JSON files that travel between the steps: one frozen model a file, written atomically.

`device.json` (Fingerprint), `manifest.json` (Manifest), `benchmark.json` (Benchmark),
`evaluation.json` (Evaluation), `verdict.json` (Verdict). Units stand in the names. A file with an
unknown key, or without a needed one, is refused with its path and the key.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from typing_extensions import Self

from engines.errors import InputError
from engines.files import write_atomic

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Precision = Literal["fp32", "fp16", "int8"]
HardwareCompatibility = Literal["none", "ampere+", "same-compute-capability"]
VerdictName = Literal["PASS", "FAIL", "INVALID"]


class Part(BaseModel):
    """A frozen piece of a record."""

    # No NaN and no infinity: the step that measures one must fail, not the one that reads it.
    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False
    )


class Record(Part):
    """A whole JSON file; `schema` is the number of its format."""

    schema_: int = Field(default=1, alias="schema", ge=1, le=1)

    written_by: ClassVar[str]
    """The command that makes the file, for the message when it is missing."""

    def write(self, path: Path) -> None:
        """Write the record as indented JSON, atomically."""
        write_atomic(path, self.model_dump_json(indent=2, by_alias=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check the record. Raises InputError with the path and the offending key."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError as error:
            raise InputError(
                f"Expected {path}, which `{cls.written_by}` writes, but it is not there. "
                "Run that command first, or `dvc repro` for all of them."
            ) from error
        except ValidationError as error:
            raise InputError(
                f"{path} is not what `{cls.written_by}` writes: {explain(error)}. "
                "Make it again with that command."
            ) from error


def explain(error: ValidationError) -> str:
    """The first problem of a validation error as `key: what is wrong`, and how many more."""
    problems = error.errors(include_url=False)
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"]) or "the file"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{key}: {first['msg']}{_came(first)}{more}"


def _came(problem: Any) -> str:
    value = problem.get("input")
    return f", came {value!r}" if isinstance(value, str | int | float | bool | None) else ""


# --- device.json -------------------------------------------------------------------------------


class Fingerprint(Record):
    """What an engine is tied to: equal fingerprints may share an engine, others must not.

    Holds nothing that changes from boot to boot, and no serial number.
    """

    written_by: ClassVar[str] = "pipeline probe"

    kind: Literal["cpu", "dgpu", "jetson"]
    """What the machine computes with: processors alone, an NVIDIA card beside them, or a Jetson."""
    name: str
    """The processor as it names itself, for example `Intel(R) Xeon(R) Gold 6430`."""
    architecture: str
    """`x86_64` or `aarch64`."""
    isa: tuple[str, ...]
    """Instruction sets that change what an engine holds, sorted (for example `amx_bf16`)."""
    cores: int = Field(ge=1)
    """Processors that this process may run on."""
    memory_gib: int = Field(ge=1)
    backends: dict[str, str]
    """Package that a backend runs on (`openvino`, `tensorrt`, `tensorrt_rtx`) to the version of it
    that is installed here."""
    gpu: str | None = None
    """As the driver names it, for example `Orin` or `NVIDIA L4`. From here on: None without one."""
    compute_capability: str | None = None
    """The GPU's SM version, for example `8.7`."""
    gpu_memory_gib: int | None = None
    """Memory of the GPU; on a Jetson that of the whole machine."""
    unified_memory: bool | None = None
    """Whether GPU and processors share one memory."""
    dla_cores: int | None = None
    driver: str | None = None
    """Version of NVIDIA's driver."""
    cuda: str | None = None
    """Version of CUDA that the driver takes, for example `12.6`."""
    family: str | None = None
    """Jetson family, for example `orin-nx`. From here on: None on any other machine."""
    module: str | None = None
    """Jetson module, for example `Jetson Orin NX 16GB`."""
    l4t: str | None = None
    """Jetson Linux, for example `36.4.3`."""
    jetpack: str | None = None
    """The JetPack that this Jetson Linux belongs to, for example `6.2`."""


# --- manifest.json -----------------------------------------------------------------------------


class Tensor(Part):
    """A binding of the engine. `None` in the shape is the batch axis."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]


class Batch(Part):
    """Batch sizes that the engine takes: the optimisation profile."""

    min: int = Field(ge=1)
    opt: int = Field(ge=1)
    max: int = Field(ge=1)


class Preprocess(Part):
    """How a camera frame becomes the engine's input; the engine itself does `in_engine`."""

    letterbox_fill: int = 114
    interpolation: Literal["linear"] = "linear"
    in_engine: tuple[str, ...]
    """For example `("u8 to f32", "NHWC to NCHW", "BGR to RGB", "divide by 255")`."""


class Postprocess(Part):
    """How the raw head output becomes boxes; thresholds are the target's."""

    layout: Literal["batch, 4 + classes, anchors"] = "batch, 4 + classes, anchors"
    boxes: Literal["cx, cy, w, h in input pixels"] = "cx, cy, w, h in input pixels"
    nms: Literal["class-aware"] = "class-aware"


class Source(Part):
    """What the engine was made from."""

    weights_sha256: Sha256
    onnx_sha256: Sha256
    onnx_file: str
    git_commit: str
    """Commit of the repository, with `-dirty` when the code differed from it; empty without git."""


class Profile(Part):
    """Shapes of one input that the engine takes, and the one that it is tuned for."""

    min: tuple[int, ...]
    opt: tuple[int, ...]
    max: tuple[int, ...]


class TensorRTPlan(Part):
    """How a plan was built: what TensorRT was told and what it said."""

    profile: dict[str, Profile]
    """Input to its optimization profile."""
    strongly_typed: bool
    """Whether the ONNX file alone decides the precision, or builder flags do (TensorRT 8.6)."""
    workspace_mib: int
    optimization_level: int
    version_compatible: bool
    hardware_compatibility: HardwareCompatibility
    dla_core: int | None
    timing_cache: Literal["off", "new", "used", "ignored"]
    """`ignored`: one was there, but of another TensorRT or device, or damaged."""


class Manifest(Record):
    """The sidecar of an engine: all that a loader must know, and check, before it deserialises."""

    written_by: ClassVar[str] = "pipeline build"

    engine: str
    model: str
    model_version: str
    target: str
    precision: Precision
    executed_precision: str
    """What the backend really computed in most layers, for example `bf16`."""
    executed_layers: dict[str, int]
    """Precision to number of layers that run in it, as the backend reports."""
    engine_file: str
    engine_sha256: Sha256
    engine_bytes: int = Field(ge=1)
    backend: str
    backend_package: str
    """Package that the backend ran on, a key of the fingerprint's `backends`."""
    backend_version: str
    """Version of that package."""
    device: Fingerprint
    batch: Batch
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    imgsz: tuple[int, int]
    """Height and width of the input, in pixels."""
    classes: tuple[str, ...]
    preprocess: Preprocess
    postprocess: Postprocess
    source: Source
    tensorrt: TensorRTPlan | None = None
    """Of backend `tensorrt` alone."""


# --- benchmark.json ----------------------------------------------------------------------------


class Latency(Part):
    """A distribution of times over single calls; a call handles one batch."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    p99_low_ms: float
    p99_high_ms: float
    """Bounds of the 95 % confidence interval of the p99, from order statistics."""
    mean_ms: float
    min_ms: float
    max_ms: float
    count: int


class Throughput(Part):
    """Whole frames a second with several in flight: the machine's best mode that was tried."""

    frames_per_second: float
    in_flight: int
    count: int


MODE_CHANGED = ", then "
"""Between the names of power modes that a machine was in one after the other."""


class MachineState(Part):
    """What the machine did while it measured. `None`: cannot be read here."""

    steal_share: float | None
    """Part of the processors' time that the hypervisor gave to others, 0 to 1."""
    others_share: float | None
    """Part of the processors' time that other programs used, 0 to 1."""
    run_queue_wait_share: float | None
    """Part of the measuring threads' time spent ready but waiting for a processor, 0 to 1."""
    drift_share: float
    """How far the medians of the first and the last third lie apart, as a part of the first."""
    clock_min_mhz: float | None
    clock_max_mhz: float | None
    throttle_events: int | None
    temperature_max_c: float | None
    """Of all zones of the machine, a card among them."""
    gpu_temperature_max_c: float | None = None
    """Of a card; a Jetson's GPU is one of its zones."""
    gpu_clock_min_mhz: float | None = None
    gpu_clock_max_mhz: float | None = None
    memory_clock_min_mhz: float | None = None
    memory_clock_max_mhz: float | None = None
    """Of the GPU's memory; on a Jetson of the memory (EMC) that all share."""
    power_mean_w: float | None = None
    power_max_w: float | None = None
    """Of the whole module on a Jetson (VDD_IN and its like), of the card on a dGPU."""
    over_current_events: int | None = None
    """How far the over-current counters of a Jetson rose."""
    throttle_reasons: tuple[str, ...] = ()
    """Why the GPU ran slower than it could: in NVML's words, or a Jetson's alerts by name."""
    gpu_memory_max_mib: float | None = None
    """The most that was taken of the GPU's memory by all programs, unified memory included."""
    other_gpu_processes: tuple[int, ...] = ()
    """Ids of other processes that computed on the card, as its driver counts them. A Jetson does
    not say."""
    power_mode: str | None = None
    """A Jetson's, by name, for example `MAXN`; two of them when it was changed meanwhile."""


class Validity(Part):
    """Whether the measurement can be trusted; each reason is a sentence that says what to do."""

    valid: bool
    reasons: tuple[str, ...]
    attempts: int = Field(ge=1)
    """Measurements made until one was valid or the row's limit was reached."""


class SoakWindow(Part):
    """One stretch of a soak, whole frames at batch 1."""

    start_s: float
    """Since the soak began."""
    p50_ms: float
    p99_ms: float
    count: int
    gpu_clock_min_mhz: float | None
    temperature_max_c: float | None
    power_mean_w: float | None


class Soak(Part):
    """Whole frames at batch 1 without a pause, for so long that the device is as hot as it gets.

    Throttling is what a soak looks for: it makes no measurement INVALID.
    """

    minutes: float
    windows: Annotated[tuple[SoakWindow, ...], Field(min_length=1)]
    hot: Latency
    """Of the last third of the time."""
    throttle_events: int | None
    over_current_events: int | None
    throttle_reasons: tuple[str, ...]


class CrossCheck(Part):
    """The same engine measured by trtexec, for the GPU's compute time at batch 1."""

    command: tuple[str, ...]
    version: str
    """TensorRT's, as trtexec says it."""
    ours_p50_ms: float
    trtexec_p50_ms: float
    difference_share: float
    """Ours less trtexec's, as a part of trtexec's."""


class Benchmark(Record):
    """Latency and throughput of one engine on its device; keys of the dictionaries are batches."""

    written_by: ClassVar[str] = "pipeline benchmark"

    engine: str
    target: str
    engine_sha256: Sha256
    frame_size: tuple[int, int]
    """Height and width of the camera frame that the whole-frame figures start from, in pixels."""
    inference: dict[str, Latency]
    frame: dict[str, Latency]
    throughput: Throughput
    memory_peak_mib: float
    """The most that the measuring process had resident, soak included. Where GPU and processors
    share one memory (a Jetson), what the machine's used memory rose by since before the engine was
    loaded, if that is more: CUDA's memory is not resident. A card's own memory is not in it."""
    machine: MachineState
    validity: Validity
    device: Fingerprint | None = None
    """What measured it: another machine than the one that built the engine, where any may build."""
    energy_per_frame_mj: float | None = None
    """Mean power times time of whole frames at batch 1. None where power cannot be read."""
    soak: Soak | None = None
    cross_check: CrossCheck | None = None


# --- evaluation.json ---------------------------------------------------------------------------


class Interval(Part):
    """A bootstrap percentile interval."""

    low: float
    high: float
    level: float = 0.95
    resamples: int


class ClassAccuracy(Part):
    map50_95: float | None
    """`None` where the class has no labelled object in the set."""
    map50: float | None
    objects: int


class Evaluation(Record):
    """Accuracy of one engine on the evaluation set, against the labels and against FP32."""

    written_by: ClassVar[str] = "pipeline evaluate"

    engine: str
    target: str
    engine_sha256: Sha256
    images: int
    objects: int
    map50_95: float
    map50: float
    map50_95_small: float | None
    map50_95_medium: float | None
    map50_95_large: float | None
    per_class: dict[str, ClassAccuracy]
    reference_map50_95: float
    """Of the FP32 checkpoint on the same images."""
    map50_95_drop: float
    """Reference minus engine: positive when the engine is worse."""
    map50_95_drop_interval: Interval
    confidence_shift: float
    """Mean absolute change of confidence over the reference's detections at or above
    `confidence_threshold`; one that the engine does not find counts with its whole confidence."""
    confidence_threshold: float
    reference_detections: int
    lost_detections: int
    """Reference detections at or above the threshold without a partner from the engine."""


# --- verdict.json ------------------------------------------------------------------------------


class Check(Part):
    """One budget against one measurement."""

    name: str
    measured: float
    limit: float
    unit: str
    verdict: VerdictName
    rule: Literal["at most", "at least"]


class Verdict(Record):
    """The gate's word on one engine: PASS and FAIL speak of it, INVALID of the measurement."""

    written_by: ClassVar[str] = "pipeline gate"

    engine: str
    target: str
    engine_sha256: Sha256
    verdict: VerdictName
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    """Why a measurement is INVALID; empty otherwise."""
