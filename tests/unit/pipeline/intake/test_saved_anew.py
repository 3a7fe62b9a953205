"""The command that a refusal names makes of the checkpoint one that is taken."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engines.errors import InputError
from pipeline.intake.checkpoint import inspect_checkpoint
from tests.unit.pipeline.conftest import CLASSES, build_network, save


def alone(path: Path, network: Any) -> None:
    import torch

    network.args = {"imgsz": 96}
    torch.save(network, path)


def whole(path: Path, network: Any) -> None:
    import torch
    from ultralytics import YOLO

    one = YOLO("yolov8n.yaml")
    network.args = {"imgsz": 96, "callback": print}
    network.model[0].register_forward_hook(print)
    one.model = network
    torch.save(one, path)


def distributed(path: Path, network: Any) -> None:
    import torch
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    save(path, torch.nn.parallel.DistributedDataParallel(network.requires_grad_()))
    dist.destroy_process_group()


def compiled(path: Path, network: Any) -> None:
    import torch

    save(path, torch.compile(network))


def with_a_callback(path: Path, network: Any) -> None:
    network.args = {"imgsz": 96, "callback": print}
    save(path, network)


def with_a_hook(path: Path, network: Any) -> None:
    network.args = {"imgsz": 96}
    network.model[0].register_forward_hook(print)
    network.model[1].register_forward_pre_hook(print)
    save(path, network)


def with_a_namespace(path: Path, network: Any) -> None:
    import torch

    network.args = argparse.Namespace(imgsz=96)
    torch.save({"model": network, "train_args": argparse.Namespace(imgsz=96)}, path)


def being_pruned(path: Path, network: Any) -> None:
    from torch.nn.utils import prune

    network.args = {"imgsz": 96}
    prune.l1_unstructured(network.model[0].conv, "weight", 0.5)
    save(path, network)


def named(names: Any) -> Callable[[Path, Any], None]:
    def write(path: Path, network: Any) -> None:
        network.names = names
        save(path, network, ema=network)

    return write


@pytest.mark.parametrize(
    "write",
    [
        alone,
        whole,
        distributed,
        compiled,
        with_a_callback,
        with_a_hook,
        with_a_namespace,
        being_pruned,
        named({0: "bolt", 1: "bolt"}),
        named({1: "bolt", 2: "nut"}),
    ],
)
def test_the_command_of_the_sentence_leads_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path, Any], None]
) -> None:
    path = tmp_path / "my weights.pt"
    write(path, build_network())
    with pytest.raises(InputError) as refused:
        inspect_checkpoint(path)
    (command, file), *_ = re.findall(r"`(python .*)`\), and give (\w+\.pt)", str(refused.value))
    run(command.replace("NAME0 NAME1 …", shlex.join(CLASSES)), tmp_path, monkeypatch)
    facts = inspect_checkpoint(tmp_path / file)
    assert facts.classes == CLASSES
    assert facts.imgsz == (96, 96)


def run(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, where torch is loaded already."""
    import torch.distributed as dist

    _, option, code, *arguments = shlex.split(command)
    assert option == "-c"
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["-c", *arguments])
    try:
        exec(code, {})
    finally:
        with suppress(AssertionError, ValueError):
            dist.destroy_process_group()
