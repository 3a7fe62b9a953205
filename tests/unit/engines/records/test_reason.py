"""Of reasons that follow from each other people are told the cause."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.records.benchmark import Validity
from engines.records.reason import FOLLOW_FROM, Kind, Reason, causes

KINDS: tuple[Kind, ...] = get_args(Kind)


def told(*kinds: Kind) -> tuple[str, ...]:
    return causes([Reason(kind, kind) for kind in kinds])


@pytest.mark.parametrize(
    ("kinds", "cause"),
    [
        (("quiet", "undecided"), "quiet"),
        (("uncertain", "undecided"), "uncertain"),
        (("quiet", "drift", "contradiction", "undecided", "soak", "hot_undecided"), "quiet"),
        (("drift", "undecided"), "drift"),
        (("drift", "throttling", "clock", "temperature", "undecided"), "temperature"),
        (("power", "throttling", "clock"), "power"),
        (("over_current", "power", "throttling", "clock", "drift"), "over_current"),
        (("gpu_processes", "quiet", "cross_check"), "gpu_processes"),
        (("quota", "undecided", "soak_left_out", "not_soaked"), "quota"),
        (("unread", "soak_left_out", "not_soaked"), "unread"),
        (("contradiction", "undecided"), "contradiction"),
        (("unknown", "undecided"), "unknown"),
    ],
)
def test_a_cause_is_told_and_what_follows_from_it_is_not(
    kinds: tuple[Kind, ...], cause: Kind
) -> None:
    assert told(*kinds) == (cause,)


@pytest.mark.parametrize(
    "kinds",
    [
        ("temperature", "power"),
        ("unread", "undecided"),
        ("quiet", "temperature"),
        ("quiet", "found_nothing"),
        ("throttling", "hot_undecided"),
        ("undecided", "hot_undecided"),
        ("quiet", "soak_too_short"),
    ],
)
def test_what_has_a_remedy_of_its_own_is_told(kinds: tuple[Kind, ...]) -> None:
    assert told(*kinds) == kinds


@given(st.lists(st.sampled_from(KINDS), min_size=1))
def test_where_there_is_a_reason_something_is_told(kinds: list[Kind]) -> None:
    list(TopologicalSorter(FOLLOW_FROM).static_order())  # no circle
    assert told(*kinds)


def test_a_record_of_before_names_no_kinds() -> None:
    old = Validity.model_validate({"valid": False, "reasons": ["It was busy."], "attempts": 1})
    assert old.by_kind() == (Reason("unknown", "It was busy."),)
    assert old.causes() == ("It was busy.",)
