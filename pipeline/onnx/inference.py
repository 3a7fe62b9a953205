"""A data set through ONNX Runtime: how verify and quantize look at a model's accuracy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from engines.detect.decode import decode
from engines.detect.detections import Detections
from engines.detect.letterbox import Placement, letterbox
from engines.machine.sensors.quota import usable_processors
from engines.records.thresholds import Thresholds
from pipeline.intake.dataset import Sample
from pipeline.intake.labels import Labels
from pipeline.intake.pictures import Size
from pipeline.onnx.session import OnnxModel
from pipeline.progress import track

Item = TypeVar("Item")
Result = TypeVar("Result")

FOR_MAP = Thresholds(confidence=0.001, iou=0.7, max_detections=300)
"""Low enough that mAP sees the whole curve, as in Ultralytics' validation; see `for_map`."""


def for_map(labels: Mapping[str, Labels]) -> Thresholds:
    """`FOR_MAP` for pictures with these labels: as many detections as a picture has objects, where
    that is more, as in Ultralytics' validation; with fewer nobody could find them all."""
    most = max((len(one.classes) for one in labels.values()), default=0)
    return FOR_MAP.model_copy(update={"max_detections": max(FOR_MAP.max_detections, most)})


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A letterboxed image."""

    name: str
    pixels: NDArray[np.uint8]
    """BGR, shape (height, width, 3) of the network's input."""
    placement: Placement

    @property
    def size(self) -> Size:
        """Of the image itself."""
        return Size(self.placement.frame_height, self.placement.frame_width)


def spread(samples: Sequence[Item], limit: int) -> list[Item]:
    """At most `limit` of the samples, evenly spread over all."""
    count = min(len(samples), limit)
    return [samples[index * len(samples) // count] for index in range(count)]


def evenly(images: Sequence[Prepared], limit: int) -> NDArray[np.uint8]:
    """Pixels of at most `limit` of the images, evenly spread over all, in one array."""
    return np.stack([image.pixels for image in spread(images, limit)])


def prepare(sample: Sample, imgsz: tuple[int, int]) -> Prepared:
    """Read and letterbox one image, as a pod does. Raises InputError when it is unreadable."""
    pixels = np.empty((*imgsz, 3), np.uint8)
    placement = letterbox(sample.read_image(), imgsz, pixels)
    return Prepared(name=sample.name, pixels=pixels, placement=placement)


def prepare_all(
    samples: Sequence[Sample], imgsz: tuple[int, int], description: str
) -> list[Prepared]:
    """Letterbox all images, on all processors."""
    images = in_threads(lambda sample: prepare(sample, imgsz), samples)
    return list(track(images, description, total=len(samples)))


def detect(
    model: bytes, images: Sequence[Prepared], description: str, thresholds: Thresholds = FOR_MAP
) -> dict[str, Detections]:
    """Detections of a serialized ONNX model in images that are letterboxed already, by name."""
    return _detect(OnnxModel(model), images, lambda image: image, description, thresholds)


def detect_in_files(
    model: bytes,
    samples: Sequence[Sample],
    imgsz: tuple[int, int],
    description: str,
    thresholds: Thresholds = FOR_MAP,
) -> tuple[dict[str, Detections], dict[str, Size]]:
    """As `detect`, from the files: a set of any size, of which a few images are in memory. With
    the sizes of the images, so that nobody decodes them again to know."""
    sizes: dict[str, Size] = {}

    def made(sample: Sample) -> Prepared:
        image = prepare(sample, imgsz)
        sizes[image.name] = image.size
        return image

    runtime = OnnxModel(model, portable=False)
    return _detect(runtime, samples, made, description, thresholds), sizes


def _detect(
    runtime: OnnxModel,
    items: Sequence[Item],
    made: Callable[[Item], Prepared],
    description: str,
    thresholds: Thresholds,
) -> dict[str, Detections]:
    # One image a thread is faster than one image in threads.
    def one(item: Item) -> tuple[str, Detections]:
        image = made(item)
        return image.name, decode_raw(
            runtime.run(image.pixels[None])[0], image.placement, thresholds
        )

    return dict(track(in_threads(one, items), description, total=len(items)))


def decode_raw(
    raw: NDArray[np.float32], placement: Placement, thresholds: Thresholds = FOR_MAP
) -> Detections:
    """Detections from the raw head output of one image, as mAP wants them."""
    return decode(
        raw,
        placement,
        confidence=thresholds.confidence,
        iou=thresholds.iou,
        max_detections=thresholds.max_detections,
        multi_label=True,
    )


def in_threads(work: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """`work` of each item in order, on all processors.

    The first is done in this thread, so that nothing is imported in two at once: an import that
    finds no memory may keep its lock, and the other thread would wait for it for ever.
    """
    yield from map(work, items[:1])
    with ThreadPoolExecutor(usable_processors()) as pool:
        yield from pool.map(work, items[1:])
