"""What stands in memory for the metrics, paths and ranges that a checkpoint holds: plain values."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

from pipeline.intake.checkpoint_scan import PATHS, RANGES

_NUMBERS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1")
"""NumPy's kinds of the metrics of a training."""

_LONGEST_RANGE = 100_000
"""Numbers: a hostile one would fill the memory as a list."""


def _number_kind(name: object, *_: object) -> Any:
    """A kind of numbers: other kinds of NumPy's may take any space."""
    if name not in _NUMBERS:
        raise pickle.UnpicklingError(f"{str(name)[:20]!r} is no kind of a metric")
    return np.dtype(str(name))


def _path_text(*parts: object) -> str:
    """A path as text, so that no object of a checkpoint stands for a place on this machine."""
    return "/".join(map(str, parts))


def _range_list(*bounds: int) -> list[int]:
    return list(range(*bounds)[:_LONGEST_RANGE])


_SCALAR = np.float64(0).__reduce__()[0]

STAND_INS: dict[str, Any] = {
    "numpy.core.multiarray.scalar": _SCALAR,
    "numpy._core.multiarray.scalar": _SCALAR,
    "numpy.dtype": _number_kind,
    **dict.fromkeys(PATHS, _path_text),
    **dict.fromkeys(RANGES, _range_list),
}
"""By the names that checkpoints use."""

NUMBER_KINDS = [type(np.dtype(kind)) for kind in _NUMBERS]
"""NumPy's classes of those kinds, which torch asks for by themselves."""
