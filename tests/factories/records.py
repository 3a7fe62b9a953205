"""Records of an engine that nobody built: each function gives one, with single values changed."""

from __future__ import annotations

import hashlib
from typing import Any

from engines.config.target import Budgets
from engines.records.benchmark import (
    Benchmark,
    Latency,
    MachineState,
    Quiet,
    Soak,
    SoakWindow,
    Throughput,
    Validity,
)
from engines.records.evaluation import Evaluation, Interval, OnnxShift
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Batch, Manifest, Postprocess, Preprocess, Source
from engines.records.thresholds import Thresholds
from engines.records.verdict import Verdict
from engines.verdict import judge as judging

BUDGETS = Budgets(
    frame_p99_ms=30,
    frame_p50_ms=20,
    throughput_fps=60,
    map50_95_drop=0.01,
    confidence_shift=0.05,
    onnx_shift=0.05,
    memory_peak_mib=1024,
    engine_size_mib=64,
)
HOT = BUDGETS.model_copy(update={"hot_frame_p99_ms": 35.0})
BUSY = "Others took 21 % of the processors. Stop other work on the machine."
FRAMES = b"golden frames"
"""In place of golden.npz: whoever judges an engine asks for its hash only."""
JUDGED = dict.fromkeys(
    ("engine.blob", "manifest.json", "benchmark.json", "evaluation.json", "golden.npz"), "d" * 64
)


def manifest(engine_bytes: int = 8 << 20, **changes: Any) -> Manifest:
    """Of an engine of OpenVINO, but for the changes."""
    facts: dict[str, Any] = {
        **{"engine": "m-fp16", "model": "m", "model_version": "1.0", "target": "t"},
        **{"precision": "fp16", "executed_precision": "bf16", "executed_layers": {"bf16": 60}},
        **{"engine_file": "engine.blob", "engine_sha256": "a" * 64, "engine_bytes": engine_bytes},
        **{"backend": "openvino", "backend_package": "openvino", "backend_version": "1"},
        "device": Fingerprint(
            **{"kind": "cpu", "name": "cpu", "architecture": "x86_64", "isa": (), "cores": 2},
            **{"memory_gib": 8, "backends": {}},
        ),
        "batch": Batch(min=1, opt=4, max=8),
        **{"inputs": (), "outputs": (), "imgsz": (320, 320), "classes": ("a",)},
        "preprocess": Preprocess(in_engine=()),
        "postprocess": Postprocess(),
        "thresholds": Thresholds(confidence=0.25, iou=0.7, max_detections=300),
        "source": source(),
    }
    return Manifest(**(facts | changes))


def source(onnx_file: str = "x.onnx", **changes: str) -> Source:
    """What an engine was made from, but for the changes."""
    sums = {"weights_sha256": "b" * 64, "onnx_sha256": "c" * 64}
    return Source(**({"onnx_file": onnx_file, "git_commit": ""} | sums | changes))


def benchmark(p99: float = 10, p50: float = 5, fps: float = 200, valid: bool = True) -> Benchmark:
    latency = Latency(
        p50_ms=p50,
        p95_ms=p99,
        p99_ms=p99,
        p99_low_ms=p99,
        p99_high_ms=p99,
        mean_ms=p50,
        min_ms=p50,
        max_ms=p99,
        count=400,
    )
    # Of a whole batch no budget speaks: it takes longer than any, and nobody knows how long.
    names = (name for name in Latency.model_fields if name.endswith("_ms"))
    whole_batch = latency.model_copy(update=dict.fromkeys(names, 1000.0) | {"p99_low_ms": 0.1})
    return Benchmark(
        engine="m-fp16",
        target="t",
        engine_sha256="a" * 64,
        frame_size=(720, 1280),
        inference={"1": latency, "4": whole_batch},
        frame={"1": latency, "4": whole_batch},
        throughput=Throughput(frames_per_second=fps, in_flight=4, count=500),
        memory_peak_mib=300,
        machine=MachineState(
            steal_share=0.21,
            others_share=0,
            run_queue_wait_share=0,
            drift_share=0,
            clock_min_mhz=None,
            clock_max_mhz=None,
            throttle_events=None,
            temperature_max_c=None,
        ),
        quiet=Quiet(share=0.9, enough=valid, seconds=8, set_aside={"others": 3}),
        validity=Validity(valid=valid, reasons=() if valid else (BUSY,), attempts=1),
    )


