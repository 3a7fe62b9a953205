"""Verify: `model.fp32.onnx` computes what the checkpoint computes; how good that is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.config.model import ModelConfig, load_model
from engines.config.steady import check_steady
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from engines.machine.sensors.quota import usable_processors
from pipeline.accuracy.coco import accuracy, in_pixels, read_set_labels
from pipeline.accuracy.reference import Reference, write_reference
from pipeline.accuracy.worth import doubted
from pipeline.intake.checkpoint import load_checkpoint, versions
from pipeline.intake.checkpoint_file import read_file
from pipeline.intake.contents import contents
from pipeline.intake.dataset import load_sets
from pipeline.intake.network import TOLERANCE_PX, TOLERANCE_SCORES
from pipeline.onnx import session as runtime
from pipeline.onnx.checkpoint_outputs import (
    BATCHES,
    CheckpointOutputs,
    parity_pixels,
    pictures_sha256,
    read_checkpoint_outputs,
)
from pipeline.onnx.exported import read_export
from pipeline.onnx.inference import detect_in_files, for_map
from pipeline.onnx.overflow import float16_notes, largest_activations
from pipeline.progress import note
from pipeline.records import Deviation, Parity, Tolerance, Verify

TOLERANCE = Tolerance(boxes_px=TOLERANCE_PX, scores=TOLERANCE_SCORES)


def verify(workspace: Workspace, model_name: str) -> Verify:
    """Compare the ONNX file with the checkpoint on real images and write `verify.json`.

    Writes what the float32 network finds in the evaluation set to `reference.npz` first, with the
    content of the pictures and labels.
    Raises InputError when the two differ by more than the tolerance, when the ONNX file was made
    from other weights, or for bad weights or data.
    """
    model = load_model(workspace, model_name)
    file = workspace.onnx(model_name, "fp32")
    samples = load_sets(workspace.model(model_name), model)["evaluation"]
    held = contents(samples)  # before they are read: what changes meanwhile shows later
    graph, onnx_sha256 = read_export(file, model)
    onnx = bytes(graph.SerializeToString())
    pixels = parity_pixels(samples, model.imgsz)
    expected = _expected(workspace, model, pixels)
    parity, largest = _compare(expected.raw, graph, onnx, pixels)
    _check(parity, file)
    labels = read_set_labels(samples, len(model.classes))
    found, sizes = detect_in_files(
        onnx, samples, model.imgsz, "detect with ONNX Runtime", for_map(labels)
    )
    figures = accuracy(in_pixels(labels, sizes), found, model.classes)
    notes = (*float16_notes(largest), *doubted(figures.map50_95))
    for sentence in notes:
        note(sentence)
    check_steady((model, onnx_sha256), (load_model(workspace, model_name), sha256_file(file)))
    reference = workspace.reference(model_name)
    reference_sha256 = write_reference(reference, Reference(detections=found, contents=held))
    record = Verify(
        model=model.name,
        model_version=model.version,
        weights_sha256=model.weights.sha256,
        onnx_sha256=onnx_sha256,
        parity=parity,
        tolerance=TOLERANCE,
        reference=figures,
        reference_file=reference.name,
        reference_sha256=reference_sha256,
        runtimes={"onnxruntime": runtime.version(), **expected.runtimes},
        notes=notes,
    )
    record.write(workspace.model_out(model_name) / Verify.file)
    return record


def _expected(
    workspace: Workspace, model: ModelConfig, pixels: NDArray[np.uint8]
) -> CheckpointOutputs:
    """What the checkpoint makes of the pictures: as export left it, or else asked once more."""
    weights = workspace.model(model.name) / model.weights.path
    told = read_checkpoint_outputs(workspace.checkpoint_outputs(model.name))
    if told is not None and told.is_of(model.weights.sha256, pixels):
        read_file(weights, model.weights.sha256)
        return told
    checkpoint = load_checkpoint(weights, model.weights.sha256)
    return CheckpointOutputs(
        weights_sha256=model.weights.sha256,
        pictures_sha256=pictures_sha256(pixels),
        runtimes=versions(),
        raw=checkpoint.forward(pixels),
    )


def _compare(
    expected: NDArray[np.float32], graph: Any, onnx: bytes, pixels: NDArray[np.uint8]
) -> tuple[tuple[Parity, ...], dict[str, float]]:
    """Deviation at each batch size, and the largest activations, over the same pictures; side by
    side, since each computes on one processor."""
    session = runtime.OnnxModel(
        onnx
    )  # before the threads, as `in_threads` says of what is imported
    with ThreadPoolExecutor(usable_processors()) as pool:
        largest = pool.submit(largest_activations, graph, pixels)
        parity = pool.map(lambda batch: _parity(session, pixels, expected, batch), BATCHES)
        return tuple(parity), largest.result()


def _parity(
    session: runtime.OnnxModel,
    pixels: NDArray[np.uint8],
    expected: NDArray[np.float32],
    batch: int,
) -> Parity:
    parts = [session.run(pixels[start : start + batch]) for start in range(0, len(pixels), batch)]
    got = np.concatenate(parts)
    if got.shape != expected.shape:
        raise InputError(
            f"Expected raw output of shape {expected.shape} as from the checkpoint, got "
            f"{got.shape} at batch {batch}. Run `pipeline export MODEL` again."
        )
    if not np.isfinite(got).all():
        raise InputError(
            f"Expected numbers from the ONNX file, got NaN or infinity at batch {batch}, a "
            "difference of nan from the checkpoint. Run `pipeline export MODEL` again."
        )
    apart = np.abs(got.astype(np.float64) - expected)
    return Parity(
        batch=batch,
        images=len(pixels),
        boxes_px=_deviation(apart[:, :4]),
        scores=_deviation(apart[:, 4:]),
    )


def _deviation(apart: NDArray[np.float64]) -> Deviation:
    return Deviation(largest=float(apart.max()), mean=float(apart.mean()))


def _check(parity: Sequence[Parity], path: Path) -> None:
    for one in parity:
        pairs = (
            ("boxes", one.boxes_px.largest, TOLERANCE.boxes_px, "pixels"),
            ("scores", one.scores.largest, TOLERANCE.scores, "of 1"),
        )
        for name, got, limit, unit in pairs:
            if got > limit:
                raise InputError(
                    f"Expected {path} to give the checkpoint's {name} within {limit:g} {unit}, "
                    f"got a difference of {got:.3g} at batch {one.batch}. Export again; if it "
                    "stays, the versions of torch, onnxsim or onnxruntime do not fit together."
                )
