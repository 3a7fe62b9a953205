"""Read what a checkpoint's pickle would do without doing it.

`torch.load(weights_only=True)` with a model class as safe global is not enough: it still lets a
pickle *call* that class, and `DetectionModel({"activation": "<python>"})` runs `eval` on the string
(ultralytics/nn/tasks.py, parse_model). So the pickle is first replayed with inert stand-ins, which
import and call nothing, and is refused unless

- every name that it imports is on an exact list;
- layers are only created empty and filled (NEWOBJ, BUILD), never called (REDUCE);
- no class or function is kept as a value, where later code could call it;
- no value names the same parts again and again, and no key is one of those or a number without
  bounds: to hash or to write such a one takes years, and no signal ends that.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from pipeline.intake.written_out import written_out

TORCH_LAYERS = (
    "torch.nn.modules.activation.SiLU",
    "torch.nn.modules.batchnorm.BatchNorm2d",
    "torch.nn.modules.container.ModuleList",
    "torch.nn.modules.container.Sequential",
    "torch.nn.modules.conv.Conv2d",
    "torch.nn.modules.linear.Identity",
    "torch.nn.modules.pooling.MaxPool2d",
    "torch.nn.modules.upsampling.Upsample",
)
ULTRALYTICS_LAYERS = (
    "ultralytics.nn.modules.block.Bottleneck",
    "ultralytics.nn.modules.block.C2",
    "ultralytics.nn.modules.block.C2f",
    "ultralytics.nn.modules.block.DFL",
    "ultralytics.nn.modules.block.SPPF",
    "ultralytics.nn.modules.conv.Concat",
    "ultralytics.nn.modules.conv.Conv",
    "ultralytics.nn.modules.conv.DWConv",
    "ultralytics.nn.modules.head.Detect",
    "ultralytics.nn.tasks.DetectionModel",
)
"""YOLOv8's layers. Ultralytics 8.3.0 and the next few built its head with DWConv, 8.4.0 to 8.4.90
and some more its SPPF with an Identity for activation."""

OLD_NAMES = {
    "ultralytics.nn.modules.Bottleneck": "ultralytics.nn.modules.block.Bottleneck",
    "ultralytics.nn.modules.C2": "ultralytics.nn.modules.block.C2",
    "ultralytics.nn.modules.C2f": "ultralytics.nn.modules.block.C2f",
    "ultralytics.nn.modules.DFL": "ultralytics.nn.modules.block.DFL",
    "ultralytics.nn.modules.SPPF": "ultralytics.nn.modules.block.SPPF",
    "ultralytics.nn.modules.Concat": "ultralytics.nn.modules.conv.Concat",
    "ultralytics.nn.modules.Conv": "ultralytics.nn.modules.conv.Conv",
    "ultralytics.nn.modules.Detect": "ultralytics.nn.modules.head.Detect",
    "ultralytics.yolo.utils.IterableSimpleNamespace": "ultralytics.utils.IterableSimpleNamespace",
}
"""Where early Ultralytics 8.0 had the same classes; its checkpoints still name them so."""

NAMESPACE = "ultralytics.utils.IterableSimpleNamespace"
"""Training arguments of a checkpoint that was not stripped; filled like a dictionary."""

LAYERS = frozenset(TORCH_LAYERS + ULTRALYTICS_LAYERS) | (OLD_NAMES.keys() - {NAMESPACE})
NUMPY = (
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)
"""Metrics of a training run are NumPy scalars."""

PATHS = frozenset(
    f"{module}.{kind}Path"
    for module in ("pathlib", "pathlib._local")
    for kind in ("Posix", "PurePosix", "PureWindows", "Windows")
)
"""Training arguments hold paths; they are loaded as text."""

MAX_BYTES = 2 << 30
"""Of a checkpoint, packed and unpacked: YOLOv8x with optimizer and averaged weights has 1.1 GB."""

MAX_VALUES = 1_000_000
"""In one dictionary, list or tuple, written out."""
_LONGEST_INT, _MAX_LONG = 64, 100
"""Bits of a seed, and how many longer numbers there may be: a set compares each with all."""

_BYTES = {"Double": 8, "Long": 8, "Float": 4, "Int": 4, "BFloat16": 2, "Half": 2}

RANGES = frozenset(("__builtin__.xrange", "builtins.range"))
"""Training arguments such as `classes=range(3)`; they are loaded as lists."""

CALLED = (
    PATHS
    | RANGES
    | frozenset(
        (
            "__builtin__.set",
            "builtins.set",
            "_codecs.encode",
            "collections.OrderedDict",
            "torch.Size",
            "torch.device",
            "torch._utils._rebuild_parameter",
            "torch._utils._rebuild_tensor_v2",
            NAMESPACE,
            "ultralytics.yolo.utils.IterableSimpleNamespace",
            *NUMPY,
        )
    )
)
"""Names that a checkpoint calls while it loads; all but the namespace build plain data."""

STORAGES = frozenset(
    f"torch.{kind}Storage"
    for kind in ("BFloat16", "Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long")
)
OTHER_STORAGES = {
    **dict.fromkeys(
        (f"torch.{kind}Storage" for kind in ("QInt8", "QInt32", "QUInt8", "QUInt4x2", "QUInt2x4")),
        "quantized",
    ),
    **dict.fromkeys((f"torch.Complex{kind}Storage" for kind in ("Float", "Double")), "complex"),
    "torch.storage.UntypedStorage": "of 8 bits, or another kind without a name of its own",
}
ALLOWED = LAYERS | CALLED | STORAGES


class Refused(Exception):
    """The pickle does what no YOLOv8 checkpoint does; the text says what."""


class OtherNumbers(Exception):
    """The pickle keeps numbers of a kind that no training does; the text names it."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """What the pickle names, and the plain data in it with inert objects for all else."""

    names: frozenset[str]
    tree: Any

    @property
    def foreign(self) -> list[str]:
        """Names that are not on the list, sorted."""
        return sorted(self.names - ALLOWED)


class _Kind(type):
    """Type of the stand-ins for imported names; calling one only notes that it was called."""

    path: str
    scanner: _Scanner

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        cls.scanner.called.add(cls.path)
        return _Inert.__new__(cast(Any, cls), *args)


class _Inert(metaclass=_Kind):
    """Stands for an object of an imported class; holds what the pickle would give it."""

    path = ""
    held: list[Any]
    state: Any

    def __new__(cls, *args: Any) -> Any:
        self = object.__new__(cls)
        self.held, self.state = list(args), None
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.held += [key, value]

    def append(self, value: Any) -> None:
        self.held.append(value)

    def extend(self, values: Any) -> None:
        self.held.extend(values)


_HASHED = {
    pickle.SETITEM: slice(-2, -1),
    pickle.SETITEMS: slice(0, None, 2),
    pickle.DICT: slice(0, None, 2),
    pickle.ADDITEMS: slice(None),
    pickle.FROZENSET: slice(None),
}
"""Which values of the stack each of these commands takes the hash of."""


def _checking(load: Callable[[Any], None], keys: slice) -> Callable[[Any], None]:
    def checked(self: Any) -> None:
        if any(isinstance(key, tuple | frozenset) or _is_long(key) for key in self.stack[keys]):
            self.odd_keys = True
            self.stack[keys] = [None for _ in self.stack[keys]]
        load(self)

    return checked


def _is_long(value: Any) -> bool:
    """Whole numbers of any length can all have one hash, if somebody wants it."""
    return isinstance(value, int) and value.bit_length() > _LONGEST_INT


class _Scanner(pickle._Unpickler):
    """Python's own unpickler: the one in C hashes a key before anybody can look at it."""

    dispatch: ClassVar[Any] = pickle._Unpickler.dispatch | {
        code[0]: _checking(pickle._Unpickler.dispatch[code[0]], keys)
        for code, keys in _HASHED.items()
    }

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self.names: set[str] = set()
        self.called: set[str] = set()
        self.odd_keys = False
        self._kinds: dict[str, _Kind] = {}
        self._storages: dict[str, int] = {}

    def find_class(self, module: str, name: str) -> Any:
        path = f"{module}.{name}"
        self.names.add(path)
        if path not in self._kinds:
            self._kinds[path] = _Kind(name, (_Inert,), {"path": path, "scanner": self})
        return self._kinds[path]

    def persistent_load(self, pid: Any) -> Any:
        """A tensor's storage: ("storage", type, key, device, elements)."""
        if not (isinstance(pid, tuple) and [*map(type, pid)] == [str, _Kind, str, str, int]):
            raise pickle.UnpicklingError("a storage is not described as torch.save does it")
        if pid[1].path in OTHER_STORAGES:
            raise OtherNumbers(f"some in {pid[1].path} ({OTHER_STORAGES[pid[1].path]})")
        if pid[1].path not in STORAGES:
            raise Refused(f"it keeps numbers in {pid[1].path}")
        kind = pid[1].path.removeprefix("torch.").removesuffix("Storage")
        if pid[4] < 0:
            raise pickle.UnpicklingError("a storage has no size")
        self._storages[pid[2]] = pid[4] * _BYTES.get(kind, 1)
        if sum(self._storages.values()) > MAX_BYTES:
            raise Refused(f"its tensors take more than {MAX_BYTES >> 30} GiB")
        return None


