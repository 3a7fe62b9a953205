"""Inference alone against OpenVINO's `benchmark_app`, each run in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

import numpy as np
from comparison import Comparison
from figures import Figure
from timing import run_process, take_turns

from engines.backends.openvino.options import OpenVINOOptions, Request
from engines.backends.openvino.settings import compute_type
from engines.machine.fingerprint import read_fingerprint

LIMIT = 1.02
ASYNC = ("-api", "async", "-nireq", "1")
CHILD = Path(__file__).parent / "child_infer.py"
APP = Path(sys.executable).parent / "benchmark_app"


def inference(comparison: Comparison) -> list[Figure]:
    """p50 of inference alone, on the graph that our engine is compiled from.

    benchmark_app of the Python wheel cannot load a blob (it hands the path to `import_model`, which
    wants bytes), so it compiles that graph itself, with the same options.
    """
    graph = _save_graph(comparison)
    hints = ("-d", "CPU", "-hint", "latency", "-infer_precision", _compute_type())
    height, width = comparison.model.imgsz
    shape = f"[1,3,{height},{width}]"
    folder = comparison.workspace.model_out(comparison.model.name)
    taken = take_turns(
        {
            "ours": lambda: _ours(comparison),
            "sync": lambda: _app(comparison, "-m", graph, *hints),
            "async": lambda: _app(comparison, "-m", graph, *hints, *ASYNC),
            "onnx": lambda: _app(
                comparison, "-m", folder / "model.fp16.onnx", "-shape", shape, *hints
            ),
        },
        rounds=comparison.effort.process_rounds,
    )
    return [
        Figure(
            key="inference",
            name="inference p50, fp16",
            unit="ms",
            ours=tuple(taken["ours"]),
            theirs=tuple(taken["sync"]),
            limit=LIMIT,
            notes=(
                "Inference alone: ours is Detector.infer, theirs `benchmark_app -hint latency "
                f"-infer_precision {_compute_type()}` on the graph that the engine is compiled "
                f"from. With {' '.join(ASYNC)}, which is how our session runs, it says "
                f"{median(taken['async']):.2f} ms: a little more on an idle machine, far less on a "
                "busy one, where the calling thread of a synchronous run loses its processor. On "
                f"model.fp16.onnx itself it says {median(taken['onnx']):.2f} ms.",
            ),
            raw={"async_ms": taken["async"], "onnx_ms": taken["onnx"]},
        )
    ]


def _compute_type() -> str:
    return compute_type("fp16", read_fingerprint().isa)


def _save_graph(comparison: Comparison) -> Path:
    """Write the graph of the fp16 engine, with its preprocessing, as OpenVINO's IR."""
    import openvino as ov

    # The steps of OpenVINO.build before it compiles.
    from engines.backends.openvino.graph import read_graph, with_preprocessing

    request = Request(
        onnx=comparison.workspace.model_out(comparison.model.name) / "model.fp16.onnx",
        precision="fp16",
        batch=comparison.target.batch,
        imgsz=comparison.model.imgsz,
        device=read_fingerprint(),
        options=OpenVINOOptions(),
        progress=lambda phase, done, total: None,
    )
    path = comparison.scratch / "graph.xml"
    ov.save_model(with_preprocessing(read_graph(ov.Core(), request)), path, compress_to_fp16=False)
    return path


def _ours(comparison: Comparison) -> float:
    """p50 in milliseconds."""
    frame = comparison.scratch / "frame.npy"
    np.save(frame, comparison.frames()[0])
    done = run_process(
        [
            sys.executable,
            CHILD,
            comparison.engine("fp16"),
            frame,
            str(comparison.effort.process_seconds),
        ],
        cwd=comparison.workspace.root,
        environment=comparison.environment,
    )
    return float(done.output.splitlines()[-1])


def _app(comparison: Comparison, *options: str | Path) -> float:
    """Median in milliseconds that benchmark_app reports."""
    folder = comparison.scratch / "benchmark_app"
    folder.mkdir(exist_ok=True)
    report = ("-report_type", "no_counters", "-report_folder", folder, "-json_stats")
    length = ("-t", str(max(1, round(comparison.effort.process_seconds))))
    run_process(
        [APP, *options, *length, *report],
        cwd=comparison.scratch,
        environment=comparison.environment,
    )
    report_file = folder / "benchmark_report.json"
    results = json.loads(report_file.read_text())["execution_results"]
    return float(results["latency (ms)"])  # the median, unless -latency_percentile says otherwise
