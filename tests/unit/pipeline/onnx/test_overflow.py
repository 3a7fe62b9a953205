"""Activations beyond float16 are said."""

from __future__ import annotations

import pytest

from pipeline.onnx.overflow import float16_notes


@pytest.mark.parametrize(
    ("largest", "said"),
    [(100.0, None), (30_000.0, None), (40_000.0, "near"), (70_000.0, "beyond")],
)
def test_the_largest_activation_decides(largest: float, said: str | None) -> None:
    notes = float16_notes({"small": 1.0, "/model.9/cv1": largest})
    if said is None:
        assert notes == ()
    else:
        assert f"1 tensor(s) come {said} the largest float16" in notes[0]
        assert f"/model.9/cv1 reaches {largest:.6g}" in notes[0]
