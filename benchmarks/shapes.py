"""A second checkpoint for `quantizers.py`, made here: a YOLOv8s that finds drawn shapes.

It differs from the sample model in width (YOLOv8s), size (256 x 256), classes (six shapes of 12 to
140 pixels) and pictures (drawn on gradients and noise, no photographs). Writes a small repository
outside git with data sets and weights, where the commands run as in any other:

    python benchmarks/shapes.py /tmp/jetrail-shapes --minutes 10
    cd /tmp/jetrail-shapes && pipeline export shapes-yolov8s
    python …/benchmarks/quantizers.py shapes-yolov8s

Data are the same each time. Training is seeded, but ends by the clock, so weights differ a little.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.config.workspace import Workspace
from engines.files import sha256_file

NAME, NETWORK, SIDE = "shapes-yolov8s", "yolov8s.yaml", 256
CLASSES = ("circle", "square", "triangle", "star", "cross", "ring")
SETS = {"calibration": 128, "tuning": 120, "evaluation": 320}
LARGEST, SMALLEST = 140.0, 12.0
"""Of a shape, in pixels."""
BATCH, WARM_UP, RATE = 16, 50, 2e-3
GAINS = {"box": 7.5, "cls": 0.5, "dfl": 1.5}
"""Of Ultralytics' loss, its defaults."""

Picture = tuple[NDArray[np.uint8], NDArray[np.float64]]
"""uint8 BGR, and a row `class cx cy w h` for each shape, all but the class 0 to 1."""


def main() -> None:
    """Write data sets and weights, unless they are there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="of the repository that is written")
    parser.add_argument("--minutes", type=float, default=10, help="of training (default: 10)")
    options = parser.parse_args()
    workspace = Workspace(root=options.folder)
    folder = workspace.model(NAME)
    weights = folder / "weights.pt"
    if weights.is_file():
        print(f"{weights} is there already")
        return
    for number, (purpose, count) in enumerate(SETS.items(), start=1):
        write_set(folder / "data" / purpose, count, number)
    save(train(options.minutes), weights)
    lay_out(workspace, weights)


# --- pictures ------------------------------------------------------------------------------------


def draw(random: np.random.Generator) -> Picture:
    """A picture with one to eight shapes, of which none hides more than a little of another."""
    corners = random.integers(0, 256, (2, 2, 3)).astype(np.float32)
    image = cv2.resize(corners, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    image = image + random.normal(0, random.uniform(0, 12), image.shape)
    taken: list[tuple[float, ...]] = []
    rows = []
    for _ in range(int(random.integers(1, 9))):
        size = math.exp(random.uniform(math.log(SMALLEST), math.log(LARGEST)))
        x, y = random.uniform(size / 2, SIDE - size / 2, 2)
        if any(max(abs(x - a), abs(y - b)) < (size + c) * 0.45 for a, b, c in taken):
            continue
        taken.append((x, y, size))
        kind = int(random.integers(len(CLASSES)))
        mask = stamp(kind, x, y, size, random.uniform(0, 2 * math.pi))
        opacity = mask[..., None] * random.uniform(0.5, 1.0)
        image = image * (1 - opacity) + random.integers(0, 256, 3) * opacity
        rows.append([kind, *box(mask)])
    blurred = cv2.GaussianBlur(image.clip(0, 255), (0, 0), random.uniform(0.3, 1.0))
    return np.asarray(blurred, np.uint8), np.array(rows).reshape(-1, 5)


def stamp(kind: int, x: float, y: float, size: float, angle: float) -> NDArray[np.float32]:
    """Where a shape is, 0 to 1, shape (SIDE, SIDE)."""
    mask = np.zeros((SIDE, SIDE), np.float32)
    name, radius, centre = CLASSES[kind], size / 2, (round(x), round(y))
    if name in ("circle", "ring"):
        width = -1 if name == "circle" else max(2, round(size / 7))
        reach = radius if name == "circle" else radius - width / 2
        cv2.circle(mask, centre, round(reach), 1.0, width, cv2.LINE_AA)
        return mask
    turns, reaches = outline(name)
    angles = angle + np.array(turns) * 2 * math.pi
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * np.array(reaches)[:, None]
    cv2.fillPoly(mask, [np.rint(points * radius + (x, y)).astype(np.int32)], 1.0, cv2.LINE_AA)
    return mask


def outline(name: str) -> tuple[list[float], list[float]]:
    """The corners of a shape: turns from 0 to 1, and distances from its centre."""
    if name == "star":
        return [corner / 10 for corner in range(10)], [1.0, 0.42] * 5
    if name == "cross":
        arm = math.atan2(0.3, 1) / (2 * math.pi)
        turns = [quarter / 4 + turn for quarter in range(4) for turn in (-arm, arm, 0.125)]
        return turns, [1.0, 1.0, 0.41] * 4
    corners = {"square": 4, "triangle": 3}[name]
    return [corner / corners for corner in range(corners)], [1.0] * corners


def box(mask: NDArray[np.float32]) -> tuple[float, float, float, float]:
    """cx, cy, w and h of what is drawn, 0 to 1."""
    ys, xs = np.nonzero(mask > 0.5)
    x1, x2, y1, y2 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
    return (x1 + x2) / 2 / SIDE, (y1 + y2) / 2 / SIDE, (x2 - x1) / SIDE, (y2 - y1) / SIDE


def write_set(folder: Path, count: int, number: int) -> None:
    """Write one data set; `number` is its own, so that no two have a picture in common."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        pixels, rows = draw(np.random.default_rng((number, index)))
        cv2.imwrite(str(folder / "images" / f"{index:03d}.png"), pixels)
        lines = (f"{int(row[0])} " + " ".join(f"{value:.6f}" for value in row[1:]) for row in rows)
        (folder / "labels" / f"{index:03d}.txt").write_text("".join(f"{one}\n" for one in lines))


