"""Ranges chosen by the error of the output, the same for any number of threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pipeline.config import QuantizeConfig
from pipeline.onnx import range_search
from pipeline.onnx.head import Head, find_head
from pipeline.onnx.onnx_file import split
from pipeline.onnx.quantizer import Taps, scale_of, to_int8
from pipeline.onnx.range_search import (
    Choice,
    Float32Outputs,
    Trials,
    choose_ranges,
    descend,
    with_scale_inputs,
)
from pipeline.onnx.ranges import Histogram, histogram
from pipeline.onnx.session import OnnxModel, planes
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


@pytest.mark.parametrize("together", [1, 2, 5, 1000])
def test_what_is_computed_once_changes_no_error(
    graph: Any, together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = find_head(graph)
    ranges = seen(graph, head)

    def search() -> Any:
        return choose_ranges(graph, head, ranges, IMAGES, CONFIG, threads=2)

    monkeypatch.setattr(Trials, "vary", lambda *_: None)
    whole = search()
    monkeypatch.undo()
    monkeypatch.setattr(range_search, "TOGETHER", together)
    assert search() == whole


def test_a_network_in_two_parts(graph: Any) -> None:
    head = find_head(graph)
    ranges = {name: one.largest for name, one in seen(graph, head).items()}
    int8, scales = with_scale_inputs(to_int8(graph, ranges, head.body), list(ranges))
    given = {scales[name]: np.array(scale_of(one), np.float32) for name, one in ranges.items()}
    given["images"] = planes(IMAGES[:1])
    whole = OnnxModel(int8.SerializeToString()).compute(given)
    sizes = []
    for name in ranges:
        before, after = split(int8, [scales[name]])
        sizes.append((len(before.graph.node), len(after.graph.node)))
        first = OnnxModel(before.SerializeToString()).compute(given) if before.graph.output else {}
        rest = OnnxModel(after.SerializeToString()).compute(given | first)
        assert np.array_equal(rest["output0"], whole["output0"])
        assert scales[name] not in {one.name for one in before.graph.input}
    assert sizes[0][0] < sizes[0][1]
    assert sizes[-1][0] > sizes[-1][1]


def test_scales_as_inputs_compute_what_the_file_does(graph: Any) -> None:
    head = find_head(graph)
    ranges = {name: 0.8 * one.largest for name, one in seen(graph, head).items()}
    other = to_int8(graph, dict.fromkeys(ranges, 1.0), head.body)
    reference = OnnxModel(graph.SerializeToString())
    expected = [reference.run(image[None])[0] for image in IMAGES]
    file = OnnxModel(to_int8(graph, ranges, head.body).SerializeToString())
    errors = [
        Float32Outputs.of(raw).error(file.run(image[None])[0])
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


# --- what is taken -------------------------------------------------------------------------------


class Known:
    """Trials whose errors are known: `error_of` the ranges on an image. Notes what was asked."""

    def __init__(self, error_of: Callable[[Mapping[str, float], int], float]) -> None:
        self.images = range(6)
        self.asked: list[tuple[int, list[int]]] = []
        self._error_of = error_of

    def vary(self, tensors: Any, ranges: Any) -> None:
        """Nothing is kept here."""

    def errors(self, variants: Any, images: Any) -> Any:
        self.asked.append((len(variants), list(images)))
        return np.array([[self._error_of(one, image) for image in images] for one in variants])


def searched(trials: Known, *tensors: str) -> dict[str, Choice]:
    start = {name: Choice(threshold=1.0, candidate="mse", error=1.0) for name in tensors}
    return descend(cast(Trials, trials), start)


@pytest.mark.parametrize(("gain", "taken"), [(0.004, False), (0.006, True), (0.5, True)])
def test_half_a_percent_must_be_saved(gain: float, taken: bool) -> None:
    """Less is chance on so few images."""
    found = searched(Known(lambda ranges, _: 1 - gain * (ranges["a"] == 1.15)), "a")["a"]
    if not taken:
        assert found == Choice(threshold=1.0, candidate="mse", error=1.0)
        return
    assert (found.threshold, found.candidate) == (1.15, "1.15 of mse")
    assert found.error == pytest.approx(1 - gain)


def test_a_third_of_the_images_chooses_and_all_of_them_decide() -> None:
    """0.75 looks best on every third image, and is worse on all."""

    def error_of(ranges: Mapping[str, float], image: int) -> float:
        return {0.75: 0.1 if image % 3 == 0 else 2.0, 0.87: 0.9}.get(ranges["a"], 1.0)

    trials = Known(error_of)
    assert searched(trials, "a")["a"].candidate == "mse"
    assert trials.asked == [(1, [0, 1, 2, 3, 4, 5]), (4, [0, 3]), (1, [1, 2, 4, 5])]


def test_what_is_worse_on_a_third_of_them_is_tried_no_further() -> None:
    trials = Known(lambda ranges, _: 1.0 + (ranges["a"] != 1.0))
    assert searched(trials, "a")["a"].candidate == "mse"
    assert trials.asked == [(1, [0, 1, 2, 3, 4, 5]), (4, [0, 3])]


def test_each_tensor_is_compared_with_what_was_taken_before_it() -> None:
    def error_of(ranges: Mapping[str, float], image: int) -> float:
        first = 0.8 if ranges["a"] == 1.3 else 1.0
        return first + {0.87: 0.1, 0.75: -0.05}.get(ranges["b"], 0.0) + 0.01 * image

    found = searched(Known(error_of), "a", "b")
    assert [one.candidate for one in found.values()] == ["1.3 of mse", "0.75 of mse"]
    assert found["a"].error == pytest.approx(0.825)
    assert found["b"].error == pytest.approx(0.775)
    worse = searched(Known(lambda ranges, _: 0.8 if ranges["a"] == 1.3 else 0.9), "a", "b")
    assert [one.candidate for one in worse.values()] == ["1.3 of mse", "mse"]


def raw(*anchors: tuple[float, ...]) -> Any:
    """A raw output: for each anchor cx, cy, w, h and the scores of two classes."""
    return np.array(anchors, np.float32).T


def test_only_where_float32_sees_an_object() -> None:
    plain = raw((10, 10, 4, 4, 0.25, 0.1), (50, 50, 8, 8, 0.24, 0.2), (90, 90, 8, 8, 0.3, 0.9))
    seen = Float32Outputs.of(plain)
    assert seen.anchors.tolist() == [0, 2]
    assert seen.error(plain) == 0
    other = plain.copy()
    other[:, 1] = 99  # where nothing was seen
    other[4, 2] = 0.0  # of the class that it is not
    assert seen.error(other) == 0
    other[5, 2] -= 0.2
    assert seen.error(other) == pytest.approx(0.1)
    other[0, 0] += 2  # half of its width
    assert seen.error(other) == pytest.approx(0.1 + (1 - 1 / 3) / 2)
    other[0, 2] += 2  # a quarter of that one's
    assert seen.error(other) == pytest.approx(0.1 + (1 - 1 / 3) / 2 + (1 - 0.6) / 2)
    other[:2] += 1000
    assert seen.error(other) == pytest.approx(0.1 + 1)


def test_where_it_sees_none_its_best_anchor_counts() -> None:
    plain = raw((10, 10, 4, 4, 0.01, 0.02), (50, 50, 8, 8, 0.2, 0.1))
    assert Float32Outputs.of(plain).anchors.tolist() == [1]


def test_a_box_without_area_is_an_error_and_no_failure() -> None:
    plain = raw((10, 10, 0, 0, 0.9, 0.1), (50, 50, 8, 8, 0.9, 0.1))
    other = plain.copy()
    other[2:4, 1] = 4, 4
    assert Float32Outputs.of(plain).error(other) == pytest.approx((1 + 0.75) / 2)
