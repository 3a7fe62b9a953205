"""What a checkpoint is that is not a YOLOv8 detect network, by the names in its pickle."""

from __future__ import annotations

import re
from pathlib import Path

from pipeline.intake.checkpoint_scan import Scan, attributes
from pipeline.intake.saved_anew import of_a_whole, plain, unpruned, unwrapped

_TASKS = {
    "ultralytics.nn.tasks.SegmentationModel": "segment",
    "ultralytics.nn.tasks.PoseModel": "pose",
    "ultralytics.nn.tasks.ClassificationModel": "classify",
    "ultralytics.nn.tasks.OBBModel": "obb",
    "ultralytics.nn.tasks.RTDETRDetectionModel": "RT-DETR detect",
    "ultralytics.nn.tasks.WorldModel": "open-vocabulary detect",
    "ultralytics.nn.tasks.YOLOEModel": "open-vocabulary detect",
    "ultralytics.nn.tasks.YOLOESegModel": "open-vocabulary segment",
}
_WRAPPERS = (
    "torch.nn.parallel.data_parallel.DataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
    "torch._dynamo.eval_frame.OptimizedModule",
)

_TENSORS = {
    "torch._utils._rebuild_meta_tensor_no_storage": "tensors on the device `meta`, without numbers",
    "torch._utils._rebuild_sparse_tensor": "sparse tensors",
    "torch._utils._rebuild_nested_tensor": "nested tensors",
    "torch._utils._rebuild_qtensor": "quantized tensors",
}
_PRUNED = "torch.nn.utils.prune."
_NETWORK = ("torch.nn.modules.", "ultralytics.nn.")
_WHOLE = re.compile(r"ultralytics\.(models|yolo)\.[\w.]*\.YOLO\w*")
_LOSS = re.compile(r"torch\.nn\.modules\.loss\.|ultralytics\.(yolo\.)?utils\.(loss|tal)\.")
"""Saved by many an Ultralytics while it trains (last.pt, epoch10.pt); best.pt has none of them."""
_OMEGACONF = re.compile(
    r"omegaconf\.|typing\.|collections\.defaultdict$|(__builtin__|builtins)\.(dict|list|int|str)$"
)
"""Training arguments of Ultralytics before 8.0.17, in `model` too, where stripping leaves them."""

_ELSEWHERE = re.compile(r"(\w+\.)?models\.|__main__\.")
"""Layers of YOLOv5, v6, v7 and v9 in their own repositories, and of somebody's own script."""


def not_ours(path: Path, found: Scan) -> str:
    """What to say of a checkpoint that names what no YOLOv8 detect checkpoint does."""
    return (
        _wrapped(path, found)
        or _other_task(path, found)
        or _fused(path, found)
        or _other_tensors(path, found)
        or _unfinished(path, found)
        or _early(path, found)
        or _other_network(path, found)
        or _other_code(path, found)
        or _untrusted(path, found)
    )


def _wrapped(path: Path, found: Scan) -> str | None:
    for name in found.foreign:
        if name in _WRAPPERS:
            kind = name.rpartition(".")[2]
            return (
                f"Expected the network itself in {path}, got one in a {kind}, as a model is while "
                "it trains. Nothing in it was run. Give the best.pt of the training; of one of "
                f"your own, take the network out (`{unwrapped(path)}`), and give plain.pt."
            )
        if _WHOLE.fullmatch(name):
            return (
                f"Expected the .pt that training saves in {path}, got all of a YOLO object, as "
                "`torch.save` writes it. Nothing in it was run. Give the best.pt of the training; "
                f"of one of your own, take the network out (`{of_a_whole(path)}`), and give "
                "plain.pt."
            )
    return None


def _unfinished(path: Path, found: Scan) -> str | None:
    if not all(_LOSS.match(name) for name in found.foreign):
        return None
    return (
        f"Expected the weights of a training, got {path}, which was saved while it trained, with "
        "its loss, which is code. Nothing in it was run. Give the best.pt from the end of the "
        f"training; of a training of your own that broke off, save this one without "
        f"(`{plain(path)}`), and give plain.pt."
    )


