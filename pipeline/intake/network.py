"""Whether the network of a checkpoint is one that every later step can use.

A checkpoint can describe any network out of YOLOv8's layers, one that cannot run or that fills the
memory too. So its size is counted, and it runs on small pictures before a thing is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unicodedata import normalize

from engines.config.names import shown
from engines.errors import InputError
from pipeline.intake.checkpoint_file import too_large
from pipeline.intake.checkpoint_scan import MAX_BYTES
from pipeline.intake.saved_anew import named

MAX_LAYERS = 10_000
"""YOLOv8x has 400. A layer that stands in two places counts twice, as torch visits it."""

MAX_STRIDE = 256
"""Pixels per cell: YOLOv8 has 8 to 32, its P6 up to 64."""

TOLERANCE_PX, TOLERANCE_SCORES = 0.1, 0.001
"""About a hundred times what float32 rounding gives, and far below what moves an mAP."""

MAX_LEVELS = 8
"""YOLOv8 has three, its P6 four."""

_CELLS = ((2, 5), (5, 2))
"""Height and width of the pictures that a network is tried on, in cells of the largest stride. A
layer with a size of its own, or with another border or step than YOLOv8's, fits one size or two
neighbours; at one of these it does not."""

_ON_NOISE = 10
"""Times the tolerance: on noise rounding may show more than on pictures, where verify asks again.
Weights that two layers share move boxes by tens of pixels."""

_CONVS = ("Conv", "DWConv")
_SOURCE = "Give the best.pt of the training."


def check_size(path: Path, network: Any) -> None:
    """Raise InputError for more layers or weights than any YOLOv8 has: a small storage can be shown
    as a huge tensor, and a few layers can hold each other a million times over."""
    waiting, count = [network], 0
    while waiting:
        count += 1
        if count > MAX_LAYERS:
            raise InputError(
                f"Expected a YOLOv8 detect network in {path}, got one of more than {MAX_LAYERS} "
                "layers. Give the .pt that Ultralytics saves, or do not trust it."
            )
        waiting += [one for one in waiting.pop()._modules.values() if one is not None]
    tensors = [*network.parameters(), *network.buffers()]
    if (size := 4 * sum(tensor.numel() for tensor in tensors)) > MAX_BYTES:
        raise too_large(path, size)


def check_kind(path: Path, network: Any) -> None:
    """Raise InputError unless it is a YOLOv8 that can be exported, takes colour pictures, was saved
    before fusing, and has weights as floating-point numbers."""
    if not any(type(one).__name__ == "C2f" for one in network.modules()):
        raise InputError(
            f"Expected a YOLOv8 detect checkpoint (n, s, m, l, x), got another network in {path}: "
            "it has no layer C2f, of which YOLOv8 is built. YOLOv3 is such a one."
        )
    if (channels := network.model[0].conv.in_channels) != 3:
        raise InputError(
            f"Expected a network for colour pictures (3 channels), got one for {channels} in "
            f"{path}. Jetrail serves YOLOv8 on colour pictures; train without `channels`."
        )
    if any(type(one).__name__ in _CONVS and not hasattr(one, "bn") for one in network.modules()):
        raise InputError(
            f"Expected the weights of a training, got {path}, which was saved after fusing its "
            "layers. Give the best.pt of the training."
        )
    if any(type(one).__name__ == "C2f" and not _halves(one) for one in network.modules()):
        raise InputError(
            f"Expected layers C2f that split what they compute into two halves in {path}, got "
            "others, as after pruning, which no export takes. Give the best.pt of the training."
        )
    if network.model[-1].xyxy:
        raise InputError(
            f"Expected a head that gives boxes as centre and size in {path}, got one with `xyxy`, "
            f"which gives corners, as for some exports. {_SOURCE}"
        )
    if loose := _loose_activation(network):
        raise InputError(
            f"Expected activations as YOLOv8 has them, each in a Conv, in {path}, got one as layer "
            f"{loose}, which alters what other layers read. {_SOURCE}"
        )
    for one in network.modules():
        if type(one).__name__ == "Upsample" and (odd := _odd_upsample(one)):
            raise InputError(
                f"Expected layers Upsample that make each side whole times larger, in the mode "
                f"`nearest`, in {path}, got {odd}, which no export takes. {_SOURCE}"
            )
    for name, tensor in network.named_parameters():
        if not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(
                f"Expected weights as floating-point numbers in {path}, got {name} in {kind}. Give "
                "the best.pt of the training; `pipeline quantize` makes INT8 from it."
            )


def _halves(layer: Any) -> bool:
    """Whether a C2f splits as the export does, which takes the width that it notes of itself; it
    runs without."""
    return bool(layer.cv1.conv.out_channels == 2 * layer.c)


def _loose_activation(network: Any) -> str | None:
    """Name of a SiLU that is not a Conv's own: computed in place, as Ultralytics has it after
    loading, it alters what a C2f or a SPPF still passes on."""
    kinds = {
        name: type(one).__name__ for name, one in network.named_modules(remove_duplicate=False)
    }
    own = {f"{name}.act" for name, kind in kinds.items() if kind in _CONVS}
    loose = (name for name, kind in kinds.items() if kind == "SiLU" and name not in own)
    return next(loose, None)


def _odd_upsample(layer: Any) -> str | None:
    """What of an Upsample ONNX, with sizes that are fixed, has not."""
    if layer.mode not in ("nearest", "bilinear", "bicubic"):
        return f"the mode {layer.mode!r}"
    if getattr(layer, "recompute_scale_factor", None):
        return "its scale computed anew"
    if layer.size is not None:
        return f"the size {layer.size!r}"
    scale = layer.scale_factor
    factors = scale if isinstance(scale, tuple) else (scale,)
    if not all(isinstance(one, int | float) and one in range(1, 65) for one in factors):
        return f"the scale {scale!r}"
    return None


def check_numbers(path: Path, network: Any) -> None:
    """Raise InputError where a weight is NaN or infinite."""
    for name, tensor in network.state_dict().items():
        if not tensor.isfinite().all():
            raise InputError(
                f"Expected finite weights in {path}, but {name} holds NaN or infinity: the "
                "training diverged. Take an earlier checkpoint."
            )


def class_names(path: Path, network: Any) -> tuple[str, ...]:
    """Names in the order of the outputs. Raises InputError where some lack or are blank, or two
    look equal."""
    given = network.names
    if not isinstance(given, dict | list | tuple):  # a set has no order
        raise InputError(
            f"Expected names of the classes by number or in a list in {path}, got them as "
            f"{type(given).__name__}. {_name_them(path)}"
        )
    table = dict(given) if isinstance(given, dict) else dict(enumerate(given))
    count = int(network.model[-1].nc)
    if len(table) != count or any(index not in table for index in range(count)):
        got = ", ".join(repr(index)[:40] for index in list(table)[:12])
        more = f" and {len(table) - 12} more" if len(table) > 12 else ""
        raise InputError(
            f"Expected names for the classes 0 to {count - 1} in {path}, got {len(table)} names, "
            f"for {got or 'none'}{more}. {_name_them(path)}"
        )
    names = tuple(str(table[index]) for index in range(count))
    if odd := [name for name in names if name.encode(errors="replace").decode() != name]:
        raise InputError(
            f"Expected names of classes that can be written as UTF-8 in {path}, got {odd[0]!r}. "
            f"Give it another in the data.yaml. {_name_them(path)}"
        )
    if blank := [index for index, name in enumerate(names) if not shown(name)]:
        raise InputError(
            f"Expected names that can be read for the classes in {path}, got {names[blank[0]]!r} "
            f"for class {blank[0]}: of its boxes nobody could say what they are. Give it a name in "
            f"the data.yaml. {_name_them(path)}"
        )
    # Two that look alike, by blanks or by how Unicode writes an accent, nobody could tell apart.
    alike = [normalize("NFC", shown(name, most=len(name))) for name in names]
    if equal := sorted(name for name, times in Counter(alike).items() if times > 1):
        written = [name for name, one in zip(names, alike, strict=True) if one == equal[0]]
        how = f", as {written[0]!a} and {written[1]!a}" if written[0] != written[1] else ""
        raise InputError(
            f"Expected different names for the classes in {path}, got {equal[0]!r} more than once"
            f"{how}. Give each its own in the data.yaml. {_name_them(path)}"
        )
    return names


def _name_them(path: Path) -> str:
    return (
        "Save the checkpoint with a name for each class, in their order "
        f"(`{named(path)}`), and give named.pt."
    )


def strides(path: Path, network: Any) -> tuple[int, ...]:
    """Pixels per cell of each level.

    Raises InputError for anything but a few small numbers, and where the head, which makes boxes
    of them, has others.
    """
    given, head = network.stride, network.model[-1].stride
    found = given.flatten().tolist() if given.numel() <= MAX_LEVELS else []
    if not found or any(one not in range(1, MAX_STRIDE + 1) for one in found):
        raise InputError(
            f"Expected strides from 1 to {MAX_STRIDE} pixels of the network in {path}, got "
            f"{found or given.numel()}. Give the .pt that Ultralytics saves."
        )
    if head.numel() != len(found) or head.flatten().tolist() != found:
        raise InputError(
            f"Expected the head of the network in {path} to have its strides, {found}, got "
            f"{head.flatten()[:MAX_LEVELS].tolist()}. Give the .pt that Ultralytics saves."
        )
    return tuple(int(one) for one in found)


def check_runs(
    path: Path, forward: Callable[[tuple[int, int]], Any], levels: tuple[int, ...], classes: int
) -> dict[tuple[int, int], Any]:
    """The raw outputs on small pictures, by their height and width. Raises InputError unless there
    are boxes in each.

    `forward` takes height and width of a picture in pixels and gives the raw output, shape
    (1, 4 + classes, anchors).
    """
    shapes = [(high * max(levels), wide * max(levels)) for high, wide in _CELLS]
    return {shape: _run(path, forward, shape, levels, classes) for shape in shapes}


def _run(
    path: Path,
    forward: Callable[[tuple[int, int]], Any],
    shape: tuple[int, int],
    levels: tuple[int, ...],
    classes: int,
) -> Any:
    high, wide = shape
    expected = (1, 4 + classes, sum((high // one) * (wide // one) for one in levels))
    try:
        output = forward(shape)
    except MemoryError:
        raise
    # Whatever PyTorch and Ultralytics make of weights and settings that do not fit together.
    except Exception as error:
        raise InputError(
            f"Expected the network in {path} to run, but it does not ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}). {_SOURCE}"
        ) from error
    if output.shape != expected:
        raise InputError(
            f"Expected an output of shape {expected} of the network in {path} on {wide} x {high} "
            f"pixels, got {tuple(output.shape)}. Give the .pt that Ultralytics saves."
        )
    if not bool(abs(output).max() < float("inf")):
        raise InputError(
            f"Expected finite numbers from the network in {path} on a picture of noise, got NaN or "
            "infinity: the training diverged. Take an earlier checkpoint."
        )
    return output


def check_fused(
    path: Path,
    expected: Mapping[tuple[int, int], Any],
    fused: Callable[[], Callable[[tuple[int, int]], Any]],
) -> None:
    """Raise InputError unless the fused network, of which `fused` gives the forward, gives what it
    gave before on each picture, but for rounding."""
    try:
        forward = fused()
        apart = [abs(forward(shape) - raw) for shape, raw in expected.items()]
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise InputError(
            f"Expected layers that can be fused in {path}, as an export does, but they cannot "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]}). {_SOURCE}"
        ) from error
    for one in apart:
        pixels, scores = one[:, :4].max(), one[:, 4:].max()
        if not (pixels <= _ON_NOISE * TOLERANCE_PX and scores <= _ON_NOISE * TOLERANCE_SCORES):
            raise InputError(
                f"Expected the network in {path} to give the same boxes once its layers are fused, "
                f"as an export does, got others, up to {pixels:.3g} pixels and {scores:.3g} of a "
                "score away: some of its layers share their weights, or compute such large numbers "
                f"that their rounding shows. {_SOURCE}"
            )
