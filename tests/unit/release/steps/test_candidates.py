"""What becomes of a candidate of which nothing passes. MLflow need not be asked here; publishing
itself is tried in tests/integration."""

from __future__ import annotations

from typing import Any

import pytest

from engines.config.workspace import Workspace
from engines.records.record import VerdictName
from release.records import Candidate, Candidates, candidates_path
from release.steps.publish import publish

TARGET = "x86-openvino"


@pytest.fixture
def released(workspace: Workspace, add_engine: Any) -> Candidate:
    """The candidate of an earlier time: meter-fp16."""
    candidate = Candidate(
        release=f"v1.0-{TARGET}-fp16-0123456789ab", engine="meter-fp16", reason=""
    )
    Candidates(target=TARGET, policy="fastest", candidates={"meter": candidate}, skipped={}).write(
        candidates_path(workspace, TARGET)
    )
    return candidate


@pytest.mark.parametrize(
    ("fp16", "fp32", "stays"),
    [
        ("INVALID", "INVALID", True),
        ("INVALID", "FAIL", True),
        ("FAIL", "INVALID", False),
        ("FAIL", "FAIL", False),
    ],
)
def test_invalid_is_not_counted_against_a_candidate(
    workspace: Workspace,
    released: Candidate,
    add_engine: Any,
    fp16: VerdictName,
    fp32: VerdictName,
    stays: bool,
) -> None:
    add_engine("fp16", verdict=fp16)
    add_engine("fp32", verdict=fp32)
    said: list[str] = []
    now = publish(workspace, TARGET, None, said.append).candidates
    assert now.candidates == ({"meter": released} if stays else {})
    assert now.skipped == {"meter-fp32": fp32, "meter-fp16": fp16}
    assert Candidates.read(candidates_path(workspace, TARGET)) == now
    before = candidates_path(workspace, TARGET).read_bytes()
    publish(workspace, TARGET, None, said.append)
    assert candidates_path(workspace, TARGET).read_bytes() == before


def test_one_engine_says_nothing_of_the_others(
    workspace: Workspace, released: Candidate, add_engine: Any
) -> None:
    add_engine("fp16", verdict="FAIL")
    now = publish(workspace, TARGET, "meter-fp16", lambda _: None).candidates
    assert now.candidates == {"meter": released}
    assert now.skipped == {"meter-fp16": "FAIL"}
    add_engine("fp32", verdict="INVALID")
    now = publish(workspace, TARGET, "meter-fp32", lambda _: None).candidates
    assert now.skipped == {"meter-fp32": "INVALID", "meter-fp16": "FAIL"}
