"""Quantize: `model.fp16.onnx` and `model.int8.onnx` from `model.fp32.onnx`.

The range of each activation is chosen by the error that it makes at the output. Where mAP or the
confidences still move too far on the tuning set, layers become float again, the most harmful first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.config.model import load_model
from engines.config.steady import check_steady
from engines.config.workspace import Workspace
from engines.detect.detections import Detections
from engines.files import sha256_file
from engines.records.thresholds import Thresholds
from pipeline.accuracy.coco import Truth, accuracy, in_pixels, read_set_labels
from pipeline.accuracy.confidence import confidence_shift
from pipeline.config import QuantizeConfig, load_quantize
from pipeline.intake.contents import contents, set_sha256
from pipeline.intake.dataset import load_sets
from pipeline.intake.labels import Labels
from pipeline.onnx import onnx_file, reading
from pipeline.onnx.exported import read_export
from pipeline.onnx.golden import FRAMES, make_golden_outputs, write_golden_outputs
from pipeline.onnx.head import Head, find_head
from pipeline.onnx.inference import (
    Prepared,
    detect,
    evenly,
    for_map,
    in_threads,
    prepare_all,
    spread,
)
from pipeline.onnx.overflow import float16_notes
from pipeline.onnx.quantizer import (
    Taps,
    conv_inputs,
    own_temporary_files,
    quantizer_version,
    to_float16,
    to_int8,
)
from pipeline.onnx.range_search import FOUND, Float32Outputs, choose_ranges
from pipeline.onnx.ranges import Histogram, add, histogram
from pipeline.onnx.session import OnnxModel
from pipeline.progress import note, track
from pipeline.records import (
    FloatLayer,
    LayerSensitivity,
    MethodTried,
    Quantize,
    QuantizedFile,
    TensorRange,
)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a graph does on the tuning set."""

    map50_95: float
    confidence_shift: float


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What candidates are judged with."""

    images: list[Prepared]
    truth: dict[str, Truth]
    classes: tuple[str, ...]

    reference: dict[str, Detections]
    """What float32 finds."""
    thresholds: Thresholds

    def judge(self, graph: Any, description: str) -> Judgement:
        """A graph on the tuning set."""
        found = detect(graph.SerializeToString(), self.images, description, self.thresholds)
        return Judgement(
            map50_95=accuracy(self.truth, found, self.classes).map50_95,
            confidence_shift=confidence_shift(self.reference, found, FOUND).shift,
        )


@dataclass(frozen=True, kw_only=True)
class Trial:
    """An INT8 graph and how it does."""

    graph: Any
    judged: Judgement
    back: tuple[FloatLayer, ...] = ()


@own_temporary_files()
def quantize(workspace: Workspace, model_name: str) -> Quantize:
    """Write both files and then `quantize.json`.

    Where INT8 cannot keep within the budget, it is written all the same and the record says so.
    Raises InputError for a missing or stale export, or without calibration or tuning images.
    """
    model, config = load_model(workspace, model_name), load_quantize(workspace)
    file = partial(workspace.onnx, model_name)
    graph, onnx_sha256 = read_export(file("fp32"), model)
    head = find_head(graph)
    sets = load_sets(workspace.model(model_name), model)
    held = {name: set_sha256(contents(sets[name])) for name in ("calibration", "tuning")}
    calibration = spread(sets["calibration"], config.calibration_images)
    samples = spread(sets["tuning"], config.tuning_images)
    labels = read_set_labels(samples, len(model.classes))
    prepared = prepare_all(samples, model.imgsz, "letterbox the tuning set")
    tuning = _tuning(graph, prepared, labels, model.classes)
    histograms = collect(
        graph, head, prepare_all(calibration, model.imgsz, "letterbox calibration")
    )
    notes = float16_notes({name: one.largest for name, one in histograms.items()})
    for sentence in notes:
        note(sentence)
    reference = accuracy(tuning.truth, tuning.reference, tuning.classes).map50_95
    images = evenly(tuning.images, config.range_images)
    methods, chosen = choose_ranges(graph, head, histograms, images, config)
    thresholds = {name: one.threshold for name, one in chosen.items()}
    start = to_int8(graph, thresholds, head.body)
    search = Search(graph, head, thresholds, config, tuning, reference)
    found = search.run(Trial(graph=start, judged=tuning.judge(start, "int8")))
    fp16, int8 = to_float16(graph, head), to_float16(found.graph, head)
    golden_sha256 = _write_golden(
        workspace.golden(model_name), tuning, fp32=graph, fp16=fp16, int8=int8
    )
    record = Quantize(
        model=model.name,
        onnx_sha256=onnx_sha256,
        quantizer=quantizer_version()[0],
        quantizer_version=quantizer_version()[1],
        calibration_images=len(calibration),
        tuning_images=len(samples),
        calibration_sha256=held["calibration"],
        tuning_sha256=held["tuning"],
        sensitivity_images=min(config.sensitivity_images, len(samples)),
        fp32_map50_95=reference,
        fp16=_write(file("fp16"), fp16, tuning.judge(fp16, "float16"), reference),
        int8=_write(file("int8"), int8, tuning.judge(int8, "int8 and float16"), reference),
        methods=tuple(MethodTried(method=name, error=error) for name, error in methods.items()),
        method=min(methods, key=lambda name: methods[name]),
        range_images=len(images),
        ranges=tuple(
            TensorRange(tensor=name, threshold=one.threshold, choice=one.candidate, error=one.error)
            for name, one in chosen.items()
        ),
        max_map50_95_drop=config.max_map50_95_drop,
        max_confidence_shift=config.max_confidence_shift,
        within_budget=search.holds(found),
        quantized_layers=len(head.body) - len(found.back),
        float_layers=(*_always_float(head), *found.back),
        notes=notes,
        golden_sha256=golden_sha256,
        sensitivity=tuple(search.sensitivity),
    )
    now = load_model(workspace, model_name), load_quantize(workspace), sha256_file(file("fp32"))
    check_steady((model, config, onnx_sha256), now)
    record.write(workspace.model_out(model_name) / Quantize.file)
    return record


def _always_float(head: Head) -> tuple[FloatLayer, ...]:
    outputs = (FloatLayer(layer=name, reason="head output") for name in head.outputs)
    decode = (FloatLayer(layer=name, reason="box decode") for name in head.distribution)
    return (*outputs, *decode)


def _write_golden(path: Path, tuning: Tuning, **graphs: Any) -> str:
    """Write a few frames of the tuning set, and each graph's own output on them. Those that hold
    objects: in the others an engine that finds nothing would do. Gives the file's SHA-256."""
    telling = [image for image in tuning.images if len(tuning.truth[image.name].classes)]
    frames = np.stack([image.pixels for image in spread(telling or tuning.images, FRAMES)])
    models: dict[Any, bytes] = {name: graph.SerializeToString() for name, graph in graphs.items()}
    return write_golden_outputs(make_golden_outputs(frames, models), path)


