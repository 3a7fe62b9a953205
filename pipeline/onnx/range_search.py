"""The range of each activation tensor, chosen by what it does to the output.

One INT8 graph takes the scales of all activations as inputs, so that a trial needs no new session.
Tensor by tensor, in the order of the graph, the candidates are tried with all others as they are,
and the one with the smallest error at the output stays (coordinate descent). What does not depend
on the tensors whose turn it is, all before them and the head's other branches, is computed once.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.machine.sensors.quota import usable_processors
from pipeline.config import QuantizeConfig
from pipeline.onnx.head import Head
from pipeline.onnx.onnx_file import split
from pipeline.onnx.quantizer import scale_of, to_int8
from pipeline.onnx.ranges import Histogram, near, threshold
from pipeline.onnx.session import OnnxModel, planes
from pipeline.progress import track
from pipeline.records import Method

FOUND = 0.25
"""Score from which on float32 sees an object at an anchor; where it sees none, its best counts."""
LEAST_GAIN = 0.005
"""Part of the error that a change must save: less is chance on so few images."""
TINY = 1e-9
"""In place of a union of 0."""
FEW = 3
"""All candidates of a tensor run on one of so many images."""
TOGETHER = 4
"""Tensors for which what does not depend on them is computed once."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The range of one tensor."""

    threshold: float
    """The magnitude that becomes 127."""
    candidate: str
    """Name of the candidate that was taken."""
    error: float
    """Of the output, once it was taken."""


class Trials:
    """The output error of an INT8 graph with any ranges, on a few images."""

    def __init__(
        self,
        int8: Any,
        tensors: Sequence[str],
        images: NDArray[np.uint8],
        expected: list[Any],
        *,
        threads: int,
    ) -> None:
        self._graph, self._scales = with_scale_inputs(int8, tensors)
        self._model = OnnxModel(self._graph.SerializeToString())
        name = self._graph.graph.input[0].name
        self._images = [{name: planes(image[None])} for image in images]
        self._given: list[Mapping[str, NDArray[np.float32]]] = [*self._images]
        self._targets = [Float32Outputs.of(raw) for raw in expected]
        self._pool = ThreadPoolExecutor(threads)

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    @property
    def images(self) -> range:
        """Numbers of the images."""
        return range(len(self._images))

    def vary(self, tensors: Sequence[str], ranges: Mapping[str, float]) -> None:
        """From now on only the ranges of `tensors` differ from `ranges`: what does not depend on
        them is computed here, for every image, and no more."""
        before, after = split(self._graph, [self._scales[name] for name in tensors])
        self._model = OnnxModel(after.SerializeToString())
        if not before.graph.output:
            self._given = [*self._images]
            return
        model, scales = OnnxModel(before.SerializeToString()), self._as_inputs(ranges)

        def one(image: Mapping[str, NDArray[np.float32]]) -> Mapping[str, NDArray[np.float32]]:
            return {**image, **model.compute({**image, **scales})}

        self._given = list(self._pool.map(one, self._images))

    def errors(
        self, variants: Sequence[Mapping[str, float]], images: Sequence[int]
    ) -> NDArray[np.float64]:
        """Of each of several sets of ranges on each of these images, shape (variants, images): the
        same for any number of threads."""

        def one(job: tuple[dict[str, NDArray[np.float32]], int]) -> float:
            scales, image = job
            (raw,) = self._model.compute({**self._given[image], **scales}).values()
            return self._targets[image].error(raw[0])

        scales = [self._as_inputs(ranges) for ranges in variants]
        found = list(self._pool.map(one, product(scales, images)))
        return np.array(found, np.float64).reshape(len(variants), len(images))

    def _as_inputs(self, ranges: Mapping[str, float]) -> dict[str, NDArray[np.float32]]:
        return {
            self._scales[name]: np.array(scale_of(value), np.float32)
            for name, value in ranges.items()
        }


@dataclass(frozen=True, kw_only=True)
class Float32Outputs:
    """What float32 sees in an image, at the anchors where it sees something."""

    anchors: NDArray[np.int64]
    raw: NDArray[np.float32]

    @classmethod
    def of(cls, raw: NDArray[np.float32]) -> Float32Outputs:
        """From float32's raw output (4 + classes, anchors)."""
        best = raw[4:].max(axis=0)
        anchors = np.flatnonzero(best >= min(FOUND, float(best.max())))
        return cls(anchors=anchors, raw=raw[:, anchors])

    def error(self, raw: NDArray[np.float32]) -> float:
        """Mean change of each anchor's best score, plus what its box lacks of an IoU of 1: a pixel
        of a small box costs more mAP than one of a large box."""
        found = raw[:, self.anchors]
        best = self.raw[4:].argmax(axis=0)
        scores = np.abs(found - self.raw)[4:][best, np.arange(len(best))].mean()
        return float(scores + (1 - _ious(found[:4], self.raw[:4])).mean())


