"""A YOLOv8 of a few kilobytes and a repository around it."""

from __future__ import annotations

import copy
import functools
import hashlib
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.config.workspace import Workspace
from pipeline.steps.export import export

CLASSES = ("bolt", "nut")
IMGSZ = (64, 96)
MODEL = "parts"

PARAMS = """
quantize:
  max_map50_95_drop: 0.01
  max_confidence_shift: 0.05
  max_float_layers: 2
  methods: [minmax, entropy, percentile]
  percentile: 99.9
  calibration_images: 8
  tuning_images: 8
  range_images: 2
  sensitivity_images: 2
"""


def build_network(task: str = "detect", config: str = "yolov8n") -> Any:
    """A network of the thinnest width, with Ultralytics' own layers, as lively as a trained one."""
    return copy.deepcopy(_built(task, config))


@functools.cache
def _built(task: str, config: str) -> Any:
    """Ultralytics runs it on a large picture to find its strides: seconds, a hundred times over."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    os.environ.setdefault("YOLO_CONFIG_DIR", "/tmp/jetrail-tests-ultralytics")
    import torch
    from ultralytics.nn import tasks

    kind = {
        "detect": tasks.DetectionModel,
        "segment": tasks.SegmentationModel,
        "pose": tasks.PoseModel,
        "classify": tasks.ClassificationModel,
        "obb": tasks.OBBModel,
    }[task]
    settings = tasks.yaml_model_load(f"{config}.yaml")
    settings["scales"] = {"n": [0.33, 0.03, 128]}
    torch.manual_seed(0)
    network = kind(settings, nc=len(CLASSES), verbose=False)
    network.names = dict(enumerate(CLASSES))
    network.args = {"imgsz": max(IMGSZ)}
    if task == "detect":
        _enliven(network)
    return network.half().eval()


def _enliven(network: Any) -> None:
    """Have every layer pass on what it gets, and the head find objects.

    Without training, what comes in is lost by the first layers already: the output is the same for
    any picture and any rounding of weights and activations, and a test of those sees nothing.
    """
    import torch

    norms = [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
    usual = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
    network.train()
    with torch.no_grad():
        cells = int(network.stride.max()) // 32  # of P6 the deepest layer sees half as many
        network(torch.rand(4, 3, *(side * cells for side in IMGSZ)))
    for norm, momentum in zip(norms, usual, strict=True):
        norm.momentum = momentum
    for scores in network.model[-1].cv3:
        scores[-1].bias.data.fill_(-2.0)
        scores[-1].weight.data *= 2


def save(path: Path, network: Any, **more: Any) -> Path:
    """Write a checkpoint with the keys that Ultralytics' strip_optimizer leaves."""
    import torch

    content = {
        "date": "2026-01-01T00:00:00+00:00",
        "version": "8.4.0",
        "epoch": -1,
        "model": network,
        "ema": None,
        "optimizer": None,
        "train_args": {"task": "detect", "imgsz": max(IMGSZ), "data": "parts.yaml"},
        "train_metrics": {},
    }
    torch.save(content | more, path)
    return path


def rewritten(source: Path, path: Path, change: Callable[[bytes], bytes]) -> Path:
    """A copy of a checkpoint with another pickle."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith("data.pkl") else data)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights file of a small YOLOv8 detect network; not to be changed."""
    return save(tmp_path_factory.mktemp("weights") / "weights.pt", build_network())


def lay_out(
    root: Path,
    checkpoint: Path,
    imgsz: tuple[int, int] = IMGSZ,
    classes: tuple[str, ...] = CLASSES,
) -> Workspace:
    """A repository with one model and its three data sets."""
    workspace = Workspace(root=root)
    folder = workspace.model(MODEL)
    folder.mkdir(parents=True)
    (root / "dvc.yaml").touch()
    (root / "params.yaml").write_text(PARAMS)
    weights = checkpoint.read_bytes()
    (folder / "weights.pt").write_bytes(weights)
    (folder / "model.yaml").write_text(
        f"schema: 1\nname: {MODEL}\nversion: '1.0'\ntask: detect\n"
        f"weights: {{path: weights.pt, sha256: {hashlib.sha256(weights).hexdigest()}}}\n"
        f"imgsz: [{imgsz[0]}, {imgsz[1]}]\nclasses: [{', '.join(classes)}]\n"
        "data: {calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}\n"
    )
    for number, name in enumerate(("calibration", "tuning", "evaluation")):
        make_set(folder / "data" / name, count=5, seed=number)
    return workspace


@pytest.fixture
def make_workspace(tmp_path: Path, checkpoint: Path) -> Callable[..., Workspace]:
    """`lay_out` in a new folder; takes `imgsz` and `classes` of model.yaml."""
    return functools.partial(lay_out, tmp_path / "repository", checkpoint)


@pytest.fixture(scope="session")
def export_once(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    """The default model's exported file; not to be changed."""
    return export(lay_out(tmp_path_factory.mktemp("exported") / "repository", checkpoint), MODEL)


@pytest.fixture
def exported(workspace: Workspace, export_once: Path) -> Path:
    """The default model's exported file, in its place in `workspace`."""
    path = workspace.model_out(MODEL) / export_once.name
    path.parent.mkdir()
    path.write_bytes(export_once.read_bytes())
    return path


@pytest.fixture
def workspace(make_workspace: Callable[..., Workspace]) -> Workspace:
    """The repository with its default model."""
    return make_workspace()


def make_set(folder: Path, *, count: int, seed: int) -> None:
    """Pictures of noise with one bright labelled rectangle each."""
    import cv2

    random = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for number in range(count):
        picture = random.integers(0, 120, (80, 100, 3), dtype=np.uint8)
        picture[20:60, 30:70] = random.integers(150, 256, 3)
        name = f"{folder.name}-{number}"
        cv2.imwrite(str(folder / "images" / f"{name}.png"), picture)
        (folder / "labels" / f"{name}.txt").write_text(f"{number % 2} 0.5 0.5 0.4 0.5\n")
