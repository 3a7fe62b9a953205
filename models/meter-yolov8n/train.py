"""Train the digit detector from random initialisation, by a plain seeded loop on the CPU.

Run by hand, about 50 minutes on two cores with AMX::

    python models/meter-yolov8n/train.py

On a machine that others use too, `--minutes` bounds it: the learning rate then ends with the clock.

Ultralytics' own trainer imports torchvision, which cannot be imported beside a CPU-only torch on
our machines; its network and its loss can. Pictures are composed while training (`make_data`),
each one seen once. The exponential moving average of the weights is what is kept.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("YOLO_AUTOINSTALL", "false")

import cv2
import numpy as np
import torch
from checkpoint import PlainArgs, save_checkpoint
from evaluate import evaluate
from make_data import SIZE, Difficulty, generator_for, load_sources, make_scene
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils.torch_utils import ModelEMA

FOLDER = Path(__file__).parent
_WORK = Path(tempfile.gettempdir()) / "meter-yolov8n"
Labelled = tuple[Tensor, Tensor]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the result, besides the code and the library versions."""

    seed: int = 0
    steps: int = 4500
    minutes: float = math.inf  # a bound on the wall clock; the cosine ends at it
    batch: int = 16
    learning_rate: float = 1.5e-3
    final_share: float = 0.01  # of the learning rate, at the last step
    warmup_steps: int = 200
    weight_decay: float = 5e-4
    clip_norm: float = 10.0
    box_gain: float = 7.5
    cls_gain: float = 0.5
    dfl_gain: float = 1.5


def train_args(recipe: Recipe) -> PlainArgs:
    """Return what the checkpoint tells of its making; Ultralytics exports at its `imgsz`."""
    return {"task": "detect", "model": "yolov8n.yaml", "imgsz": SIZE, **asdict(recipe)}


class Scenes(Dataset[Labelled]):
    """Training pictures by index: uint8 RGB (3, 320, 320), and float32 (n, 5) labels."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._sources = load_sources("train")
        self._difficulty = Difficulty()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Labelled:
        # One thread: the other core computes gradients meanwhile.
        cv2.setNumThreads(1)
        scene = make_scene(self._sources, generator_for("train", index), self._difficulty)
        pixels = scene.pixels()[..., ::-1].transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(scene.labels)


def collate(samples: list[Labelled]) -> dict[str, Tensor]:
    """Return a batch as Ultralytics' loss wants it; boxes are cx, cy, w, h in 0..1."""
    images = torch.stack([image for image, _ in samples])
    owners = [torch.full((len(labels),), float(i)) for i, (_, labels) in enumerate(samples)]
    rows = torch.cat([labels for _, labels in samples])
    return {
        "img": images.to(memory_format=torch.channels_last).float() / 255,
        "batch_idx": torch.cat(owners),
        "cls": rows[:, :1],
        "bboxes": rows[:, 1:],
    }


def make_model(recipe: Recipe) -> Any:
    """Return a randomly initialised DetectionModel of ten classes, ready for its loss."""
    random.seed(recipe.seed)
    np.random.seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    model: Any = DetectionModel("yolov8n.yaml", nc=10, verbose=False)  # type: ignore[no-untyped-call]
    model.names = {cls: str(cls) for cls in range(10)}
    model.args = SimpleNamespace(box=recipe.box_gain, cls=recipe.cls_gain, dfl=recipe.dfl_gain)
    return model.to(memory_format=torch.channels_last).train()


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW that decays convolution kernels only."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def learning_rate(step: int, progress: float, recipe: Recipe) -> float:
    """Return half a cosine over `progress` (0..1), under a linear warm-up over the steps."""
    warmup = min(1.0, step / recipe.warmup_steps)
    cosine = (1 + math.cos(math.pi * progress)) / 2
    return recipe.learning_rate * warmup * max(recipe.final_share, cosine)


def train(recipe: Recipe, work: Path, *, report_every: int, save_every: int) -> nn.Module:
    """Return the averaged network after `recipe.steps`, or when `recipe.minutes` are over.

    Keeps the averaged network so far in `work`/last.pt.
    """
    model = make_model(recipe)
    average: Any = ModelEMA(model, decay=0.998, tau=500)  # type: ignore[no-untyped-call]
    optimizer = make_optimizer(model, recipe)
    log, threads = _Log(recipe, every=report_every), _Threads(torch.get_num_threads())
    for step, batch in enumerate(_batches(recipe), start=1):
        progress = log.progress(step)
        if progress > 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, progress, recipe)
        with threads.timed(step):
            losses = _step(model, batch, optimizer, recipe)
        average.update(model)
        log.add(step, losses)
        if step % save_every == 0:
            save_checkpoint(work / "last.pt", average.ema, train_args(recipe))
            log.metrics(evaluate(average.ema, FOLDER / "data" / "tuning"))
    averaged: nn.Module = average.ema
    return averaged