def _tuning(
    graph: Any, images: list[Prepared], labels: Mapping[str, Labels], classes: tuple[str, ...]
) -> Tuning:
    truth = in_pixels(labels, {image.name: image.size for image in images})
    limits = for_map(labels)
    found = detect(graph.SerializeToString(), images, "float32 on the tuning set", limits)
    return Tuning(images=images, truth=truth, classes=classes, reference=found, thresholds=limits)


def _write(path: Path, graph: Any, judged: Judgement, reference: float) -> QuantizedFile:
    values = reading.metadata(graph) | {"precision": path.name.split(".")[1]}
    onnx_file.set_metadata(graph, values)
    content = onnx_file.write_onnx(graph, path)
    return QuantizedFile(
        file=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        map50_95=judged.map50_95,
        map50_95_drop=reference - judged.map50_95,
        confidence_shift=judged.confidence_shift,
    )


# --- ranges ------------------------------------------------------------------------------------


def collect(graph: Any, head: Head, images: Sequence[Prepared]) -> dict[str, Histogram]:
    """Histogram of each tensor that a quantizable convolution reads, over all images."""
    taps = Taps(graph, head.body)

    def one(image: Prepared) -> dict[str, Histogram]:
        return {name: histogram(values) for name, values in taps.run(image.pixels[None]).items()}

    found = track(in_threads(one, images), "calibrate", total=len(images))
    return reduce(_added, found)


