"""A repository with engines that were measured on paper: real files, no real engines."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.config.workspace import Workspace

TARGET = "x86-openvino"
RINGS = ("canary", "pilot", "production")

PARAMS = """\
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
  confidence_shift: 0.05, memory_peak_mib: 1024, engine_size_mib: 64}
policy: fastest
engines:
  meter-fp32: {model: meter, precision: fp32}
  meter-fp16: {model: meter, precision: fp16}
"""
MODEL = """\
schema: 1
name: meter
version: "1.0"
task: detect
weights: {path: weights.pt, sha256: %s}
imgsz: [320, 320]
classes: [zero, one]
data: {calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}
"""

BUDGETS = {
    **{"frame_p99_ms": 30, "frame_p50_ms": 20, "throughput_fps": 1, "map50_95_drop": 0.01},
    **{"confidence_shift": 0.05, "memory_peak_mib": 1024, "engine_size_mib": 64},
}
"""Those of PARAMS."""

AddEngine = Callable[..., str]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A repository with one model and one target, and no engine yet."""
    workspace = Workspace(root=tmp_path)
    (workspace.model("meter") / "out").mkdir(parents=True)
    workspace.target(TARGET).mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (workspace.model("meter") / "model.yaml").write_text(MODEL % ("a" * 64))
    (workspace.target(TARGET) / "params.yaml").write_text(PARAMS)
    (tmp_path / "params.yaml").write_text(f"target: {TARGET}\nmodels: [meter]\n")
    for ring in RINGS:
        folder = workspace.ring("meter", TARGET, ring)
        folder.mkdir(parents=True)
        (folder / "fleet.yaml").write_text("helm: {valuesFiles: [release.yaml]}  # ours\n")
    workspace.rings_file.write_text(
        "schema: 1\nrings:\n" + "".join(f"  - name: {ring}\n" for ring in RINGS)
    )
    return workspace


@pytest.fixture
def add_engine(workspace: Workspace) -> AddEngine:
    """Write the files of one engine, with single values changed; gives its sha256."""

    def add(precision: str, p50_ms: float = 10.0, verdict: str = "PASS") -> str:
        folder = workspace.engine(TARGET, f"meter-{precision}")
        folder.mkdir(parents=True, exist_ok=True)
        content = f"engine in {precision}".encode()
        (folder / "engine.blob").write_bytes(content)
        onnx = workspace.model_out("meter") / f"model.{precision}.onnx"
        onnx.write_bytes(b"onnx")
        about = {"engine": folder.name, "target": TARGET, "engine_sha256": _sha256(content)}
        for name, record in {
            "manifest": _manifest(precision, content, workspace.relative(onnx)),
            "benchmark": _benchmark(p50_ms),
            "evaluation": EVALUATION,
            "verdict": {
                "verdict": verdict,
                "checks": _checks(verdict, p50_ms, content),
                "reasons": [],
            },
        }.items():
            (folder / f"{name}.json").write_text(json.dumps({**about, **record}))
        return about["engine_sha256"]

    return add


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


def _checks(verdict: str, p50_ms: float, content: bytes) -> list[dict[str, Any]]:
    """As the gate finds them, with another word on each."""
    measured = {
        **{"frame_p99_ms": p50_ms, "frame_p50_ms": p50_ms, "throughput_fps": 100.0},
        **{"map50_95_drop": 0.0, "confidence_shift": 0.0, "memory_peak_mib": 200.0},
        "engine_size_mib": len(content) / 2**20,
    }
    return [
        {
            **{"name": name, "measured": measured[name], "limit": limit, "unit": ""},
            **{"verdict": verdict, "rule": "at least" if name == "throughput_fps" else "at most"},
        }
        for name, limit in BUDGETS.items()
    ]


def _benchmark(p50_ms: float) -> dict[str, Any]:
    names = ("p50_ms", "p95_ms", "p99_ms", "p99_low_ms", "p99_high_ms", "mean_ms", "min_ms")
    latency = {**dict.fromkeys((*names, "max_ms"), p50_ms), "count": 100}
    unread = (
        "steal_share",
        "others_share",
        "run_queue_wait_share",
        "clock_min_mhz",
        "clock_max_mhz",
    )
    return {
        "frame_size": [720, 1280],
        "inference": {"1": latency, "4": latency},
        "frame": {"1": latency, "4": latency},
        "throughput": {"frames_per_second": 100.0, "in_flight": 2, "count": 100},
        "memory_peak_mib": 200.0,
        "machine": {
            **dict.fromkeys((*unread, "throttle_events", "temperature_max_c")),
            "drift_share": 0.0,
        },
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
}
