"""ONNX Runtime's quantizer, as `pipeline quantize` uses it, against NNCF's on the same images.

Prints, for each, the accuracy on the tuning set, the time to quantize, the time of one image in
OpenVINO, and whether TensorRT's parser takes the file (int8 and zero point 0 throughout).

Run by hand after `pipeline quantize`, in an environment with jetrail[export] and nncf:

    python benchmarks/quantizers.py meter-yolov8n
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino

from engines.config.model import ModelConfig, load_model
from engines.config.workspace import find_workspace
from engines.errors import InputError
from pipeline.accuracy.coco import accuracy, read_truth
from pipeline.intake.dataset import load_sets
from pipeline.onnx.exported import read_export
from pipeline.onnx.head import Head, find_head
from pipeline.onnx.inference import Prepared, detect, prepare_all
from pipeline.onnx.quantizer import check_symmetric
from pipeline.onnx.session import planes

ROUNDS = 40
"""Rounds of timing; in each, every file has its turn, so that a busy machine slows all alike."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A file, and how long it took to make; None where it was made before."""

    name: str
    graph: Any
    seconds: float | None = None


def main() -> None:
    """Quantize the model named on the command line in each way, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", help="name of a model, such as meter-yolov8n")
    workspace, name = find_workspace(), parser.parse_args().model
    model = load_model(workspace, name)
    sets = load_sets(workspace.model(name), model)
    calibration = prepare_all(sets["calibration"], model.imgsz, "letterbox calibration")
    tuning = prepare_all(sets["tuning"], model.imgsz, "letterbox tuning")
    truth = read_truth(sets["tuning"], len(model.classes))
    graph = read_export(workspace.onnx(name, "fp32"), model)
    contenders = [
        Contender(name="float32", graph=graph),
        Contender(name="ONNX Runtime", graph=onnx.load(str(workspace.onnx(name, "int8")))),
        nncf_quantized(graph, find_head(graph), calibration),
    ]
    times = latencies(contenders, model, tuning[0])
    print(f"{'':24}{'mAP50-95':>10}{'made in s':>11}{'OpenVINO ms':>13}  TensorRT")
    for one, milliseconds in zip(contenders, times, strict=True):
        found = detect(one.graph.SerializeToString(), tuning, one.name)
        score = accuracy(truth, found, model.classes).map50_95
        made = "" if one.seconds is None else f"{one.seconds:.1f}"
        print(f"{one.name:24}{score:10.4f}{made:>11}{milliseconds:13.2f}  {takes(one.graph)}")


def nncf_quantized(graph: Any, head: Head, images: Sequence[Prepared]) -> Contender:
    """NNCF's post-training quantization with the same parts of the head in float.

    Its preset PERFORMANCE is the symmetric one; OpenVINO refuses the file of the other, MIXED.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    start = time.perf_counter()
    quantized = nncf.quantize(
        graph,
        nncf.Dataset(list(images), lambda image: {"images": planes(image.pixels[None])}),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(images),
        ignored_scope=nncf.IgnoredScope(names=[*head.outputs, *head.decode]),
    )
    return Contender(name="NNCF", graph=quantized, seconds=time.perf_counter() - start)


def latencies(contenders: Sequence[Contender], model: ModelConfig, image: Prepared) -> list[float]:
    """Median time of one image in OpenVINO, in milliseconds; NaN where it refuses the file."""
    requests = [compiled(one.graph, model) for one in contenders]
    inputs = planes(image.pixels[None])
    times = np.empty((ROUNDS, len(requests)))
    for row in times:
        for column, request in enumerate(requests):
            if request is None:
                row[column] = np.nan
                continue
            request.infer({0: inputs})  # warms the caches, which the others have emptied
            start = time.perf_counter()
            request.infer({0: inputs})
            row[column] = (time.perf_counter() - start) * 1000
    return [float(value) for value in np.median(times, axis=0)]


def compiled(graph: Any, model: ModelConfig) -> Any:
    """A request of the compiled graph, or None where OpenVINO refuses it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(graph, str(path))
        network = openvino.Core().read_model(str(path))
    network.reshape({0: [1, 3, *model.imgsz]})
    try:
        engine = openvino.Core().compile_model(network, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    except RuntimeError:
        return None
    return engine.create_infer_request()


def takes(graph: Any) -> str:
    """Whether TensorRT takes the file's Q/DQ, and why not."""
    try:
        check_symmetric(graph)
    except InputError as error:
        return f"no: {error}"
    return "yes"


if __name__ == "__main__":
    main()
