"""`pipeline evaluate`: the accuracy of a built engine, through the detector that a pod runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engines.config.model import ModelConfig, load_model
from engines.config.target import TargetConfig, load_target, readable_targets
from engines.config.workspace import Workspace
from engines.detect.detections import Detections, load_detections
from engines.detect.detector import Detector
from engines.detect.golden import find_golden, write_golden
from engines.errors import InputError
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.evaluation import Evaluation, OnnxShift
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from engines.records.record import Precision
from pipeline.accuracy.bootstrap import drop_interval, match
from pipeline.accuracy.coco import Truth, accuracy, read_truth
from pipeline.accuracy.confidence import confidence_shift
from pipeline.accuracy.onnx_shift import onnx_shift
from pipeline.accuracy.worth import worth
from pipeline.device.recognition import check_target, frames_in_flight
from pipeline.device.turn import turn
from pipeline.intake.dataset import Sample, load_sets
from pipeline.onnx.golden import read_golden_outputs
from pipeline.onnx.inference import FOR_MAP
from pipeline.progress import track
from pipeline.records import Quantize, Verify


def evaluate(
    workspace: Workspace, target_name: str, engine: str, *, wait: bool = False
) -> Evaluation:
    """Run the engine on the evaluation set and write `evaluation.json` and its `golden.npz`.

    Raises InputError for bad data or a missing reference, WrongEngine when target or engine are not
    this device's, and Conflict while another command uses the device.
    """
    target = load_target(workspace, target_name)
    device = read_fingerprint()
    check_target(device, target, target.device, partial(readable_targets, workspace))
    with turn(f"pipeline evaluate {engine} --target {target_name}", wait=wait):
        return _evaluate(workspace, target, engine, device)


def _evaluate(
    workspace: Workspace, target: TargetConfig, engine: str, device: Fingerprint
) -> Evaluation:
    folder = workspace.engine(target.target, engine)
    model = load_model(workspace, target.engine(engine).model)
    manifest = folder.read(Manifest)
    reference = _read_reference(workspace, model, manifest)
    own = _read_own_output(workspace, model, manifest)
    samples = load_sets(workspace.model(model.name), model)["evaluation"]
    truth = read_truth(samples, len(model.classes))
    _check_same_pictures(truth, reference, model.name)
    # First and by itself: loaded and asked as a pod does, at the thresholds that a pod has.
    with Detector.open(folder.path, device) as detector:
        golden = find_golden(detector, own.frames)
    in_flight = frames_in_flight(device, target.package)[1]
    with Detector.open(
        folder.path, device, thresholds=FOR_MAP, multi_label=True, in_flight=in_flight
    ) as detector:
        shift = _onnx_shift(detector, own)
        found = _detect(detector, samples)
    write_golden(golden, folder.golden)
    golden_sha256 = sha256_file(folder.golden)
    record = _compare(target, model, manifest, truth, reference, found, shift, golden_sha256)
    folder.write(record)
    return record


def _read_reference(
    workspace: Workspace, model: ModelConfig, manifest: Manifest
) -> dict[str, Detections]:
    """The FP32 detections, which must be of the very weights that the engine was built from."""
    verify = Verify.read(workspace.model_out(model.name) / Verify.file)
    weights = {
        "model.yaml": model.weights.sha256,
        Verify.file: verify.weights_sha256,
        f"{Manifest.file} of {manifest.engine}": manifest.source.weights_sha256,
    }
    if len(set(weights.values())) > 1:
        said = ", ".join(f"{name} says {sha256[:12]}" for name, sha256 in weights.items())
        raise InputError(
            f"Expected engine and FP32 reference of the same weights, but {said}. Run `dvc repro`."
        )
    path = workspace.reference(model.name)
    if not path.is_file() or sha256_file(path) != verify.reference_sha256:
        raise InputError(
            f"Expected {path} as `pipeline verify` wrote it beside verify.json, but it is missing "
            f"or another. Run `pipeline verify {model.name}`."
        )
    return load_detections(path)


@dataclass(frozen=True, kw_only=True)
class _OwnOutput:
    """What the ONNX file that an engine was built from makes of the golden frames."""

    frames: NDArray[np.uint8]
    output: NDArray[np.float32]
    map50_95_drop: float
    """What the file itself loses, on the tuning set."""


def _read_own_output(workspace: Workspace, model: ModelConfig, manifest: Manifest) -> _OwnOutput:
    record = Quantize.read(workspace.model_out(model.name) / Quantize.file)
    path = workspace.golden(model.name)
    again = f"Run `pipeline quantize {model.name}`"
    if not path.is_file() or sha256_file(path) != record.golden_sha256:
        raise InputError(
            f"Expected {path} as `pipeline quantize` wrote it beside quantize.json, but it is "
            f"missing or another. {again}."
        )
    files: dict[str, tuple[Precision, float]] = {
        record.int8.sha256: ("int8", record.int8.map50_95_drop),
        record.fp16.sha256: ("fp16", record.fp16.map50_95_drop),
        record.onnx_sha256: ("fp32", 0.0),
    }
    built_from = manifest.source.onnx_sha256
    if built_from not in files:
        raise InputError(
            f"Expected {path} to be of the ONNX file that {manifest.engine} was built from, "
            f"{built_from[:12]}, got that of {', '.join(sha256[:12] for sha256 in files)}. "
            f"{again} and `pipeline build {manifest.engine} --target {manifest.target}`."
        )
    precision, drop = files[built_from]
    golden = read_golden_outputs(path, model.name)
    return _OwnOutput(frames=golden.frames, output=golden.outputs[precision], map50_95_drop=drop)


def _onnx_shift(detector: Detector, own: _OwnOutput) -> OnnxShift:
    """Run the engine on the golden frames, one by one, and compare."""
    found = []
    for frame in own.frames:
        detector.fill([frame])
        found.append(detector.infer()[0].copy())
    sure = detector.manifest.thresholds.confidences(detector.manifest.classes)
    return onnx_shift(own.output, np.stack(found), sure, onnx_map50_95_drop=own.map50_95_drop)


def _check_same_pictures(
    truth: Mapping[str, Truth], reference: Mapping[str, Detections], model: str
) -> None:
    if truth.keys() != reference.keys():
        raise InputError(
            f"Expected the FP32 reference of {model} on the {len(truth)} pictures of the "
            f"evaluation set, got one on {len(reference)} other pictures. "
            f"Run `pipeline verify {model}`."
        )


def _detect(detector: Detector, samples: Sequence[Sample]) -> dict[str, Detections]:
    frames = (sample.read_image() for sample in samples)
    what = f"evaluate {detector.manifest.engine}"
    found = track(detector.stream(frames), what, total=len(samples))
    names = (sample.name for sample in samples)
    return dict(zip(names, found, strict=True))


def _compare(
    target: TargetConfig,
    model: ModelConfig,
    manifest: Manifest,
    truth: Mapping[str, Truth],
    reference: Mapping[str, Detections],
    found: Mapping[str, Detections],
    from_onnx: OnnxShift,
    golden_sha256: str,
) -> Evaluation:
    expected = accuracy(truth, reference, model.classes)
    got = accuracy(truth, found, model.classes)
    sure = manifest.thresholds.confidences(manifest.classes)
    shift = confidence_shift(reference, found, sure)
    return Evaluation(
        engine=manifest.engine,
        target=target.target,
        engine_sha256=manifest.engine_sha256,
        **dict(got),
        reference_map50_95=expected.map50_95,
        map50_95_drop=expected.map50_95 - got.map50_95,
        map50_95_drop_interval=drop_interval(match(truth, reference), match(truth, found)),
        confidence_shift=shift.shift,
        confidence_threshold=manifest.thresholds.confidence,
        reference_detections=shift.references,
        lost_detections=shift.lost,
        onnx_shift=from_onnx,
        golden_sha256=golden_sha256,
        notes=worth(got.images, {name: one.objects for name, one in got.per_class.items()}),
    )