def scan(data: bytes) -> Scan:
    """Replay a pickle with stand-ins. Raises Refused, OtherNumbers, or pickle.UnpicklingError when
    damaged."""
    scanner = _Scanner(data)
    try:
        tree = scanner.load()
    except (Refused, OtherNumbers, pickle.UnpicklingError):
        raise
    except Exception as error:  # a hostile pickle may raise anything
        found = Scan(names=frozenset(scanner.names), tree=None)
        if found.foreign:
            return found
        said = "it ends too early" if isinstance(error, EOFError) else repr(error)
        raise pickle.UnpicklingError(said) from error
    result = Scan(names=frozenset(scanner.names), tree=tree)
    if not result.foreign:
        _check_use(scanner, tree)
    return result


def _check_use(scanner: _Scanner, tree: Any) -> None:
    if called := sorted(scanner.called - CALLED):
        raise Refused(f"it calls {called[0]}, which could run code from the file")
    if scanner.odd_keys:
        raise Refused("its keys are no names and numbers, and to compare them may take years")
    known, long = dict[int, int](), 0
    for value in _walk(tree):
        if isinstance(value, _Kind):
            raise Refused(f"it keeps {value.path} as a value, which later code could call")
        long += _is_long(value)
        if long > _MAX_LONG or written_out(value, MAX_VALUES, known) > MAX_VALUES:
            raise Refused("it holds what may take years to write out or to compare")


def _walk(tree: Any) -> Iterator[Any]:
    """Every value in the tree once; without recursion, since a hostile tree may be deep."""
    seen: set[int] = set()
    waiting = [tree]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += value
        elif isinstance(value, _Inert):
            waiting += [*value.held, value.state]


def attributes(value: Any) -> dict[str, Any]:
    """The state of an inert layer as far as it is a dictionary with text keys; else empty."""
    state = value.state if isinstance(value, _Inert) else value
    return {k: v for k, v in state.items() if isinstance(k, str)} if isinstance(state, dict) else {}
