"""Activations that float16 cannot hold, told from what a few pictures give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.onnx.head import find_head
from pipeline.onnx.quantizer import Taps

FLOAT16_MAX = 65504.0
MARGIN = 2.0
"""Other pictures than those that were tried may reach so many times further."""


def largest_activations(graph: Any, images: NDArray[np.uint8]) -> dict[str, float]:
    """The largest magnitude in what each convolution of the body reads, by tensor; `images`:
    letterboxed uint8 BGR, shape (n, height, width, 3), run one by one."""
    taps, largest = Taps(graph, find_head(graph).body), dict[str, float]()
    for image in images:
        for name, values in taps.run(image[None]).items():
            largest[name] = max(largest.get(name, 0.0), float(np.abs(values).max()))
    return largest


def float16_notes(largest: Mapping[str, float]) -> tuple[str, ...]:
    """A sentence where activations, given by their largest magnitude, come near or beyond the
    largest float16: such a model may find nothing as float16, and as INT8 with float16 around it.
    """
    worst = max(largest, key=lambda name: largest[name], default="")
    many = sum(one >= FLOAT16_MAX / MARGIN for one in largest.values())
    if not many:
        return ()
    how = "beyond" if largest[worst] > FLOAT16_MAX else "near"
    return (
        f"Activations of {many} tensor(s) come {how} the largest float16, {FLOAT16_MAX:g}: {worst} "
        f"reaches {largest[worst]:.6g} on the model's own pictures. Float16 may overflow there: "
        "take the fp32 engine, or train the model again with weight decay.",
    )