def onnx_shift(scores_mean: float = 0.002, onnx_drop: float = 0.003) -> OnnxShift:
    return OnnxShift(
        frames=8,
        objects=200,
        scores_mean=scores_mean,
        scores_max=3 * scores_mean,
        boxes_mean_px=0.1,
        boxes_max_px=1.5,
        onnx_map50_95_drop=onnx_drop,
    )


def evaluation(
    drop: float = 0.001,
    shift: float = 0.01,
    references: int = 100,
    from_onnx: float = 0.002,
    onnx_drop: float = 0.003,
) -> Evaluation:
    return Evaluation(
        engine="m-fp16",
        target="t",
        engine_sha256="a" * 64,
        images=300,
        objects=900,
        map50_95=0.7,
        map50=0.9,
        map50_95_small=0.5,
        map50_95_medium=0.8,
        map50_95_large=None,
        per_class={},
        reference_map50_95=0.7 + drop,
        map50_95_drop=drop,
        map50_95_drop_interval=Interval(low=0, high=0, resamples=1),
        confidence_shift=shift,
        confidence_threshold=0.25,
        reference_detections=references,
        lost_detections=0,
        onnx_shift=onnx_shift(from_onnx, onnx_drop),
        golden_sha256=hashlib.sha256(FRAMES).hexdigest(),
    )


def soaked(
    p99: float,
    low: float | None = None,
    high: float | None = None,
    valid: bool = True,
    minutes: float = 10,
    count: int = 400,
) -> Benchmark:
    cool = benchmark(valid=valid)
    interval = {"p99_low_ms": low or p99, "p99_high_ms": high or p99}
    hot = cool.frame["1"].model_copy(update={"p99_ms": p99, "count": count} | interval)
    window = SoakWindow(
        start_s=0,
        p50_ms=5,
        p99_ms=p99,
        count=100,
        gpu_clock_min_mhz=612,
        temperature_max_c=84,
        power_mean_w=12,
    )
    soak = Soak(
        minutes=minutes,
        windows=(window,),
        hot=hot,
        throttle_events=3,
        over_current_events=1,
        throttle_reasons=("HwThermalSlowdown",),
    )
    return cool.model_copy(update={"soak": soak, "energy_per_frame_mj": 93.25})


def judge(
    manifest: Manifest,
    benchmark: Benchmark,
    evaluation: Evaluation,
    budgets: Budgets,
    **options: Any,
) -> Verdict:
    """The verdict on records that lie in no folder."""
    return judging.judge(manifest, benchmark, evaluation, budgets, judged=JUDGED, **options)


MISSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("frame_p99_ms", {"benchmark": benchmark(p99=30.1)}),
    ("frame_p50_ms", {"benchmark": benchmark(p50=20.1)}),
    ("throughput_fps", {"benchmark": benchmark(fps=59)}),
    ("map50_95_drop", {"evaluation": evaluation(drop=0.011)}),
    ("confidence_shift", {"evaluation": evaluation(shift=0.06)}),
    ("onnx_shift", {"evaluation": evaluation(from_onnx=0.051)}),
    ("memory_peak_mib", {"benchmark": benchmark().model_copy(update={"memory_peak_mib": 2e3})}),
    ("engine_size_mib", {"manifest": manifest(65 << 20)}),
)
"""Each budget of BUDGETS, and the record that misses it and no other."""


def verdict_with(**changes: Any) -> Verdict:
    """The verdict on records that keep every budget, but for those that are given."""
    whole: dict[str, Any] = {
        "manifest": manifest(),
        "benchmark": benchmark(),
        "evaluation": evaluation(),
    }
    return judge(**(whole | changes), budgets=BUDGETS)
