"""Activations that float16 cannot hold, told from the calibration's histograms."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.onnx.ranges import Histogram

FLOAT16_MAX = 65504.0
MARGIN = 2.0
"""Other pictures than those of the calibration may reach so many times further."""


def float16_notes(histograms: Mapping[str, Histogram]) -> tuple[str, ...]:
    """A sentence where activations come near or beyond the largest float16: such a model may find
    nothing as float16, and as INT8 with float16 around it."""
    worst = max(histograms, key=lambda name: histograms[name].largest, default="")
    many = sum(one.largest >= FLOAT16_MAX / MARGIN for one in histograms.values())
    if not many:
        return ()
    largest = histograms[worst].largest
    how = "beyond" if largest > FLOAT16_MAX else "near"
    return (
        f"Activations of {many} tensor(s) come {how} the largest float16, {FLOAT16_MAX:g}: {worst} "
        f"reaches {largest:.6g} on calibration pictures. Float16 may overflow there: take the fp32 "
        "engine, or train the model again with weight decay.",
    )
