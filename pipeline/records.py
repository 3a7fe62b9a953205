"""`verify.json` and `quantize.json`: what other packages need not read."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from engines.records.evaluation import Accuracy
from engines.records.record import Part, Record, Sha256

# --- verify.json -------------------------------------------------------------------------------


class Deviation(Part):
    """Absolute differences between two raw outputs on the same images."""

    largest: float
    mean: float


class Parity(Part):
    """ONNX Runtime against the PyTorch checkpoint at one batch size."""

    batch: int = Field(ge=1)
    images: int = Field(ge=1)
    boxes_px: Deviation
    """Of cx, cy, w and h, in pixels of the network's input."""
    scores: Deviation
    """Of the class scores, 0 to 1."""


class Tolerance(Part):
    """The largest deviation that still counts as the same network."""

    boxes_px: float
    scores: float


class Verify(Record):
    """The exported ONNX file is the checkpoint's network, and how good that network is."""

    file: ClassVar[str] = "verify.json"
    written_by: ClassVar[str] = "pipeline verify"

    model: str
    model_version: str
    weights_sha256: Sha256
    onnx_sha256: Sha256
    parity: tuple[Parity, ...]
    tolerance: Tolerance
    reference: Accuracy
    """Of the float32 network on the whole evaluation set."""
    reference_file: str
    """The reference's detections on the evaluation set, beside this file."""
    reference_sha256: Sha256
    runtimes: dict[str, str]
    """Versions of what was compared."""
    notes: tuple[str, ...] = ()
    """What else to know of the network, for example activations that float16 cannot hold."""


# --- quantize.json -----------------------------------------------------------------------------

Method = Literal["minmax", "entropy", "percentile", "mse"]


class MethodTried(Part):
    """One method for the ranges of all activations, and the output error that it gives."""

    method: Method
    error: float
    """As of `TensorRange`."""


class TensorRange(Part):
    """The range of one activation tensor, and why it was chosen."""

    tensor: str
    threshold: float
    """The magnitude that becomes 127."""
    choice: str
    """The method or candidate that was taken."""
    error: float
    """Of the output once it was taken, the tensors after it being as they were: mean change of the
    score where float32 finds an object, plus what its box lacks of an IoU of 1."""


class LayerSensitivity(Part):
    """What quantizing this convolution alone does to the raw output on tuning images."""

    layer: str
    """Name of the convolution in the graph."""
    error: float
    """Where float32 finds something: mean absolute change of the best score, plus what the box
    lacks of an IoU of 1."""


class FloatLayer(Part):
    """A convolution that is not quantized, and why."""

    layer: str
    reason: Literal["head output", "box decode", "accuracy"]
    map50_95: float | None = None
    """Tuning accuracy once it was put back; None where it was float from the start."""
    confidence_shift: float | None = None
    """As `map50_95`."""


class QuantizedFile(Part):
    file: str
    sha256: Sha256
    bytes: int
    map50_95: float
    """On the tuning set, through ONNX Runtime."""
    map50_95_drop: float
    confidence_shift: float
    """Mean absolute change of the confidences of found objects, on the tuning set."""


class Quantize(Record):
    """How `model.fp16.onnx` and `model.int8.onnx` were made, and what they cost in accuracy."""

    file: ClassVar[str] = "quantize.json"
    written_by: ClassVar[str] = "pipeline quantize"

    model: str
    onnx_sha256: Sha256
    """Of `model.fp32.onnx`, which both were made from."""
    quantizer: str
    quantizer_version: str
    calibration_images: int
    tuning_images: int
    calibration_sha256: Sha256
    """Of the whole set, pictures and labels (`pipeline.intake.contents`)."""
    tuning_sha256: Sha256
    """As `calibration_sha256`."""
    sensitivity_images: int
    fp32_map50_95: float
    fp16: QuantizedFile
    int8: QuantizedFile
    methods: tuple[MethodTried, ...]
    method: Method
    """The one with the smallest error, from which the search for ranges started."""
    range_images: int
    ranges: tuple[TensorRange, ...]
    """Of `model.int8.onnx`, in the order of the graph."""
    max_map50_95_drop: float
    max_confidence_shift: float
    within_budget: bool
    quantized_layers: int
    float_layers: tuple[FloatLayer, ...]
    notes: tuple[str, ...] = ()
    """What else to know of the files, for example activations that float16 cannot hold."""
    golden_sha256: Sha256
    """Of `golden.npz` beside this file: frames, and the output of all three ONNX files on them."""
    sensitivity: tuple[LayerSensitivity, ...]
    """Most harmful first; empty when the budget held without putting layers back."""
