"""`pipeline evaluate`: the accuracy of a built engine, through the detector that a pod runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from engines.config.model import ModelConfig, load_model
from engines.config.target import TargetConfig, load_target, readable_targets
from engines.config.workspace import Workspace
from engines.detect.detections import Detections
from engines.detect.detector import Detector, Frame
from engines.detect.golden import find_golden, write_golden
from engines.machine.fingerprint import read_fingerprint
from engines.records.evaluation import Evaluation, OnnxShift
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from pipeline.accuracy.basis import Basis, OwnOutput, check_sets, read_basis
from pipeline.accuracy.bootstrap import drop_interval, match
from pipeline.accuracy.coco import Truth, accuracy, in_pixels, read_set_labels
from pipeline.accuracy.confidence import confidence_shift
from pipeline.accuracy.onnx_shift import onnx_shift
from pipeline.accuracy.worth import crowded, doubted, worth
from pipeline.device.recognition import check_target, frames_in_flight
from pipeline.device.turn import turn
from pipeline.intake.contents import set_sha256
from pipeline.intake.dataset import Sample, load_sets
from pipeline.intake.pictures import Size
from pipeline.onnx.inference import for_map
from pipeline.progress import track


def evaluate(
    workspace: Workspace, target_name: str, engine: str, *, wait: bool = False
) -> Evaluation:
    """Run the engine on the evaluation set and write `evaluation.json` and its `golden.npz`.

    Raises InputError for bad data, or where engine, reference and pictures do not belong together;
    WrongEngine when target or engine are not
    this device's, and Conflict while another command uses the device.
    """
    target = load_target(workspace, target_name)
    device = read_fingerprint()
    check_target(device, target, target.device, partial(readable_targets, workspace))
    target.engine(engine)
    with turn(f"pipeline evaluate {engine} --target {target_name}", wait=wait):
        return _evaluate(workspace, target, engine, device)


def _evaluate(
    workspace: Workspace, target: TargetConfig, engine: str, device: Fingerprint
) -> Evaluation:
    folder = workspace.engine(target.target, engine)
    model = load_model(workspace, target.engine(engine).model)
    manifest = folder.read(Manifest)
    basis = read_basis(workspace, model, manifest)
    sets = load_sets(workspace.model(model.name), model)
    samples = sets["evaluation"]
    labels = read_set_labels(samples, len(model.classes))
    check_sets(basis, sets, manifest)
    # First and by itself: loaded and asked as a pod does, at the thresholds that a pod has.
    with Detector.open(folder.path, device) as detector:
        golden = find_golden(detector, basis.own.frames)
    in_flight = frames_in_flight(device, target.package)[1]
    with Detector.open(
        folder.path, device, thresholds=for_map(labels), multi_label=True, in_flight=in_flight
    ) as detector:
        shift = _onnx_shift(detector, basis.own)
        found, sizes = _detect(detector, samples)
    telling = golden.telling(manifest.thresholds.confidences(manifest.classes))
    golden_sha256 = write_golden(golden, folder.golden)
    told = {"golden_sha256": golden_sha256, "golden_telling": len(telling)}
    truth = in_pixels(labels, sizes)
    record = _compare(target, model, manifest, truth, basis, found, shift, told)
    folder.write(record)
    return record


def _onnx_shift(detector: Detector, own: OwnOutput) -> OnnxShift:
    """Run the engine on the golden frames, one by one, and compare."""
    found = []
    for frame in own.frames:
        detector.fill([frame])
        found.append(detector.infer()[0].copy())
    sure = detector.manifest.thresholds.confidences(detector.manifest.classes)
    return onnx_shift(own.output, np.stack(found), sure, onnx_map50_95_drop=own.map50_95_drop)


def _detect(
    detector: Detector, samples: Sequence[Sample]
) -> tuple[dict[str, Detections], dict[str, Size]]:
    """What the engine finds in each picture, and the sizes of these."""
    sizes: dict[str, Size] = {}

    def frames() -> Iterator[Frame]:
        for sample in samples:
            frame = sample.read_image()
            sizes[sample.name] = Size(*frame.shape[:2])
            yield frame

    what = f"evaluate {detector.manifest.engine}"
    found = track(detector.stream(frames()), what, total=len(samples))
    names = (sample.name for sample in samples)
    return dict(zip(names, found, strict=True)), sizes


def _compare(
    target: TargetConfig,
    model: ModelConfig,
    manifest: Manifest,
    truth: Mapping[str, Truth],
    basis: Basis,
    found: Mapping[str, Detections],
    from_onnx: OnnxShift,
    golden: Mapping[str, Any],
) -> Evaluation:
    by_float32 = basis.reference.detections
    got = accuracy(truth, found, model.classes)
    sure = manifest.thresholds.confidences(manifest.classes)
    shift = confidence_shift(by_float32, found, sure)
    return Evaluation(
        engine=manifest.engine,
        target=target.target,
        engine_sha256=manifest.engine_sha256,
        **dict(got),
        model_version=manifest.model_version,
        thresholds=manifest.thresholds,
        pictures_sha256=set_sha256(basis.reference.contents),
        reference_map50_95=basis.reference_map50_95,
        map50_95_drop=basis.reference_map50_95 - got.map50_95,
        map50_95_drop_interval=drop_interval(match(truth, by_float32), match(truth, found)),
        confidence_shift=shift.shift,
        confidence_threshold=manifest.thresholds.confidence,
        reference_detections=shift.references,
        lost_detections=shift.lost,
        onnx_shift=from_onnx,
        **golden,
        notes=(
            *doubted(basis.reference_map50_95),
            *crowded(
                {name: len(one.classes) for name, one in truth.items()},
                manifest.thresholds.max_detections,
            ),
            *worth(got.images, {name: one.objects for name, one in got.per_class.items()}),
        ),
    )
