"""INT8 as `pipeline quantize` makes it, beside other quantizers on the same images.

For each: the loss of mAP50-95 and the confidence shift against float32 on the evaluation set, the
processor seconds that it took, the time of one image in OpenVINO, and whether TensorRT takes the
file (int8 and zero point 0 throughout). All leave the same parts of the head in float.

Run by hand after `pipeline quantize`, in an environment with jetrail[export]; NNCF and NVIDIA's
ModelOpt take part where they are installed (pip install nncf, nvidia-modelopt[onnx]):

    python benchmarks/quantizers.py meter-yolov8n [MODEL ...] [--calibration 64] [--evaluation 320]

`shapes.py` makes a second checkpoint to compare on.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino

from engines.backends.float32 import has_float16_qdq, to_float32
from engines.backends.openvino.fold import fit_to_processor
from engines.backends.openvino.isa import processor_kind, usable_isa
from engines.config.model import ModelConfig, load_model
from engines.config.workspace import Workspace, find_workspace
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint
from pipeline.accuracy.coco import accuracy, in_pixels, read_set_labels
from pipeline.accuracy.confidence import confidence_shift
from pipeline.config import load_quantize
from pipeline.intake.dataset import load_sets
from pipeline.onnx.exported import read_export
from pipeline.onnx.head import Head, find_head
from pipeline.onnx.inference import Prepared, detect, evenly, prepare_all, spread
from pipeline.onnx.quantizer import check_symmetric, to_float16, to_int8
from pipeline.onnx.range_search import FOUND, choose_ranges
from pipeline.onnx.session import planes
from pipeline.steps.quantize import collect

ROUNDS = 40
"""Rounds of timing; in each, every file has its turn, so that a busy machine slows all alike."""


@dataclass(frozen=True, kw_only=True)
class Given:
    """What every quantizer gets."""

    workspace: Workspace
    model: ModelConfig
    graph: Any
    head: Head
    calibration: Sequence[Prepared]
    tuning: Sequence[Prepared]

    def planes(self) -> Iterator[Any]:
        """The calibration images as the network takes them."""
        return (planes(image.pixels[None]) for image in self.calibration)


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A file and how long it took to make, or why there is none."""

    name: str
    graph: Any = None
    seconds: float = 0.0
    why_not: str = ""


Quantizer = Callable[[Given], Any]


def main() -> None:
    """Compare for each model named on the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help="names of models, such as meter-yolov8n")
    parser.add_argument("--calibration", type=int, default=64, help="images (default: 64)")
    parser.add_argument("--evaluation", type=int, default=320, help="images (default: 320)")
    options = parser.parse_args()
    for name in options.models:
        compare(find_workspace(), name, options.calibration, options.evaluation)


def compare(workspace: Workspace, name: str, calibration: int, evaluation: int) -> None:
    """Print the table of one model."""
    model = load_model(workspace, name)
    sets = load_sets(workspace.model(name), model)
    graph, _ = read_export(workspace.onnx(name, "fp32"), model)
    given = Given(
        workspace=workspace,
        model=model,
        graph=graph,
        head=find_head(graph),
        calibration=prepare_all(
            spread(sets["calibration"], calibration), model.imgsz, "letterbox calibration"
        ),
        tuning=prepare_all(sets["tuning"], model.imgsz, "letterbox tuning"),
    )
    contenders = [made(title, how, given) for title, how in QUANTIZERS.items()]
    samples = spread(sets["evaluation"], evaluation)
    images = prepare_all(samples, model.imgsz, "letterbox evaluation")
    labels = read_set_labels(samples, len(model.classes))
    truth = in_pixels(labels, {one.name: one.size for one in images})
    reference = detect(graph.SerializeToString(), images, "float32")
    score = accuracy(truth, reference, model.classes).map50_95
    times = latencies([one.graph for one in contenders if one.graph], model, images[0])
    device = read_fingerprint()
    print(
        f"{name}: float32 has mAP50-95 {score:.4f}; {len(given.calibration)} calibration, "
        f"{len(images)} evaluation images; {device.name}, {device.cores} processors, of the kind "
        f"{processor_kind(usable_isa(device.isa))}"
    )
    print(f"{'':26}{'drop':>9}{'shift':>9}{'cpu s':>8}{'OpenVINO ms':>13}  TensorRT")
    for one in contenders:
        if one.graph is None:
            print(f"{one.name:26}  does not run: {one.why_not}")
            continue
        found = detect(one.graph.SerializeToString(), images, one.name)
        drop = score - accuracy(truth, found, model.classes).map50_95
        shift = confidence_shift(reference, found, FOUND).shift
        print(
            f"{one.name:26}{drop:9.4f}{shift:9.4f}{one.seconds:8.1f}{times.pop(0):13.2f}  "
            f"{takes(one.graph)}"
        )


def made(name: str, quantizer: Quantizer, given: Given) -> Contender:
    """The quantizer's file, or its own words where it fails: it is somebody else's code."""
    begun = time.process_time()
    try:
        graph = quantizer(given)
    except Exception as error:  # noqa: BLE001 each has errors of its own, and the table shows them
        return Contender(name=name, why_not=" ".join(f"{type(error).__name__}: {error}".split()))
    return Contender(name=name, graph=graph, seconds=time.process_time() - begun)


# --- the quantizers ------------------------------------------------------------------------------


def ours(given: Given) -> Any:
    """Histograms, the search for ranges and the file, without the judgement of quantize."""
    config = load_quantize(given.workspace)
    histograms = collect(given.graph, given.head, given.calibration)
    images = evenly(given.tuning, config.range_images)
    _, chosen = choose_ranges(given.graph, given.head, histograms, images, config)
    thresholds = {name: one.threshold for name, one in chosen.items()}
    return to_float16(to_int8(given.graph, thresholds, given.head.body), given.head)


def onnx_runtime(method: str) -> Quantizer:
    """One of ONNX Runtime's calibrators, with the Q/DQ that ours have."""

    def quantizer(given: Given) -> Any:
        from onnxruntime.quantization import CalibrationMethod, QuantType, quantize_static

        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
            onnx.save(given.graph, str(source))
            quantize_static(
                str(source),
                str(target),
                _Reader(given.planes()),
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=getattr(CalibrationMethod, method),
                nodes_to_quantize=list(given.head.body),
                op_types_to_quantize=["Conv"],
                extra_options={
                    "ActivationSymmetric": True,
                    "WeightSymmetric": True,
                    "QuantizeBias": False,
                    "OpTypesToExcludeOutputQuantization": ["Conv"],
                },
            )
            return onnx.load(str(target))

    return quantizer