def _ious(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """IoU of each box with the one of the same column: cx, cy, w, h in rows, shape (4, n)."""
    low = np.maximum(one[:2] - one[2:] / 2, other[:2] - other[2:] / 2)
    high = np.minimum(one[:2] + one[2:] / 2, other[:2] + other[2:] / 2)
    shared = np.prod(np.maximum(high - low, 0), axis=0)
    union = np.prod(one[2:], axis=0) + np.prod(other[2:], axis=0) - shared
    return np.asarray(shared / np.maximum(union, TINY), dtype=np.float32)


def with_scale_inputs(int8: Any, tensors: Sequence[str]) -> tuple[Any, dict[str, str]]:
    """The graph with the scale of each of `tensors` as an input, and tensor to that input."""
    import onnx

    graph = copy.deepcopy(int8)
    scales = {
        node.input[0]: node.input[1]
        for node in graph.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] in tensors
    }
    graph.graph.input.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [])
        for name in scales.values()
    )
    kept = [one for one in graph.graph.initializer if one.name not in set(scales.values())]
    del graph.graph.initializer[:]
    graph.graph.initializer.extend(kept)
    return graph, scales


def choose_ranges(
    graph: Any,
    head: Head,
    histograms: Mapping[str, Histogram],
    images: NDArray[np.uint8],
    config: QuantizeConfig,
    *,
    threads: int | None = None,
) -> tuple[dict[Method, float], dict[str, Choice]]:
    """The output error of each method, and the range of each tensor of the convolutions.

    `images`: letterboxed uint8 BGR, shape (n, height, width, 3). The search starts with the best
    method. The number of threads changes nothing but the time.
    """
    by_method: dict[Method, dict[str, float]] = {
        method: {
            name: threshold(one, method, config.percentile) for name, one in histograms.items()
        }
        for method in config.methods
    }
    int8 = to_int8(graph, by_method[config.methods[0]], head.body)
    reference = OnnxModel(graph.SerializeToString())
    expected = [reference.run(image[None])[0] for image in images]
    threads = threads or usable_processors()
    with Trials(int8, list(histograms), images, expected, threads=threads) as trials:
        found = trials.errors(list(by_method.values()), trials.images).mean(axis=1)
        errors = {method: float(error) for method, error in zip(by_method, found, strict=True)}
        best = min(errors, key=lambda method: errors[method])
        start = {
            name: Choice(threshold=value, candidate=best, error=errors[best])
            for name, value in by_method[best].items()
        }
        return errors, descend(trials, start)


def descend(trials: Trials, start: Mapping[str, Choice]) -> dict[str, Choice]:
    """The ranges after each tensor had those near its own tried once."""
    descent, tensors = _Descent(trials, start), list(start)
    for number, tensor in enumerate(
        track(tensors, "ranges by the error of the output", what="tensors")
    ):
        if number % TOGETHER == 0:
            trials.vary(tensors[number : number + TOGETHER], descent.ranges())
        descent.improve(tensor)
    return descent.chosen


class _Descent:
    """The ranges as they stand, and the error of each image with them."""

    def __init__(self, trials: Trials, start: Mapping[str, Choice]) -> None:
        self.chosen = dict(start)
        self._trials = trials
        self._few = trials.images[::FEW]
        self._rest = [image for image in trials.images if image not in self._few]
        (self._held,) = trials.errors([self.ranges()], trials.images)

    def improve(self, tensor: str) -> None:
        """Take the best of the ranges near the tensor's own, where it saves enough.

        All of them run on a few of the images, and on the rest only the one that is best there.
        """
        held, now = self._held, self.chosen[tensor]
        tried = near(now.threshold)
        names, ranges = list(tried), [self.ranges() | {tensor: one} for one in tried.values()]
        few = self._trials.errors(ranges, self._few)
        best = int(few.mean(axis=1).argmin())
        if few[best].mean() >= held[self._few].mean():
            return
        errors = held.copy()
        errors[self._few] = few[best]
        errors[self._rest] = self._trials.errors([ranges[best]], self._rest)[0]
        self._take(tensor, f"{names[best]} of {now.candidate}", tried[names[best]], errors)

    def _take(self, tensor: str, name: str, value: float, errors: NDArray[np.float64]) -> None:
        error = float(errors.mean())
        if error < float(self._held.mean()) * (1 - LEAST_GAIN):
            self._held = errors
            self.chosen[tensor] = Choice(threshold=value, candidate=name, error=error)

    def ranges(self) -> dict[str, float]:
        """Those that stand."""
        return {name: one.threshold for name, one in self.chosen.items()}