def _batches(recipe: Recipe) -> Iterator[dict[str, Tensor]]:
    scenes = Scenes(recipe.steps * recipe.batch)
    yield from DataLoader(
        scenes, batch_size=recipe.batch, num_workers=1, prefetch_factor=8, collate_fn=collate
    )


def _step(
    model: Any,
    batch: dict[str, Tensor],
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
) -> Tensor:
    """Take one step of gradient descent; return the box, class and DFL losses of a picture."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = model(batch["img"])
    loss, parts = model.loss(batch, _to_float(predictions))
    optimizer.zero_grad(set_to_none=True)
    loss.sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
    optimizer.step()
    return torch.stack([part.detach() for part in parts.values()])


def _to_float(value: Any) -> Any:
    """Return the nested predictions in float32: the loss loses too much in bfloat16."""
    if isinstance(value, dict):
        return {key: _to_float(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_float(part) for part in value]
    return value.float()


class _Threads:
    """Choose one thread or all, by trying both now and then.

    On a machine whose cores others use too, two threads that wait for each other can be far
    slower than one.
    """

    def __init__(self, most: int, *, every: int = 40) -> None:
        self._counts, self._every = (1, most), every
        # Of three trial steps the last two count; the first warms up the kernels.
        self._seconds = {count: deque([0.0, 0.0], maxlen=2) for count in self._counts}

    @contextmanager
    def timed(self, step: int) -> Iterator[None]:
        """Set the number of threads for one step; the first six steps of a round are trials."""
        turn = step % self._every
        trial = self._counts[turn // 3] if turn < 6 else None
        count = trial or min(self._counts, key=lambda tried: sum(self._seconds[tried]))
        torch.set_num_threads(count)
        start = time.monotonic()
        yield
        if trial is not None:
            self._seconds[trial].append(time.monotonic() - start)


class _Log:
    """Print the mean losses and the pace every so many steps."""

    def __init__(self, recipe: Recipe, *, every: int) -> None:
        self._recipe, self._every = recipe, every
        self._start = time.monotonic()
        self._last = 0.0
        self._parts: list[Tensor] = []

    def progress(self, step: int) -> float:
        """Return the share of the steps or of the minutes that is over, whichever is more."""
        minutes = (time.monotonic() - self._start) / 60
        return max(step / self._recipe.steps, minutes / self._recipe.minutes)

    def add(self, step: int, losses: Tensor) -> None:
        self._parts.append(losses)
        if step % self._every == 0:
            box, cls, dfl = torch.stack(self._parts).mean(dim=0).tolist()
            seconds = time.monotonic() - self._start
            pace = self._every * self._recipe.batch / (seconds - self._last)
            print(
                f"step {step}/{self._recipe.steps} {seconds:.0f} s {pace:.1f} images/s "
                f"box {box:.3f} cls {cls:.3f} dfl {dfl:.3f}",
                flush=True,
            )
            self._parts.clear()
            self._last = seconds

    def metrics(self, metrics: dict[str, float]) -> None:
        print("  tuning set:", *(f"{k} {v:.3f}" for k, v in metrics.items()), flush=True)


def main() -> None:
    """Train from scratch and write the stripped checkpoint."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--steps", type=int, default=Recipe.steps, help="batches of 16 pictures")
    parser.add_argument("--minutes", type=float, default=Recipe.minutes, help="at most these")
    parser.add_argument("--out", type=Path, default=FOLDER / "weights.pt")
    parser.add_argument("--work", type=Path, default=_WORK, help="folder of last.pt")
    parser.add_argument("--save-every", type=int, default=500, help="steps between checkpoints")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(steps=arguments.steps, minutes=arguments.minutes)
    model = train(recipe, arguments.work, report_every=50, save_every=arguments.save_every)
    save_checkpoint(arguments.out, model, train_args(recipe))
    for name, value in evaluate(model.float(), FOLDER / "data" / "evaluation").items():
        print(f"{name:10} {value:.4f}")


if __name__ == "__main__":
    main()