class _Reader:
    """ONNX Runtime's CalibrationDataReader."""

    def __init__(self, inputs: Iterator[Any]) -> None:
        self._inputs = inputs

    def get_next(self) -> dict[str, Any] | None:
        one = next(self._inputs, None)
        return None if one is None else {"images": one}


def nncf_quantized(given: Given) -> Any:
    """NNCF's post-training quantization.

    Its preset PERFORMANCE is the symmetric one; OpenVINO refuses the file of the other, MIXED.
    """
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        given.graph,
        nncf.Dataset(list(given.planes()), lambda image: {"images": image}),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        subset_size=len(given.calibration),
        ignored_scope=nncf.IgnoredScope(names=[*given.head.outputs, *given.head.decode]),
    )


def modelopt_quantized(given: Given) -> Any:
    """NVIDIA ModelOpt's quantizer of ONNX files, on the CPU."""
    from modelopt.onnx.quantization import quantize

    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(given.graph, str(source))
        quantize(
            str(source),
            quantize_mode="int8",
            calibration_data={"images": np.concatenate(list(given.planes()))},
            calibration_eps=["cpu"],
            op_types_to_quantize=["Conv"],
            nodes_to_exclude=[*given.head.outputs, *given.head.decode],
            high_precision_dtype="fp32",
            output_path=str(target),
            log_level="ERROR",
        )
        return onnx.load(str(target))


QUANTIZERS: dict[str, Quantizer] = {
    "Jetrail": ours,
    "ONNX Runtime, min-max": onnx_runtime("MinMax"),
    "ONNX Runtime, entropy": onnx_runtime("Entropy"),
    "ONNX Runtime, percentile": onnx_runtime("Percentile"),
    "NNCF": nncf_quantized,
    "ModelOpt": modelopt_quantized,
}


# --- what becomes of the files -------------------------------------------------------------------


def latencies(graphs: Sequence[Any], model: ModelConfig, image: Prepared) -> list[float]:
    """Median time of one image in OpenVINO, in milliseconds; NaN where it refuses the file."""
    requests = [compiled(graph, model) for graph in graphs]
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
    is_ours = has_float16_qdq(graph)
    if is_ours:
        graph = onnx.load_from_string(graph.SerializeToString())
        to_float32(graph)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(graph, str(path))
        network = openvino.Core().read_model(str(path))
    network.reshape({0: [1, 3, *model.imgsz]})
    if is_ours:  # for the others' time it makes no difference, and their weights are another chain
        isa = usable_isa(read_fingerprint().isa)
        fit_to_processor(network, processor_kind(isa), isa)
    try:
        engine = openvino.Core().compile_model(network, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
    except RuntimeError:
        return None
    return engine.create_infer_request()


def takes(graph: Any) -> str:
    """Whether TensorRT's parser takes the file's Q/DQ."""
    try:
        check_symmetric(graph)
    except (InputError, KeyError) as error:
        return f"no: {error}"
    return "yes"


if __name__ == "__main__":
    main()
