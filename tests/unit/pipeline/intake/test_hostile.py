"""Checkpoints that would fill the memory, never end or fail later: refused by one sentence, in
bounded memory, with nothing written. And sound ones of unusual kinds, which are taken."""

from __future__ import annotations

import copy
import gc
import importlib
import io
import os
import pickle
import resource
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.errors import InputError
from pipeline.intake.checkpoint import inspect_checkpoint
from pipeline.intake.data_yaml import read_data_yaml
from tests.unit.pipeline.conftest import CLASSES, build_network, rewritten, save

GROWTH = 900 << 20
"""Bytes: 512 MiB and four times the largest file below (16 MiB) are allowed, and the rest is what
the test itself makes."""

FILL = b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(X\x0b\x00\x00\x00V1000000000\x89\x88tRtR"
"""A NumPy scalar of a gigabyte, in 70 bytes."""


def archive(path: Path, pickled: bytes) -> None:
    with zipfile.ZipFile(path, "w") as to:
        to.writestr("w/data.pkl", pickled)
        to.writestr("w/version", "3\n")
        to.writestr("w/byteorder", "little")


def shared(times: int = 60) -> bytes:
    """A tuple of tuples, each of which names the one before twice: written out, 2**60 of them."""
    twice = (b"h%ch%c\x86q%c" % (one, one, one + 1) for one in range(times))
    return b"()q\0" + b"".join(twice) + b"t"


def long_ints(numbers: range) -> bytes:
    """Whole numbers that all have the same hash."""
    return b"".join(pickle.dumps(one * ((1 << 61) - 1), protocol=2)[2:-1] for one in numbers)


TAKES_YEARS = "may take years"
PICKLES = {
    "lists in lists": (b"\x80\x02" + b"]" * (1 << 20) + b"a" * ((1 << 20) - 1) + b".", TAKES_YEARS),
    "a key that shares its parts": (b"\x80\x02}" + shared() + b"K\1s.", TAKES_YEARS),
    "a value that shares its parts": (b"\x80\x02" + shared() + b".", TAKES_YEARS),
    "a key of many digits": (b"\x80\x02}(" + long_ints(range(99, 100)) + b"K\1u.", TAKES_YEARS),
    "a set of tuples": (b"\x80\x04\x8f(" + shared() + b"\x90.", TAKES_YEARS),
    "a frozen set of tuples": (b"\x80\x04(" + shared() + b"\x91.", TAKES_YEARS),
    "a dictionary of tuples": (b"\x80\x02(" + shared() + b"K\1d.", TAKES_YEARS),
    "a storage called by a tuple": (
        b"\x80\x02(X\7\0\0\0storagectorch\nFloatStorage\n" + shared() + b"X\3\0\0\0cpuK\1tQ.",
        "not described as torch.save does it",
    ),
    "numbers of one hash": (b"\x80\x02(" + long_ints(range(9, 200)) + b"t.", TAKES_YEARS),
    "empty sets": (b"\x80\x04" + b"\x8f" * ((4 << 20) - 99) + b".", "of memory"),
    "a long tuple": (b"\x80\x02(" + b"}" * ((4 << 20) - 99) + b"t.", TAKES_YEARS),
    "numbers of a gigabyte": (b"\x80\x02(" + 8 * FILL + b"t.", "no kind of a metric"),
    "half of a pickle": (b"\x80\x02}(", "cannot be read .it ends too early"),
    "no pickle": (b"\xff", "cannot be read .KeyError"),
    "another's, with tuples as keys": (b"\x80\x02}K\1\x85K\1scmmdet.models\nX\n\x86.", "mmdet"),
}


@pytest.mark.parametrize("name", PICKLES)
def test_hostile_pickle(tmp_path: Path, name: str) -> None:
    pickled, said = PICKLES[name]
    archive(tmp_path / "weights.pt", pickled)
    refused(tmp_path / "weights.pt", said)


def layers_in_layers(network: Any) -> None:
    from torch import nn

    one, other = nn.Sequential(nn.SiLU()), nn.Sequential(nn.SiLU())
    for _ in range(40):
        one, other = nn.Sequential(one, other), nn.Sequential(one, other)
    network.model[0].extra = one


def layer_in_itself(network: Any) -> None:
    network.model[0].extra = network.model[0]


def huge_buffer(network: Any) -> None:
    import torch

    shown = torch.zeros(1).half().expand(1 << 31)
    network.model[0].register_buffer("more", shown, persistent=False)


def huge_anchors(network: Any) -> None:
    import torch

    network.model[-1].anchors = torch.zeros(1).half().expand(1 << 31)


def other_weight(change: Callable[[Any], Any]) -> Callable[[Any], None]:
    def edit(network: Any) -> None:
        import torch

        conv = network.model[3].conv
        conv.weight = torch.nn.Parameter(change(conv.weight.data), requires_grad=False)

    return edit


def strides(*values: float) -> Callable[[Any], None]:
    def edit(network: Any) -> None:
        import torch

        network.stride = network.model[-1].stride = torch.tensor(values)

    return edit


def strides_of_the_head(*values: float) -> Callable[[Any], None]:
    def edit(network: Any) -> None:
        import torch

        network.model[-1].stride = torch.tensor(values)

    return edit


def many_levels(network: Any) -> None:
    import torch

    network.stride = torch.zeros(1).expand(1 << 28)


def many_classes(network: Any) -> None:
    network.model[-1].nc = 100_000
    network.names = {index: str(index) for index in range(100_000)}


def attribute(path: str, value: Any) -> Callable[[Any], None]:
    """Set an attribute of a layer, such as `0.conv.padding`."""

    def edit(network: Any) -> None:
        *layers, name = path.split(".")
        target = network.model
        for one in layers:
            target = target[int(one)] if one.lstrip("-").isdigit() else getattr(target, one)
        setattr(target, name, value)

    return edit


def without_weight(network: Any) -> None:
    del network.model[3].conv._parameters["weight"]


def negative_variance(network: Any) -> None:
    network.model[3].bn.running_var.fill_(-5)


NETWORKS: dict[str, tuple[Callable[[Any], None], str]] = {
    "layers in layers": (layers_in_layers, "more than 10000 layers"),
    "a layer in itself": (layer_in_itself, "more than 10000 layers"),
    "a huge buffer": (huge_buffer, "at most 2 GiB, got 8.0 GiB"),
    "huge anchors": (huge_anchors, "of memory"),
    "whole numbers": (other_weight(lambda weight: weight.char()), "floating-point.*in int8"),
    "complex numbers": (other_weight(lambda weight: weight.cfloat()), "torch.ComplexFloatStorage"),
    "a weight of another shape": (other_weight(lambda weight: weight[:, :1]), "to run, but it"),
    "a lost weight": (without_weight, "expected|Expected"),
    "no strides": (strides(), "strides from 1 to 256"),
    "strides of zero": (strides(0, 0, 0), "strides from 1 to 256"),
    "infinite strides": (strides(8, 16, float("inf")), "strides from 1 to 256"),
    "strides between": (strides(8, 16, 32.5), "strides from 1 to 256"),
    "other strides": (strides(8, 16, 64), "an output of shape"),
    "a head without strides": (strides_of_the_head(0, 0, 0), "head of the network"),
    "a head with one stride": (strides_of_the_head(8), "head of the network"),
    "a head with other strides": (strides_of_the_head(8, 16, 64), "head of the network"),
    "many levels": (many_levels, "strides from 1 to 256"),
    "many classes": (many_classes, "to run, but it does not"),
    "billions of classes": (attribute("-1.nc", 1 << 40), "names for the classes 0 to"),
    "a wide border": (attribute("0.conv.padding", (50_000, 50_000)), "of memory"),
    "a layer from nowhere": (attribute("5.f", 99), "to run, but it does not"),
    "halves of another width": (attribute("2.c", 16), "into two halves"),
    "halves of no width": (attribute("2.c", {}), "not put together as one"),
    "a variance below zero": (negative_variance, "finite numbers"),
}


def refused_network(tmp_path: Path, edit: Callable[[Any], object], said: str) -> None:
    network = build_network()
    edit(network)
    refused(save(tmp_path / "weights.pt", network), said)


@pytest.mark.parametrize("name", NETWORKS)
def test_hostile_network(tmp_path: Path, name: str) -> None:
    refused_network(tmp_path, *NETWORKS[name])


def first(network: Any) -> Any:
    return network.model[0].conv


def quantized(network: Any) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.more = torch.quantize_per_tensor(torch.ones(3), 0.01, 0, torch.qint8)


def in_kind(kind: str) -> Callable[[Any], object]:
    def change(network: Any) -> None:
        import torch

        weight = first(network).weight.detach().to(getattr(torch, kind))
        first(network).weight = torch.nn.Parameter(weight, requires_grad=False)

    return change


def without_numbers(network: Any) -> None:
    network.to("meta")


def sparse(network: Any) -> None:
    import torch

    network.more = torch.eye(3).to_sparse()


def nested(network: Any) -> None:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.more = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


def pruned(network: Any) -> None:
    prune = importlib.import_module("torch.nn.utils.prune")
    prune.l1_unstructured(first(network), "weight", 0.5)


OTHER_WEIGHTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "quantized": (quantized, "floating-point.*QInt8Storage .quantized.*best.pt"),
    "complex": (in_kind("complex64"), "floating-point.*complex"),
    "float8": (in_kind("float8_e4m3fn"), "floating-point.*of 8 bits"),
    "meta": (without_numbers, "plain weights.*device `meta`, without numbers"),
    "sparse": (sparse, "plain weights.*sparse tensors .torch._utils._rebuild_sparse_tensor"),
    "nested": (nested, "plain weights.*nested tensors"),
    "pruned": (pruned, "plain weights.*being pruned"),
}


