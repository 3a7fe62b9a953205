"""`/models` of a pod: a real engine of a network that always finds the same box, signed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from factories.records import BUDGETS, benchmark, evaluation, judge
from factories.signed import Signer, statement_of

from engines.backends import BuildRequest
from engines.backends.openvino.backend import OpenVINO
from engines.backends.openvino.options import OpenVINOOptions
from engines.detect.detector import Detector
from engines.detect.golden import find_golden, write_golden
from engines.files import sha256_file
from engines.machine.fingerprint import read_fingerprint
from engines.records.attestation import FILE
from engines.records.evaluation import Evaluation
from engines.records.folder import EngineFolder
from engines.records.manifest import Batch, Manifest, Postprocess, Source
from engines.records.thresholds import Thresholds

SIDE = 64
BOX = (22.0, 27.0, 42.0, 37.0)
"""x1, y1, x2, y2 of the box, class `one`, confidence 0.9."""
VERSION = "1.0"
RELEASE = "v1.0-x86-openvino-fp32-0123456789ab"


def build(folder: Path, box: tuple[float, ...] = BOX) -> Manifest:
    """The engine and its manifest, in a new folder."""
    folder.mkdir(parents=True)
    engine, onnx = folder / "engine.blob", folder.with_suffix(".onnx")
    _write_onnx(onnx, box)
    backend, batch, device = OpenVINO(), Batch(min=1, opt=1, max=2), read_fingerprint()
    request = BuildRequest(
        onnx=onnx,
        precision="fp32",
        batch=batch,
        imgsz=(SIDE, SIDE),
        device=device,
        options=OpenVINOOptions(),
        progress=lambda phase, done, total: None,
    )
    result = backend.build(request, engine)
    manifest = Manifest(
        engine="tiny-fp32",
        target="x86-openvino",
        engine_sha256=sha256_file(engine),
        model="tiny",
        model_version=VERSION,
        precision="fp32",
        executed_precision=result.executed_precision,
        executed_layers=result.executed_layers,
        engine_file=engine.name,
        engine_bytes=engine.stat().st_size,
        backend="openvino",
        backend_package="openvino",
        backend_version=backend.version(),
        device=device,
        batch=batch,
        inputs=result.inputs,
        outputs=result.outputs,
        imgsz=(SIDE, SIDE),
        classes=("zero", "one"),
        preprocess=result.preprocess,
        postprocess=Postprocess(),
        thresholds=Thresholds(confidence=0.25, iou=0.7, max_detections=300),
        source=Source(
            weights_sha256="a" * 64,
            onnx_sha256=sha256_file(onnx),
            onnx_file=onnx.name,
            git_commit="c" * 40,
        ),
    )
    manifest.write(folder / Manifest.file)
    return manifest


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


def _write_onnx(path: Path, box: tuple[float, ...]) -> None:
    """YOLOv8's bindings; the answer hardly depends on the picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    head = np.zeros((1, 6, 4), np.float32)
    x1, y1, x2, y2 = box
    head[0, :4, 0] = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
    head[0, 5, 0] = 0.9
    constants = {"head": head, "little": np.float32(1e-6), "axes": np.array([2, 3], np.int64)}
    constants["first"] = np.array([0], np.int64)
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["mean"], keepdims=0),
        helper.make_node("Gather", ["mean", "first"], ["channel"], axis=1),
        helper.make_node("Unsqueeze", ["channel", "first"], ["moved"]),
        helper.make_node("Transpose", ["moved"], ["column"], perm=[1, 2, 0]),
        helper.make_node("Mul", ["column", "little"], ["small"]),
        helper.make_node("Add", ["head", "small"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ["batch", 6, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
