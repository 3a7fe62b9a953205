"""Ranges chosen by the error of the output, the same for any number of threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.config import QuantizeConfig
from pipeline.onnx.head import Head, find_head
from pipeline.onnx.quantizer import Taps, to_int8
from pipeline.onnx.range_search import Choice, Seen, Trials, choose_ranges, descend
from pipeline.onnx.ranges import Histogram, histogram
from pipeline.onnx.session import OnnxModel
from pipeline.records import Method
from tests.unit.pipeline.conftest import IMGSZ

IMAGES = np.random.default_rng(0).integers(0, 256, (3, *IMGSZ, 3), dtype=np.uint8)
CONFIG = QuantizeConfig(
    max_map50_95_drop=0,
    max_confidence_shift=0,
    max_float_layers=0,
    methods=("minmax", "percentile"),
    percentile=99.9,
    calibration_images=1,
    tuning_images=1,
    range_images=3,
    sensitivity_images=1,
)


def seen(graph: Any, head: Head) -> dict[str, Histogram]:
    return {name: histogram(one) for name, one in Taps(graph, head.body).run(IMAGES).items()}


@pytest.fixture(scope="module")
def graph(export_once: Path) -> Any:
    return onnx.load(str(export_once))


def test_any_number_of_threads_gives_the_same_bytes(graph: Any) -> None:
    head = find_head(graph)
    ranges = seen(graph, head)
    files = []
    for threads in (1, 1, 3):
        _, chosen = choose_ranges(graph, head, ranges, IMAGES, CONFIG, threads=threads)
        thresholds = {name: one.threshold for name, one in chosen.items()}
        files.append(to_int8(graph, thresholds, head.body).SerializeToString())
    assert files[0] == files[1] == files[2]


def test_scales_as_inputs_compute_what_the_file_does(graph: Any) -> None:
    head = find_head(graph)
    ranges = {name: 0.8 * one.largest for name, one in seen(graph, head).items()}
    other = to_int8(graph, dict.fromkeys(ranges, 1.0), head.body)
    reference = OnnxModel(graph.SerializeToString())
    expected = [reference.run(image[None])[0] for image in IMAGES]
    file = OnnxModel(to_int8(graph, ranges, head.body).SerializeToString())
    errors = [
        Seen.of(raw, max(IMGSZ)).error(file.run(image[None])[0])
        for raw, image in zip(expected, IMAGES, strict=True)
    ]
    with Trials(other, list(ranges), IMAGES, expected, threads=2) as trials:
        (found,) = trials.errors([ranges], trials.images)
        assert found == pytest.approx(errors, rel=1e-4)


def trap() -> Any:
    """A convolution whose input is -0.278 nearly everywhere, as a background behind SiLU is.

    All that its many channels are off by adds up in the score, which lies where sigmoid is steep.
    """
    weights = np.full((5, 3, 1, 1), 0.0, np.float32)
    weights[4] = 6.0
    nodes = [
        helper.make_node("Mul", ["images", "gain"], ["stretched"], name="stretch"),
        helper.make_node("Add", ["stretched", "floor"], ["activation"], name="activation"),
        helper.make_node("Conv", ["activation", "weights", "bias"], ["maps"], name="conv"),
        helper.make_node("Sigmoid", ["maps"], ["squeezed"], name="sigmoid"),
        helper.make_node("Reshape", ["squeezed", "shape"], ["output0"], name="reshape"),
    ]
    values = {
        "gain": np.float32(6.0),
        "floor": np.float32(-0.278),
        "weights": weights,
        "bias": np.float32([0, 0, 0, 0, 5.0]),
        "shape": np.int64([1, 5, -1]),
    }
    made = helper.make_graph(
        nodes,
        "trap",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *IMGSZ])],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, [1, 5, IMGSZ[0] * IMGSZ[1]])],
        [numpy_helper.from_array(np.asarray(one), name) for name, one in values.items()],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_a_grid_that_misses_the_floor_is_left() -> None:
    graph = trap()
    head = Head(outputs=(), distribution=(), decode=(), body=("conv",))
    images = np.zeros((2, *IMGSZ, 3), np.uint8)
    images[:, :2, :2] = 255
    values = Taps(graph, head.body)
    ranges = {
        name: histogram(np.concatenate([values.run(one[None])[name] for one in images]))
        for name in values.tensors.values()
    }
    reference = OnnxModel(graph.SerializeToString())
    expected = [reference.run(image[None])[0] for image in images]
    start = {
        "activation": Choice(threshold=ranges["activation"].largest, candidate="minmax", error=0)
    }
    int8 = to_int8(graph, {"activation": 1.0}, head.body)
    with Trials(int8, ["activation"], images, expected, threads=1) as trials:
        now = {"activation": start["activation"].threshold}
        before = trials.errors([now], trials.images).mean()
        found = descend(trials, start)
    assert found["activation"].candidate == "0.87 of minmax"
    assert found["activation"].threshold == pytest.approx(0.87 * now["activation"])
    assert found["activation"].error < 0.5 * before


@pytest.mark.parametrize("methods", [("minmax",), ("minmax", "percentile"), ("percentile", "mse")])
def test_the_search_begins_with_the_method_that_errs_least(methods: tuple[Method, ...]) -> None:
    graph = trap()
    head = Head(outputs=(), distribution=(), decode=(), body=("conv",))
    images = np.zeros((2, *IMGSZ, 3), np.uint8)
    images[:, :2, :2] = 255
    config = CONFIG.model_copy(update={"methods": methods, "percentile": 60})
    ranges = {"activation": histogram(Taps(graph, head.body).run(images[:1])["activation"])}
    errors, chosen = choose_ranges(graph, head, ranges, images, config, threads=1)
    best = min(errors, key=lambda method: errors[method])
    assert len(set(errors.values())) == len(methods)
    assert chosen["activation"].candidate.split(" of ")[-1] == best
    assert chosen["activation"].error <= errors[best]
    if methods == ("minmax",):
        assert chosen["activation"].candidate == "0.87 of minmax"
        assert chosen["activation"].error < 0.5 * errors["minmax"]
