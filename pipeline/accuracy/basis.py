"""What an evaluation rests on, refused unless all of it speaks of the same network and pictures.

DVC runs again what depends on a changed file; a command that is run by hand finds what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.config.model import ModelConfig
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from engines.records.manifest import Manifest
from engines.records.record import Precision
from pipeline.accuracy.reference import Reference, check_same_pictures, read_reference
from pipeline.intake.contents import contents, set_sha256
from pipeline.intake.dataset import Sample
from pipeline.onnx.golden import read_golden_outputs
from pipeline.records import Quantize, Verify

Sets = Mapping[str, Sequence[Sample]]
"""Purpose (calibration, tuning, evaluation) to the samples."""


@dataclass(frozen=True, kw_only=True)
class OwnOutput:
    """What the ONNX file that an engine was built from makes of the golden frames."""

    frames: NDArray[np.uint8]
    output: NDArray[np.float32]
    map50_95_drop: float
    """What the file itself loses, on the tuning set."""


@dataclass(frozen=True, kw_only=True)
class Basis:
    """What an engine is compared with."""

    reference: Reference
    reference_map50_95: float
    """Of the FP32 network on the evaluation set, as `pipeline verify` measured it."""
    own: OwnOutput
    quantize: Quantize
    """How the ONNX files were made."""


def read_basis(workspace: Workspace, model: ModelConfig, manifest: Manifest) -> Basis:
    """The FP32 reference, and what the engine's own ONNX file makes of golden frames.

    Raises InputError, with the command to run again, where one of model.yaml, weights, exports and
    engine is another than the rest were made with.
    """
    verify = Verify.read(workspace.model_out(model.name) / Verify.file)
    quantize = Quantize.read(workspace.model_out(model.name) / Quantize.file)
    _check_weights(model, verify, manifest)
    _check_model(model, manifest)
    reference = _read_reference(workspace, verify, model.name)
    own = _read_own_output(workspace, quantize, manifest)
    _check_export(verify, quantize)
    return Basis(
        reference=reference,
        reference_map50_95=verify.reference.map50_95,
        own=own,
        quantize=quantize,
    )


def check_sets(basis: Basis, sets: Sets, manifest: Manifest) -> None:
    """Raise InputError unless the data sets are, by content, those that the basis was made with."""
    check_same_pictures(basis.reference, sets["evaluation"], basis.quantize.model)
    _check_quantized_with(basis.quantize, sets, manifest)


def _check_weights(model: ModelConfig, verify: Verify, manifest: Manifest) -> None:
    weights = {
        "model.yaml": model.weights.sha256,
        Verify.file: verify.weights_sha256,
        f"{Manifest.file} of {manifest.engine}": manifest.source.weights_sha256,
    }
    if len(set(weights.values())) > 1:
        said = ", ".join(f"{name} says {sha256[:12]}" for name, sha256 in weights.items())
        raise InputError(
            f"Expected engine and FP32 reference of the same weights, but {said}. Run "
            f"`dvc repro engines/targets/{manifest.target}/dvc.yaml`."
        )


def _check_model(model: ModelConfig, manifest: Manifest) -> None:
    asked = {"classes": tuple(model.classes), "imgsz": tuple(model.imgsz)}
    built = {"classes": manifest.classes, "imgsz": manifest.imgsz}
    for key, value in asked.items():
        if built[key] != value:
            raise InputError(
                f"Expected {manifest.engine} built for the {key} of model.yaml, "
                f"{', '.join(map(str, value))}, got one for {', '.join(map(str, built[key]))}. "
                f"Run `pipeline build {manifest.engine} --target {manifest.target}`."
            )


def _read_reference(workspace: Workspace, verify: Verify, model: str) -> Reference:
    path = workspace.reference(model)
    if not path.is_file() or sha256_file(path) != verify.reference_sha256:
        raise InputError(
            f"Expected {path} as `pipeline verify` wrote it beside verify.json, but it is missing "
            f"or another. Run `pipeline verify {model}`."
        )
    return read_reference(path, model)


def _read_own_output(workspace: Workspace, record: Quantize, manifest: Manifest) -> OwnOutput:
    path = workspace.golden(record.model)
    again = f"Run `pipeline quantize {record.model}`"
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
    golden = read_golden_outputs(path, record.model)
    return OwnOutput(frames=golden.frames, output=golden.outputs[precision], map50_95_drop=drop)


def _check_export(verify: Verify, quantize: Quantize) -> None:
    """The FP32 reference and the files of `quantize` must be of one model.fp32.onnx."""
    if verify.onnx_sha256 != quantize.onnx_sha256:
        raise InputError(
            f"Expected {Verify.file} and {Quantize.file} of the same export of {verify.model}, but "
            f"one is of {verify.onnx_sha256[:12]} and the other of {quantize.onnx_sha256[:12]}. "
            f"Run `pipeline verify {verify.model}` and `pipeline quantize {verify.model}` again, "
            "or `dvc repro`."
        )


def _check_quantized_with(quantize: Quantize, sets: Sets, manifest: Manifest) -> None:
    """A picture that moved to the evaluation set after INT8 was made with it would flatter it."""
    seen = {"calibration": quantize.calibration_sha256, "tuning": quantize.tuning_sha256}
    for purpose, sha256 in seen.items():
        if set_sha256(contents(sets[purpose])) != sha256:
            raise InputError(
                f"Expected the {purpose} set of {quantize.model} as `pipeline quantize` saw it, "
                "but its pictures or labels were changed since. Run `pipeline quantize "
                f"{quantize.model}` again, then `pipeline build {manifest.engine} --target "
                f"{manifest.target}`, or `dvc repro engines/targets/{manifest.target}/dvc.yaml`."
            )