# --- training ------------------------------------------------------------------------------------


def train(minutes: float) -> Any:
    """The averaged network after so many minutes, each picture seen once."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
    import torch
    from ultralytics.nn.tasks import DetectionModel
    from ultralytics.utils.torch_utils import ModelEMA

    torch.manual_seed(0)
    build, averaged_of = cast(Any, DetectionModel), cast(Any, ModelEMA)
    network = build(NETWORK, nc=len(CLASSES), verbose=False)
    network.names = dict(enumerate(CLASSES))
    network.args = SimpleNamespace(**GAINS)
    network.to(memory_format=torch.channels_last).train()
    average = averaged_of(network, decay=0.99, tau=200)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=5e-4)
    begun = time.monotonic()
    for step, batch in enumerate(batches(), start=1):
        progress = (time.monotonic() - begun) / 60 / minutes
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            cosine = (1 + math.cos(math.pi * progress)) / 2
            group["lr"] = RATE * min(1.0, step / WARM_UP) * max(0.01, cosine)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = network(batch["img"])
        loss, parts = network.loss(batch, as_float32(found))
        optimizer.zero_grad(set_to_none=True)
        loss.sum().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
        optimizer.step()
        average.update(network)
        if step % 20 == 0:
            said = " ".join(f"{name} {float(part):.3f}" for name, part in parts.items())
            print(f"step {step}, {progress:.0%}: {said}", flush=True)
    return average.ema


def batches() -> Iterator[dict[str, Any]]:
    """Pictures and labels as Ultralytics' loss takes them, without end."""
    import torch

    random = np.random.default_rng(0)
    while True:
        drawn = [draw(random) for _ in range(BATCH)]
        pixels = np.stack([picture[..., ::-1].transpose(2, 0, 1) for picture, _ in drawn])
        rows = torch.from_numpy(np.concatenate([rows for _, rows in drawn])).float()
        owners = np.repeat(np.arange(BATCH), [len(rows) for _, rows in drawn])
        images = torch.from_numpy(np.ascontiguousarray(pixels)).float() / 255
        yield {
            "img": images.to(memory_format=torch.channels_last),
            "batch_idx": torch.from_numpy(owners).float(),
            "cls": rows[:, :1],
            "bboxes": rows[:, 1:],
        }


def as_float32(value: Any) -> Any:
    """The nested predictions in float32, which the loss needs."""
    if isinstance(value, dict):
        return {key: as_float32(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_float32(part) for part in value]
    return value.float()


# --- the repository ------------------------------------------------------------------------------


def save(network: Any, path: Path) -> None:
    """Write a stripped float16 checkpoint, as Ultralytics does at the end of a training."""
    import torch
    import ultralytics

    version = ultralytics.__version__
    network.criterion = None
    network.args = {"task": "detect", "model": NETWORK, "imgsz": SIDE}
    for parameter in network.parameters():
        parameter.requires_grad = False
    network = network.to(memory_format=torch.contiguous_format).half().eval()
    content = {
        **{"epoch": -1, "model": network, "ema": None, "optimizer": None, "version": version},
        **{"train_args": network.args, "train_metrics": {}, "date": "2026-01-01"},
    }
    part = path.with_suffix(".part")
    torch.save(content, part)
    part.replace(path)


def lay_out(workspace: Workspace, weights: Path) -> None:
    """Write what the commands look for in a repository."""
    (workspace.root / "dvc.yaml").touch()
    shutil.copyfile(Path(__file__).parents[1] / "params.yaml", workspace.root / "params.yaml")
    (workspace.model(NAME) / "model.yaml").write_text(
        f"schema: 1\nname: {NAME}\nversion: '1.0'\ntask: detect\n"
        f"weights: {{path: {weights.name}, sha256: {sha256_file(weights)}}}\n"
        f"imgsz: [{SIDE}, {SIDE}]\nclasses: [{', '.join(CLASSES)}]\n"
        "data: {calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}\n"
    )


if __name__ == "__main__":
    main()
