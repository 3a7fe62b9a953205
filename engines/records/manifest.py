"""`manifest.json`: what an engine is, how it takes its frames, and what it was made from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from engines.records.fingerprint import Fingerprint
from engines.records.record import EngineRecord, HardwareCompatibility, Part, Precision, Sha256
from engines.records.thresholds import Thresholds


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
    """For example `("uint8 to float", "NHWC to NCHW", "BGR to RGB", "divide by 255")`."""


class Postprocess(Part):
    """How the raw head output becomes boxes, with `thresholds`."""

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
    single: dict[str, Profile] | None = None
    """Input to a second profile, number 1, that is tuned for batch 1 and takes nothing else: one
    camera frame waits for that. None where the first one is tuned for 1, or does not take it."""
    strongly_typed: bool
    """Whether the ONNX file alone decides the precision, or builder flags do (TensorRT 8.6)."""
    workspace_mib: int
    optimization_level: int
    version_compatible: bool
    hardware_compatibility: HardwareCompatibility
    dla_core: int | None
    timing_cache: Literal["off", "new", "used", "ignored"]
    """`ignored`: one was there, but of another TensorRT or device, or damaged."""
    tf32: bool = False
    """Whether float32 layers may multiply in TF32; manifests that are older than this field are of
    plans that may not."""
    compute_capabilities: tuple[str, ...] = ()
    """GPUs that a plan of TensorRT-RTX was built for and runs on; none: its default."""
    dla_layers: int | None = None
    """Parts of the network that the DLA runs, as the engine inspector tells; None without a DLA."""
    layers_from: Literal["network types", "engine inspector"] | None = None
    """Where `executed_layers` was counted: a strongly typed network's own types, which TensorRT
    must keep, or the plan. None in manifests that are older than this field."""
    layers_untold: int = Field(default=0, ge=0)
    """Layers that compute something and are not in `executed_layers`, since the engine inspector
    does not tell their precision."""


ProcessorKind = Literal["amx", "vnni", "no-vnni", "arm"]
"""What multiplies int8 on a processor, as far as OpenVINO may use it."""


class OpenVINOBlob(Part):
    """What OpenVINO was given to compute, which depends on the processor that builds."""

    processor_kind: ProcessorKind
    isa: tuple[str, ...]
    """The flags of the device's `isa` that ONEDNN_MAX_CPU_ISA left, sorted: a blob is tied to
    them."""
    folded: int = Field(ge=0)
    """Q/DQ chains of activations that became one FakeQuantize; 0 where they stay as they are."""
    weight_bits: Literal[7, 8] | None
    """Of the quantized weights: 7 where pairs of products saturate; None where there are none."""


class Manifest(EngineRecord):
    """The sidecar of an engine: all that a loader must know, and check, before it deserialises."""

    file: ClassVar[str] = "manifest.json"
    written_by: ClassVar[str] = "pipeline build"

    model: str
    model_version: str
    precision: Precision
    executed_precision: str
    """What the backend really computed in most layers, for example `bf16`."""
    executed_layers: dict[str, int]
    """Precision to number of layers that run in it, as the backend reports."""
    engine_file: str
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
    thresholds: Thresholds
    """The target's when the engine was built: what was measured is what runs."""
    source: Source
    tensorrt: TensorRTPlan | None = None
    """Of backend `tensorrt` only."""
    openvino: OpenVINOBlob | None = None
    """Of backend `openvino` only."""
