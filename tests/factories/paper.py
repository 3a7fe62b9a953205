"""A repository with engines that were measured on paper: real files, no real engines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from factories.records import FRAMES

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.folder import GOLDEN, EngineFolder
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from engines.verdict.evidence import judge_evidence, read_evidence

TARGET = "x86-openvino"

ROW = """\
schema: 1
target: x86-openvino
backend: openvino
engine_file: engine.blob
device: {architecture: x86_64}
runner_tag: null
fleet_label: x86-openvino
builder: {}
batch: {min: 1, opt: 4, max: 8}
benchmark: {frame_size: [720, 1280], warmup_seconds: 1, seconds: 1, max_seconds: 2,
  p99_interval_share: 0.2, max_attempts: 1, max_steal_share: 0.1, max_run_queue_wait_share: 0.1,
  max_others_share: 0.1,
  max_drift_share: 0.1, max_temperature_c: 95}
evaluate: {confidence: 0.25, iou: 0.7, max_detections: 300}
budgets: {frame_p99_ms: 30, frame_p50_ms: 20, throughput_fps: 1, map50_95_drop: 0.01,
  confidence_shift: 0.05, onnx_shift: 0.05, memory_peak_mib: 1024, engine_size_mib: 64}
policy: fastest
engines:
"""
MODEL = """\
schema: 1
name: {name}
version: "1.0"
task: detect
weights: {{path: weights.pt, sha256: {sha256}}}
imgsz: [{side}, {side}]
classes: [zero, one]
data: {{calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}}
"""


def row_yaml(*engines: str) -> str:
    """The target's params.yaml with these engines, each called `<model>-<precision>`."""
    pairs = [(engine, *engine.rsplit("-", 1)) for engine in engines]
    lines = [f"  {name}: {{model: {model}, precision: {one}}}\n" for name, model, one in pairs]
    return ROW + "".join(lines)


def model_yaml(name: str, side: int = 320) -> str:
    """The model.yaml of a model with square pictures of so many pixels."""
    return MODEL.format(name=name, side=side, sha256="a" * 64)


def lay_out(workspace: Workspace) -> None:
    """One model and one target, and no engine yet."""
    (workspace.model("meter") / "out").mkdir(parents=True)
    workspace.target(TARGET).mkdir(parents=True)
    (workspace.root / "dvc.yaml").write_text("stages: {}\n")
    (workspace.root / "params.yaml").write_text(f"target: {TARGET}\nmodels: [meter]\n")
    (workspace.model("meter") / "model.yaml").write_text(model_yaml("meter"))
    (workspace.target(TARGET) / "params.yaml").write_text(row_yaml("meter-fp32", "meter-fp16"))


def add_engine(
    workspace: Workspace,
    precision: str,
    p50_ms: float = 10.0,
    verdict: str = "PASS",
    model: str = "meter",
    build: str = "",
    **evaluation: Any,
) -> str:
    """Write the files of one engine, which then gets the verdict; gives its sha256, which is
    another one for each `build`."""
    folder = workspace.engine(TARGET, f"{model}-{precision}")
    folder.path.mkdir(parents=True, exist_ok=True)
    content = f"engine in {precision}{build}".encode()
    (folder.path / "engine.blob").write_bytes(content)
    onnx = workspace.model_out(model) / f"model.{precision}.onnx"
    onnx.parent.mkdir(parents=True, exist_ok=True)
    onnx.write_bytes(b"onnx")
    name, sha256 = folder.path.name, _sha256(content)
    about = {"engine": name, "target": TARGET, "engine_sha256": sha256}
    (folder.path / GOLDEN).write_bytes(FRAMES)
    valid = {"valid": verdict != "INVALID", "reasons": [], "attempts": 1}
    if verdict == "INVALID":
        valid["reasons"] = ["Others took 21 % of the processors."]
    drop = {"map50_95_drop": 0.5 if verdict == "FAIL" else 0.0}
    for kind, record in (
        (Manifest, _manifest(precision, content, workspace.relative(onnx)) | {"model": model}),
        (Benchmark, _benchmark(p50_ms) | {"validity": valid}),
        (Evaluation, EVALUATION | drop | evaluation),
    ):
        folder.file(kind).write_text(json.dumps({**about, **record}))
    assert judge_again(workspace, name) == verdict
    return sha256


def judge_again(workspace: Workspace, engine: str) -> str:
    """Write the verdict on what lies in the engine's folder now, as `pipeline gate` does."""
    row = load_target(workspace, TARGET)
    evidence = read_evidence(workspace, row, engine)
    verdict = judge_evidence(evidence, row.budgets_of(engine), row.benchmark.soak_minutes)
    evidence.folder.write(verdict)
    return verdict.verdict


