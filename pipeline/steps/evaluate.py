"""`pipeline evaluate`: the accuracy of a built engine, through the detector that a pod runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from engines.config.model import ModelConfig, load_model
from engines.config.target import TargetConfig, load_target, readable_targets
from engines.config.workspace import Workspace
from engines.detect.detections import Detections, load_detections
from engines.detect.detector import Detector
from engines.errors import InputError
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.evaluation import Evaluation
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from pipeline.accuracy.bootstrap import drop_interval, match
from pipeline.accuracy.coco import Accuracy, Truth, accuracy, read_truth
from pipeline.accuracy.confidence import confidence_shift
from pipeline.accuracy.worth import worth
from pipeline.device.recognition import check_target, frames_in_flight
from pipeline.device.turn import turn
from pipeline.intake.dataset import Sample, load_sets
from pipeline.onnx.inference import FOR_MAP
from pipeline.progress import track
from pipeline.records import Verify


def evaluate(
    workspace: Workspace, target_name: str, engine: str, *, wait: bool = False
) -> Evaluation:
    """Run the engine on the evaluation set and write `evaluation.json`.

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
    samples = load_sets(workspace.model(model.name), model)["evaluation"]
    truth = read_truth(samples, len(model.classes))
    _check_same_pictures(truth, reference, model.name)
    found = _detect(folder.path, frames_in_flight(device, target.package)[1], device, samples)
    record = _compare(target, model, manifest, truth, reference, found)
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


def _check_same_pictures(
    truth: Mapping[str, Truth], reference: Mapping[str, Detections], model: str
) -> None:
    if truth.keys() != reference.keys():
        raise InputError(
            f"Expected the FP32 reference of {model} on the {len(truth)} pictures of the "
            f"evaluation set, got one on {len(reference)} other pictures. "
            f"Run `pipeline verify {model}`."
        )


def _detect(
    folder: Path, in_flight: int, device: Fingerprint, samples: Sequence[Sample]
) -> dict[str, Detections]:
    with Detector.open(
        folder,
        device,
        thresholds=FOR_MAP,
        multi_label=True,
        in_flight=in_flight,
    ) as detector:
        frames = (sample.read_image() for sample in samples)
        found = track(detector.stream(frames), f"evaluate {folder.name}", total=len(samples))
        names = (sample.name for sample in samples)
        return dict(zip(names, found, strict=True))


def _compare(
    target: TargetConfig,
    model: ModelConfig,
    manifest: Manifest,
    truth: Mapping[str, Truth],
    reference: Mapping[str, Detections],
    found: Mapping[str, Detections],
) -> Evaluation:
    expected: Accuracy = accuracy(truth, reference, model.classes)
    got: Accuracy = accuracy(truth, found, model.classes)
    sure = manifest.thresholds.confidences(manifest.classes)
    shift = confidence_shift(reference, found, sure)
    return Evaluation(
        engine=manifest.engine,
        target=target.target,
        engine_sha256=manifest.engine_sha256,
        images=got.images,
        objects=got.objects,
        map50_95=got.map50_95,
        map50=got.map50,
        map50_95_small=got.map50_95_small,
        map50_95_medium=got.map50_95_medium,
        map50_95_large=got.map50_95_large,
        per_class=got.per_class,
        reference_map50_95=expected.map50_95,
        map50_95_drop=expected.map50_95 - got.map50_95,
        map50_95_drop_interval=drop_interval(match(truth, reference), match(truth, found)),
        confidence_shift=shift.shift,
        confidence_threshold=manifest.thresholds.confidence,
        reference_detections=shift.references,
        lost_detections=shift.lost,
        notes=worth(got.images, {name: one.objects for name, one in got.per_class.items()}),
    )
