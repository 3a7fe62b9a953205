"""NVIDIA's own builder takes YOLOv8 s, m, l and x in all precisions.

They have random weights, and ranges from two pictures: what they compute means nothing, their
shapes do.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from engines.process.child import run_in_child
from tests.integration.conftest import MODEL, PRECISIONS, ROOT, Clone, make_clone
from tests.integration.test_tensorrt_rtx import ROW, RTX, SIDE, check, with_target

pytestmark = pytest.mark.integration

SIZES = ("m", *(pytest.param(one, marks=pytest.mark.long) for one in "slx"))
"""s has the layers of m and fewer of them; l has those of x, and x is the larger one."""


@pytest.fixture(scope="module")
def rtx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    """A clone with the target, before anything was made."""
    with with_target(make_clone(tmp_path_factory.mktemp("rtx") / "clone")) as clone:
        yield clone


def add_random_model(clone: Clone, size: str) -> str:
    """A model of that size with random weights, in the clone and in the target's row."""
    name = f"yolov8{size}"
    folder = clone.workspace.model(name)
    folder.mkdir(parents=True)
    run_in_child(save_random_weights, (size, folder / "weights.pt"), lambda: None)
    digest = hashlib.sha256((folder / "weights.pt").read_bytes()).hexdigest()
    model = {
        **{"schema": 1, "name": name, "version": "1.0", "task": "detect"},
        "weights": {"path": "weights.pt", "sha256": digest},
        **{"imgsz": [SIDE, SIDE], "classes": [str(number) for number in range(80)]},
        "data": {key: f"data/{key}" for key in ("calibration", "tuning", "evaluation")},
    }
    YAML().dump(model, folder / "model.yaml")
    with clone.edited(ROW) as row:
        for precision in PRECISIONS:
            row["engines"][f"{name}-{precision}"] = {"model": name, "precision": precision}
    return name


def save_random_weights(job: tuple[str, Path]) -> None:
    """In a process of its own, which gives the memory back: as Ultralytics saves a checkpoint."""
    size, path = job
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    os.environ["YOLO_CONFIG_DIR"] = str(path.parent)
    import torch
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(0)
    network = DetectionModel(f"yolov8{size}.yaml", nc=80, verbose=False)
    torch.save({"model": network.half().eval(), "ema": None, "train_args": {}}, path)


def quantize(job: tuple[Path, tuple[Path, ...]]) -> None:
    """In a process of its own: the two other files, without the search for accuracy."""
    import cv2
    import numpy as np

    from engines.detect.letterbox import letterbox
    from pipeline.onnx import onnx_file
    from pipeline.onnx.head import find_head
    from pipeline.onnx.quantizer import Taps, to_float16, to_int8
    from pipeline.onnx.ranges import add, histogram, threshold

    folder, pictures = job
    graph = onnx_file.read_onnx(folder / "model.fp32.onnx")
    head = find_head(graph)
    onnx_file.write_onnx(to_float16(graph, head), folder / "model.fp16.onnx")
    taps, pixels = Taps(graph, head.body), np.empty((SIDE, SIDE, 3), np.uint8)
    ranges = {}
    for picture in pictures:
        letterbox(cv2.imread(str(picture)), (SIDE, SIDE), pixels)
        for name, values in taps.run(pixels[None]).items():
            found = histogram(values)
            ranges[name] = add(ranges[name], found) if name in ranges else found
    thresholds = {name: threshold(one, "minmax", 100.0) for name, one in ranges.items()}
    int8 = to_float16(to_int8(graph, thresholds, head.body), head)
    onnx_file.write_onnx(int8, folder / "model.int8.onnx")


@pytest.fixture
def random_model(rtx: Clone, size: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The model's name; its files, of up to a gigabyte, go when the test is over."""
    monkeypatch.syspath_prepend(str(ROOT))  # children find this file
    yield add_random_model(rtx, size)
    shutil.rmtree(rtx.workspace.model(f"yolov8{size}"))
    for precision in PRECISIONS:
        shutil.rmtree(
            rtx.workspace.engine(RTX, f"yolov8{size}-{precision}").path, ignore_errors=True
        )


@pytest.mark.parametrize("size", SIZES)
def test_every_size_is_built(rtx: Clone, random_model: str) -> None:
    rtx.run("pipeline", "export", random_model)
    pictures = sorted((rtx.root / f"models/{MODEL}/data/calibration/images").iterdir())[:2]
    run_in_child(quantize, (rtx.workspace.model_out(random_model), tuple(pictures)), lambda: None)
    rtx.run("pipeline", "probe", "--target", RTX)
    for precision in PRECISIONS:
        said = rtx.run("pipeline", "build", f"{random_model}-{precision}", "--target", RTX)
        timings = check(rtx, random_model, precision).tensorrt
        assert timings is not None
        assert ("warning: the timing cache" in said) == (timings.timing_cache == "ignored")
