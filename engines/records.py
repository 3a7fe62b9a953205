"""The JSON files that travel between the steps: one frozen model a file, written atomically.

`device.json` (Fingerprint), `manifest.json` (Manifest), `evaluation.json` (Evaluation) and
`verdict.json` (Verdict); `benchmark.json` is in `engines.benchmark`. Units stand in the names. A
file with an unknown key, or without a needed one, is refused with its path and the key.
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