def _early(path: Path, found: Scan) -> str | None:
    others = [name for name in found.foreign if not _LOSS.match(name)]
    theirs = any(name.startswith("omegaconf.") for name in others)
    if not (theirs and all(_OMEGACONF.match(name) for name in others)):
        return None
    return (
        f"Expected training arguments as plain data in {path}, got objects of omegaconf, as "
        "Ultralytics 8.0.0 to 8.0.16 saved them, which are code. Nothing in it was run. If you "
        "trained it yourself, save it without (`pip install omegaconf`, then "
        f"`{plain(path)}`), and give plain.pt; else train anew."
    )


def _other_task(path: Path, found: Scan) -> str | None:
    for name in found.foreign:
        if name in _TASKS:
            return (
                f"Expected a checkpoint for detect, got one for {_TASKS[name]}: {path} holds "
                f"{name.rpartition('.')[2]}. Jetrail serves YOLOv8 detect (n, s, m, l, x): train "
                "one, and give its best.pt."
            )
    return None


def _fused(path: Path, found: Scan) -> str | None:
    if set(found.foreign) <= {"builtins.getattr", "__builtin__.getattr"}:
        return (
            f"Expected the weights of a training, got {path}, which keeps bound methods, as a "
            "model does that was saved after fusing. Nothing in it was run. Give the best.pt of "
            "the training."
        )
    return None


def _other_tensors(path: Path, found: Scan) -> str | None:
    for name in found.foreign:
        if name.startswith(_PRUNED):
            return (
                f"Expected plain weights in {path}, got weights that are being pruned ({name}). "
                "Nothing in it was run. If you trust the file, save it with the pruned ones "
                f"(`{unpruned(path)}`), and give plain.pt."
            )
        if kind := _TENSORS.get(name):
            return (
                f"Expected plain weights in {path}, got {kind} ({name}). Nothing in it was run. "
                "Give the best.pt of the training, or make the weights plain and save them again."
            )
    return None


def _other_network(path: Path, found: Scan) -> str | None:
    foreign = [name for name in found.foreign if not _LOSS.match(name)]
    if not all(name.startswith(_NETWORK) for name in foreign):
        return None
    layers = ", ".join(name.rpartition(".")[2] for name in foreign[:4])
    return (
        f"Expected a YOLOv8 detect checkpoint (n, s, m, l, x), got another network"
        f"{_origin(found)}: {path} holds the layers {layers}, which YOLOv8 does not have. "
        "Train a YOLOv8 with the package ultralytics, and give its best.pt."
    )


def _other_code(path: Path, found: Scan) -> str | None:
    others = [name for name in found.foreign if not name.startswith(_NETWORK)]
    if not all(_ELSEWHERE.match(name) for name in others):
        return None
    return (
        f"Expected a YOLOv8 detect checkpoint (n, s, m, l, x) of Ultralytics' own layers, got "
        f"{', '.join(others[:4])} in {path}, as YOLOv5, v7 and v9 of their own repositories have, "
        "or a network that was changed by a script, as by pruning. Nothing in it was run. Train a "
        "YOLOv8 with the package ultralytics, and give its best.pt."
    )


def _untrusted(path: Path, found: Scan) -> str:
    others = [name for name in found.foreign if not name.startswith(_NETWORK)]
    command = plain(path, namespace="argparse.Namespace" in others)
    return (
        f"Refused to load {path}: its pickle names {', '.join(others[:4])}, which is not on the "
        "list of what a YOLOv8 checkpoint needs, so loading it could run code. Nothing in it was "
        "run. If you trained it yourself, save the network without what else is in the file "
        f"(`{command}`), and give plain.pt; else do not trust it."
    )


def _origin(found: Scan) -> str:
    """The name of the network's configuration, such as ` (yolo11n.yaml)`, where it says."""
    content = found.tree if isinstance(found.tree, dict) else {}
    for key in ("ema", "model"):
        yaml = attributes(attributes(content.get(key)).get("yaml"))
        if isinstance(file := yaml.get("yaml_file"), str):
            return f" ({Path(file).name[:60]})"
    return ""
