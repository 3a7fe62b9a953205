"""Write the trained network as a stripped float16 checkpoint in Ultralytics' layout.

The pickle names only layer classes of torch and Ultralytics; everything else is plain Python, so
`torch.load(..., weights_only=True)` reads it with those classes as safe globals.
"""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import torch
from torch import nn
from ultralytics import __version__ as ultralytics_version

PlainArgs = dict[str, str | int | float | bool | None]


def save_checkpoint(path: Path, model: nn.Module, train_args: PlainArgs) -> None:
    """Write `model` to `path` in one step, so that a reader never sees half a file."""
    part = path.with_suffix(".part")
    torch.save(_checkpoint(model, train_args), part)
    part.replace(path)


def _checkpoint(model: nn.Module, train_args: PlainArgs) -> dict[str, object]:
    return {
        "epoch": -1,
        "best_fitness": None,
        "model": _stripped(model),
        "ema": None,
        "updates": None,
        "optimizer": None,
        "train_args": train_args,
        "train_metrics": {},
        "train_results": {},
        "date": date.today().isoformat(),
        "version": ultralytics_version,
        "license": "AGPL-3.0 (https://ultralytics.com/license)",
    }


def _stripped(model: nn.Module) -> nn.Module:
    """Return a float16 copy for inference, without the loss and with plain arguments."""
    copy: Any = deepcopy(model)
    copy.to(memory_format=torch.contiguous_format)
    copy.criterion = None
    copy.args = {"task": "detect", "mode": "train", "model": "yolov8n.yaml", "imgsz": 320}
    for parameter in copy.parameters():
        parameter.requires_grad = False
    stripped: nn.Module = copy.half().eval()
    return stripped
