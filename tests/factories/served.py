"""`/models` of a pod: a real engine of a network that always finds the same box, signed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from factories import built
from factories.built import BOX, SIDE, one_box_network
from factories.records import BUDGETS, benchmark, evaluation, judge, source
from factories.signed import Signer, statement_of

from engines.backends import BuildRequest
from engines.backends.openvino.options import OpenVINOOptions
from engines.detect.detector import Detector
from engines.detect.golden import find_golden, write_golden
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.attestation import FILE
from engines.records.evaluation import Evaluation
from engines.records.folder import EngineFolder
from engines.records.manifest import Batch, Manifest

VERSION = "1.0"
RELEASE = "v1.0-x86-openvino-fp32-0123456789ab"


def build(folder: Path, box: tuple[float, ...] = BOX) -> Manifest:
    """The engine and its manifest, in a new folder."""
    folder.mkdir(parents=True)
    onnx = folder.with_suffix(".onnx")
    one_box_network(onnx, box)
    request = BuildRequest(
        onnx=onnx,
        precision="fp32",
        batch=Batch(min=1, opt=1, max=2),
        imgsz=(SIDE, SIDE),
        device=read_fingerprint(),
        options=OpenVINOOptions(),
        progress=lambda phase, done, total: None,
    )
    return built.build(
        folder,
        request,
        engine="tiny-fp32",
        target="x86-openvino",
        model="tiny",
        model_version=VERSION,
        classes=("zero", "one"),
        source=source(onnx.name, onnx_sha256=sha256_file(onnx), git_commit="c" * 40),
    )


def judge_and_sign(folder: Path, signer: Signer, **changes: Any) -> Path:
    """Golden boxes where there are none, evaluation, verdict, and the signature over all of it."""
    one = EngineFolder(folder)
    manifest = one.read(Manifest)
    if not one.golden.is_file():
        frames = np.random.default_rng(2).integers(0, 256, (3, SIDE, SIDE, 3), dtype=np.uint8)
        with Detector.open(folder, manifest.device) as detector:
            write_golden(find_golden(detector, frames), one.golden)
    about = {
        **{name: getattr(manifest, name) for name in ("engine", "target", "engine_sha256")},
    }
    evaluated: Evaluation = evaluation().model_copy(
        update=about | {"golden_sha256": sha256_file(one.golden)}
    )
    one.write(evaluated)
    verdict = judge(manifest, benchmark().model_copy(update=about), evaluated, BUDGETS)
    one.write(verdict)
    return sign(folder, signer, **changes)


def sign(folder: Path, signer: Signer, **changes: Any) -> Path:
    """The signature over whatever lies there, anew."""
    envelope = signer.envelope(statement_of(folder, **({"release": RELEASE} | changes)))
    (folder / FILE).write_bytes(envelope)
    return folder


def write_keys(folder: Path, *signers: Signer) -> Path:
    """The trusted keys, as a ConfigMap has them."""
    folder.mkdir(parents=True, exist_ok=True)
    for signer in signers:
        signer.record().write(folder / f"{signer.name}.json")
    return folder


def copy(folder: Path, to: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(folder, to))
