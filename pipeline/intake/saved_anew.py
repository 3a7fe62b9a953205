"""Commands that save somebody's own checkpoint so that it can be taken: for those who trust it,
since they load it as Ultralytics does, with what it runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

_SAVED = (
    "args = {k: v for k, v in args.items() if type(v) in (bool, int, float, str, list)}; "
    "one.args, one.criterion = args, None; "
    "[(m._forward_hooks.clear(), m._forward_pre_hooks.clear()) for m in one.modules()]; "
    "torch.save(dict(model=one, train_args=args), sys.argv[2])"
)
"""Not by `YOLO.save`, which Ultralytics has since 8.1 only."""

_PLAIN = (
    "import sys, torch; from ultralytics import YOLO; one = YOLO(sys.argv[1]).model; "
    f"args = one.args; {_SAVED}"
)

_UNPRUNED = (
    "import sys, torch; from torch.nn.utils import prune; from ultralytics import YOLO; "
    "one = YOLO(sys.argv[1]).model; [prune.remove(m, n[:-5]) for m in one.modules() "
    f'for n in [*m._parameters] if n.endswith("_orig")]; args = one.args; {_SAVED}'
)

_NAMESPACE = (
    "from argparse import Namespace as N; "
    "N.keys, N.__getitem__ = (lambda s: vars(s).keys()), (lambda s, k: vars(s)[k]); "
)
"""So that Ultralytics, which unpacks the arguments of a training, can unpack these."""

_OF_A_WHOLE = (
    'import sys, torch; one = torch.load(sys.argv[1], map_location="cpu", weights_only=False); '
    "one = one.model; args = one.args if isinstance(one.args, dict) else vars(one.args); "
    f"{_SAVED}"
)

_UNWRAPPED = (
    "import sys, torch, torch.distributed as dist; "
    'dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1); '
    'one = torch.load(sys.argv[1], map_location="cpu", weights_only=False); '
    'one = one if isinstance(one, dict) else {"model": one}; net = one.get("ema") or one["model"]; '
    'net = getattr(net, "module", getattr(net, "_orig_mod", net)); '
    'args = one.get("train_args") or getattr(net, "args", None); '
    'torch.save({"model": net, "train_args": args}, sys.argv[2])'
)
"""Of a DistributedDataParallel nothing can be loaded without a group of processes."""

_NAMED = (
    "import sys, torch; from ultralytics import YOLO; one = YOLO(sys.argv[1]); "
    "one.model.names = dict(enumerate(sys.argv[3:])); "
    "torch.save({**one.ckpt, **dict(model=one.model, ema=None)}, sys.argv[2])"
)
_NAMES_SHOWN = 10


def plain(path: Path, *, namespace: bool = False) -> str:
    """The network of a checkpoint, and its training arguments as plain data, in plain.pt; where
    those are a `namespace` of argparse too."""
    return _command(f"{_NAMESPACE}{_PLAIN}" if namespace else _PLAIN, path, "plain.pt")


def unpruned(path: Path) -> str:
    """The network of a checkpoint that was saved while its weights were being pruned, with the
    pruned ones, in plain.pt."""
    return _command(_UNPRUNED, path, "plain.pt")


def of_a_whole(path: Path) -> str:
    """The network out of all of a YOLO object, in plain.pt."""
    return _command(_OF_A_WHOLE, path, "plain.pt")


def unwrapped(path: Path) -> str:
    """The network of a checkpoint out of what it was wrapped in, as Ultralytics keeps one, in
    plain.pt."""
    return _command(_UNWRAPPED, path, "plain.pt")


def named(path: Path, names: Sequence[str] = ()) -> str:
    """A checkpoint with other names of its classes, in named.pt; where `names` are not given, or
    are many, with words in their place."""
    words = shlex.join(names) if 0 < len(names) <= _NAMES_SHOWN else "NAME0 NAME1 …"
    return f"{_command(_NAMED, path, 'named.pt')} {words}"


def _command(code: str, path: Path, to: str) -> str:
    return shlex.join(["python", "-c", code, str(path), to])