@pytest.mark.parametrize("name", OTHER_WEIGHTS)
def test_weights_of_another_kind(tmp_path: Path, name: str) -> None:
    refused_network(tmp_path, *OTHER_WEIGHTS[name])


@pytest.mark.parametrize("kind", ["half", "bfloat16", "double"])
def test_weights_of_other_precisions_are_taken(tmp_path: Path, kind: str) -> None:
    network = getattr(build_network(), kind)()
    assert inspect_checkpoint(save(tmp_path / "weights.pt", network)).classes == CLASSES


def test_averaged_weights_only_are_taken(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", None, ema=build_network())
    assert inspect_checkpoint(path).classes == CLASSES


@pytest.mark.parametrize("device", ["cuda:0", "mps:0", "xpu:0"])
def test_weights_saved_on_another_device_are_taken(tmp_path: Path, device: str) -> None:
    def moved(pickled: bytes) -> bytes:
        here, there = (b"X" + len(one).to_bytes(4, "little") + one for one in (b"cpu", name))
        assert here in pickled
        return pickled.replace(here, there)

    name = device.encode()
    path = rewritten(save(tmp_path / "cpu.pt", build_network()), tmp_path / "weights.pt", moved)
    assert inspect_checkpoint(path).classes == CLASSES


@pytest.mark.parametrize("kind", ["DataParallel", "OptimizedModule"])
def test_wrapped_for_training(tmp_path: Path, kind: str) -> None:
    import torch

    network = build_network()
    wrapped = torch.nn.DataParallel(network) if kind == "DataParallel" else torch.compile(network)
    refused(save(tmp_path / "weights.pt", wrapped), f"the network itself.*in a {kind}")


@pytest.mark.parametrize(
    "arguments",
    [
        {"imgsz": float("inf")},
        {"imgsz": [float("inf"), 64]},
        {"imgsz": [float("nan"), 64]},
        {"imgsz": [None, 64]},
        {"imgsz": ["a", "b"]},
        {"imgsz": [-1, 0]},
        {"imgsz": True},
        {"imgsz": 10**30},
        {"imgsz": "640"},
        {"single_cls": "False"},
        [1],
        "none",
    ],
)
def test_odd_training_arguments(tmp_path: Path, arguments: Any) -> None:
    """They are told, and nothing is computed from them: a checkpoint is not refused for them."""
    facts = inspect_checkpoint(save(tmp_path / "weights.pt", build_network(), train_args=arguments))
    assert (facts.imgsz, facts.single_cls) == (None, False)


@pytest.mark.parametrize("kind", ["bool_", "float16", "int32", "uint8"])
def test_metrics_of_any_kind_of_number(tmp_path: Path, kind: str) -> None:
    metrics = {"metrics/mAP50(B)": getattr(np, kind)(1)}
    path = save(tmp_path / "weights.pt", build_network(), train_metrics=metrics)
    assert inspect_checkpoint(path).classes == CLASSES


# --- archives ------------------------------------------------------------------------------------


def test_parts_that_lie_over_each_other(tmp_path: Path) -> None:
    """Three thousand names of one megabyte."""
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w") as to:
        to.writestr("w/data.pkl", b"\x80\x02}.")
        to.writestr("w/data/0", bytes(1 << 20))
        for number in range(1, 3000):
            again = copy.copy(to.getinfo("w/data/0"))
            again.filename = f"w/data/{number}"
            to.filelist.append(again)
        to._didModify = True  # type: ignore[attr-defined]
    refused(path, "at most 2 GiB, got 2.9 GiB")


def test_a_part_that_grows_a_thousand_times(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as to:
        to.writestr("w/data.pkl", b"\x80\x02}.")
        to.writestr("w/data/0", bytes(256 << 20))
    refused(path, "uncompressed")


def test_one_name_for_the_content_of_another(checkpoint: Path, tmp_path: Path) -> None:
    source, path = io.BytesIO(checkpoint.read_bytes()), tmp_path / "weights.pt"
    with zipfile.ZipFile(source, "a") as to:
        first, second = [one for one in to.infolist() if "/data/" in one.filename][:2]
        second.header_offset = first.header_offset
        to._didModify = True  # type: ignore[attr-defined]
    path.write_bytes(source.getvalue())
    refused(path, "damaged")


# --- sound ones ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["half", "float", "bfloat16", "double"])
def test_weights_of_any_precision(tmp_path: Path, kind: str) -> None:
    network = getattr(build_network(), kind)()
    assert inspect_checkpoint(save(tmp_path / "weights.pt", network)).classes == CLASSES


def test_only_averaged_weights(tmp_path: Path) -> None:
    path = save(tmp_path / "weights.pt", None, ema=build_network())
    assert inspect_checkpoint(path).classes == CLASSES


def test_without_a_word_of_averaged_weights(tmp_path: Path) -> None:
    import torch

    torch.save({"model": build_network()}, tmp_path / "weights.pt")
    assert inspect_checkpoint(tmp_path / "weights.pt").imgsz is None


def test_weights_that_share_their_storage(tmp_path: Path) -> None:
    import torch

    network = build_network()
    weight = network.model[0].conv.weight
    shown = torch.zeros(12).half().as_strided(weight.shape, (1, 1, 1, 0))
    network.model[0].conv.weight = torch.nn.Parameter(shown, requires_grad=False)
    assert inspect_checkpoint(save(tmp_path / "weights.pt", network)).classes == CLASSES


# --- memory --------------------------------------------------------------------------------------


def refused(path: Path, said: str) -> None:
    """Refused by one sentence or two, within bounded memory."""
    gc.collect()
    before, limit = memory("VmRSS", reset=True), resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(InputError, match=said) as error:
        inspect_checkpoint(path)
    assert memory("VmHWM") - before < GROWTH
    assert resource.getrlimit(resource.RLIMIT_DATA) == limit
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2


def memory(key: str, *, reset: bool = False) -> int:
    """Bytes of this process; the peak (VmHWM) since it was reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    text = Path(f"/proc/{os.getpid()}/status").read_text()
    return int(text.split(f"{key}:")[1].split()[0]) << 10


@pytest.mark.parametrize("key", ["names", "train", "val", "nc", "path", "channels"])
def test_a_data_yaml_whose_anchors_hold_each_other(tmp_path: Path, key: str) -> None:
    """Parsed it is small; what is said of it would have 10 to the 10 words."""
    lines = ["0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    (tmp_path / "data.yaml").write_text("\n".join([*lines, f"{key}: *a9", ""]))
    with pytest.raises(InputError, match="anchors that hold each other"):
        read_data_yaml(tmp_path / "data.yaml")