def edit(path: Path, change: Callable[[Any], object]) -> None:
    """Change the content of a JSON file in place."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _manifest(precision: str, content: bytes, onnx: str) -> dict[str, Any]:
    return {
        "model": "meter",
        "model_version": "1.0",
        "precision": precision,
        "executed_precision": "bf16",
        "executed_layers": {"bf16": 60},
        "engine_file": "engine.blob",
        "engine_bytes": len(content),
        "backend": "openvino",
        "backend_package": "openvino",
        "backend_version": "2026.4.1",
        "device": {
            "kind": "cpu",
            "name": "A processor",
            "architecture": "x86_64",
            "isa": ["avx2"],
            "cores": 2,
            "memory_gib": 8,
            "backends": {"openvino": "2026.4.1"},
        },
        "batch": {"min": 1, "opt": 4, "max": 8},
        "inputs": [{"name": "images", "dtype": "uint8", "shape": [None, 320, 320, 3]}],
        "outputs": [{"name": "output0", "dtype": "float32", "shape": [None, 6, 2100]}],
        "imgsz": [320, 320],
        "classes": ["zero", "one"],
        "preprocess": {"in_engine": []},
        "postprocess": {},
        "thresholds": {"confidence": 0.25, "iou": 0.7, "max_detections": 300},
        "source": {
            "weights_sha256": "a" * 64,
            "onnx_sha256": _sha256(b"onnx"),
            "onnx_file": onnx,
            "git_commit": "c" * 40,
        },
    }


def _benchmark(p50_ms: float) -> dict[str, Any]:
    names = ("p50_ms", "p95_ms", "p99_ms", "p99_low_ms", "p99_high_ms", "mean_ms", "min_ms")
    latency = {**dict.fromkeys((*names, "max_ms"), p50_ms), "count": 100}
    whole_batch = {**dict.fromkeys((*names, "max_ms"), 1000.0), "count": 100}
    unread = (
        "steal_share",
        "others_share",
        "run_queue_wait_share",
        "clock_min_mhz",
        "clock_max_mhz",
    )
    return {
        "frame_size": [720, 1280],
        "inference": {"1": latency, "4": whole_batch},
        "frame": {"1": latency, "4": whole_batch},
        "throughput": {"frames_per_second": 100.0, "in_flight": 2, "count": 100},
        "memory_peak_mib": 200.0,
        "machine": {
            **dict.fromkeys((*unread, "throttle_events", "temperature_max_c")),
            "drift_share": 0.0,
        },
        "quiet": {"share": 1.0, "enough": True, "seconds": 8.0, "set_aside": {}},
        "validity": {"valid": True, "reasons": [], "attempts": 1},
    }


EVALUATION: dict[str, Any] = {
    "images": 300,
    "objects": 900,
    "map50_95": 0.7,
    "map50": 0.9,
    **dict.fromkeys(("map50_95_small", "map50_95_medium", "map50_95_large")),
    "per_class": {"zero": {"map50_95": 0.7, "map50": 0.9, "objects": 900}},
    "reference_map50_95": 0.7,
    "map50_95_drop": 0.0,
    "map50_95_drop_interval": {"low": 0.0, "high": 0.0, "resamples": 100},
    "confidence_shift": 0.0,
    "confidence_threshold": 0.25,
    "reference_detections": 900,
    "lost_detections": 0,
    "onnx_shift": {
        **{"frames": 8, "objects": 200, "scores_mean": 0.002, "scores_max": 0.01},
        **{"boxes_mean_px": 0.1, "boxes_max_px": 1.5, "onnx_map50_95_drop": 0.0},
    },
    "golden_sha256": hashlib.sha256(FRAMES).hexdigest(),
}


def _words_alone(folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one.update(verdict="PASS"))


def _words_of_the_checks_too(folder: EngineFolder) -> None:
    _words_alone(folder)
    edit(folder.file(Verdict), lambda one: [c.update(verdict="PASS") for c in one["checks"]])


def _measured_value(folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one["checks"][0].update(measured=1.5))


def _drop(folder: EngineFolder) -> None:
    edit(folder.file(Evaluation), lambda one: one.update(map50_95_drop=0.9))


def _p99(folder: EngineFolder) -> None:
    edit(folder.file(Benchmark), lambda one: one["frame"]["1"].update(p99_ms=9999))


def _manifest_edited(folder: EngineFolder) -> None:
    edit(folder.file(Manifest), lambda one: one.update(classes=["one", "zero"]))


def _engine_replaced(folder: EngineFolder) -> None:
    (folder.path / "engine.blob").write_bytes(b"another of 14!")


def _no_longer_a_verdict(folder: EngineFolder) -> None:
    edit(folder.file(Verdict), lambda one: one.update(verdict="GOOD"))


EDITS: dict[str, tuple[str, Callable[[EngineFolder], None], str]] = {
    "words of a FAIL": ("FAIL", _words_alone, "verdict.json"),
    "words of an INVALID": ("INVALID", _words_alone, "verdict.json"),
    "words of its checks too": ("FAIL", _words_of_the_checks_too, "verdict.json"),
    "measured value in the verdict": ("PASS", _measured_value, "verdict.json"),
    "word that no verdict has": ("PASS", _no_longer_a_verdict, "verdict.json"),
    "mAP drop": ("PASS", _drop, "evaluation.json"),
    "p99": ("PASS", _p99, "benchmark.json"),
    "engine replaced": ("PASS", _engine_replaced, "engine.blob"),
    "manifest edited": ("PASS", _manifest_edited, "manifest.json"),
    "engine gone": ("PASS", lambda folder: (folder.path / "engine.blob").unlink(), "engine.blob"),
    "manifest gone": ("PASS", lambda folder: folder.file(Manifest).unlink(), "manifest.json"),
    "benchmark gone": ("PASS", lambda folder: folder.file(Benchmark).unlink(), "benchmark.json"),
    "golden frames of another": (
        *("PASS", lambda folder: folder.golden.write_bytes(b"others"), GOLDEN),
    ),
    "golden frames gone": ("PASS", lambda folder: folder.golden.unlink(), GOLDEN),
    "evaluation gone": ("PASS", lambda folder: folder.file(Evaluation).unlink(), "evaluation.json"),
}
"""What was done to files after the gate: its verdict before, the edit, and the file to be named."""
