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

    kind: Literal["cpu"]
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
    """Backend name to the version of it that is installed here."""


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
    backend_version: str
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


class Validity(Part):
    """Whether the measurement can be trusted; each reason is a sentence that says what to do."""

    valid: bool
    reasons: tuple[str, ...]
    attempts: int = Field(ge=1)
    """Measurements made until one was valid or the row's limit was reached."""


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
    machine: MachineState
    validity: Validity


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