def _added(one: dict[str, Histogram], other: dict[str, Histogram]) -> dict[str, Histogram]:
    return {name: add(held, other[name]) for name, held in one.items()}


# --- back to float -----------------------------------------------------------------------------


class Search:
    """Puts the most harmful layers back to float until the budget holds."""

    def __init__(
        self,
        graph: Any,
        head: Head,
        thresholds: Mapping[str, float],
        config: QuantizeConfig,
        tuning: Tuning,
        reference: float,
    ) -> None:
        self._graph = graph
        self._body = head.body
        self._thresholds = thresholds
        self._config = config
        self._tuning = tuning
        self._reference = reference
        self.sensitivity: list[LayerSensitivity] = []

    def holds(self, candidate: Trial) -> bool:
        """Whether a candidate keeps within both budgets."""
        return self._excess(candidate) == 0

    def _excess(self, candidate: Trial) -> float:
        """How far a candidate is beyond its budgets, both together."""
        judged = candidate.judged
        drop = self._reference - judged.map50_95 - self._config.max_map50_95_drop
        shift = judged.confidence_shift - self._config.max_confidence_shift
        return max(drop, 0.0) + max(shift, 0.0)

    def run(self, start: Trial) -> Trial:
        """The first candidate that holds, or else the one least beyond its budgets."""
        if self.holds(start) or self._config.max_float_layers == 0:
            return start
        self.sensitivity = self._measure()
        tried = [start]
        for one in self.sensitivity[: self._config.max_float_layers]:
            tried.append(self._with_float(tried[-1], one.layer))
            if self.holds(tried[-1]):
                return tried[-1]
        return min(tried, key=self._excess)

    def _with_float(self, before: Trial, layer: str) -> Trial:
        gone = {one.layer for one in before.back} | {layer}
        graph = to_int8(
            self._graph, self._thresholds, [name for name in self._body if name not in gone]
        )
        judged = self._tuning.judge(graph, f"int8 with {len(gone)} more layers in float")
        back = FloatLayer(
            layer=layer,
            reason="accuracy",
            map50_95=judged.map50_95,
            confidence_shift=judged.confidence_shift,
        )
        return Trial(graph=graph, judged=judged, back=(*before.back, back))

    def _measure(self) -> list[LayerSensitivity]:
        """Each layer's harm when it alone is quantized, the worst first."""
        images = evenly(self._tuning.images, self._config.sensitivity_images)
        expected = [
            Float32Outputs.of(raw) for raw in OnnxModel(self._graph.SerializeToString()).run(images)
        ]

        def one(layer: str) -> LayerSensitivity:
            return LayerSensitivity(layer=layer, error=self._error(layer, images, expected))

        measured = in_threads(one, self._body)
        found = list(
            track(measured, "sensitivity of each layer", total=len(self._body), what="layers")
        )
        return sorted(found, key=lambda one: one.error, reverse=True)

    def _error(
        self, layer: str, images: NDArray[np.uint8], expected: Sequence[Float32Outputs]
    ) -> float:
        thresholds = {
            name: self._thresholds[name] for name in conv_inputs(self._graph, [layer]).values()
        }
        got = OnnxModel(to_int8(self._graph, thresholds, [layer]).SerializeToString()).run(images)
        return float(np.mean([one.error(raw) for one, raw in zip(expected, got, strict=True)]))
