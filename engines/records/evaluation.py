"""`evaluation.json`: the accuracy of one engine, against the labels and against FP32."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from engines.records.record import EngineRecord, Part, Sha256
from engines.records.thresholds import Thresholds


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


class Accuracy(Part):
    """Accuracy on a set by COCO's rules; `None` where the set has no object of that kind."""

    images: int
    objects: int
    map50_95: float
    map50: float
    map50_95_small: float | None
    map50_95_medium: float | None
    map50_95_large: float | None
    per_class: dict[str, ClassAccuracy]


class OnnxShift(Part):
    """How far the built engine is from its own ONNX file, by their raw outputs on the golden frames
    where either finds an object."""

    frames: int = Field(ge=1)
    objects: int = Field(ge=1)
    """Scores that were compared: one for each anchor and class that either finds."""
    scores_mean: float
    """Mean absolute difference of the scores, 0 to 1."""
    scores_max: float
    boxes_mean_px: float
    """Of cx, cy, w and h, in pixels of the network's input."""
    boxes_max_px: float
    onnx_map50_95_drop: float
    """What the ONNX file itself loses against FP32, on the tuning set through ONNX Runtime."""


class Evaluation(Accuracy, EngineRecord):
    """Accuracy of one engine on the evaluation set, against the labels and against FP32."""

    file: ClassVar[str] = "evaluation.json"
    written_by: ClassVar[str] = "pipeline evaluate"

    model_version: str | None = None
    """The engine's. None in records that are older than this field, as of the next one."""
    thresholds: Thresholds | None = None
    """The engine's, by which its output became boxes."""
    pictures_sha256: Sha256 | None = None
    """Of the evaluation set, pictures and labels (`pipeline.intake.contents`): two engines can be
    compared where it is the same. None in records that are older than this field."""
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
    onnx_shift: OnnxShift
    golden_sha256: Sha256
    """Of `golden.npz` beside this file: frames, and the boxes that the engine found in them."""
    golden_telling: int | None = Field(default=None, ge=0)
    """Golden frames with a box clearly above the threshold, the only ones that a pod can tell a
    wrong engine by (`engines.detect.golden`). None in records that are older than this field."""
    notes: tuple[str, ...] = ()
    """What the figures are worth where the evaluation set is small, or the checkpoint itself has
    next to no accuracy on it; empty where neither is so."""
