"""Which passing engine becomes the candidate."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from release.records import Policy
from release.registry.policy import Candidate, choose

FP32 = Candidate(
    release="v1-t-fp32-a",
    engine="m-fp32",
    model="m",
    frame_p50_ms=40.0,
    map50_95=0.700,
    engine_bytes=12_000,
)
FP16 = replace(FP32, release="v1-t-fp16-b", engine="m-fp16", frame_p50_ms=12.0, map50_95=0.699)
INT8 = replace(
    FP32,
    release="v1-t-int8-c",
    engine="m-int8",
    frame_p50_ms=14.0,
    map50_95=0.690,
    engine_bytes=4_000,
)


@pytest.mark.parametrize(
    ("policy", "winner", "reason"),
    [
        ("fastest", FP16, "fastest: lowest frame p50 at batch 1, 12.00 ms, of 3 that passed"),
        ("most-accurate", FP32, "most-accurate: highest mAP50-95, 0.7000, of 3 that passed"),
        ("smallest", INT8, "smallest: smallest engine, 4000 bytes, of 3 that passed"),
    ],
)
def test_each_policy(policy: Policy, winner: Candidate, reason: str) -> None:
    choice = choose(policy, [FP32, FP16, INT8])["m"]
    assert choice.candidate == winner
    assert choice.reason == reason


def test_each_model_has_its_own() -> None:
    other = replace(INT8, model="a", engine="a-int8")
    assert {
        model: choice.candidate for model, choice in choose("fastest", [FP32, other, FP16]).items()
    } == {"a": other, "m": FP16}


def test_nothing_passed() -> None:
    assert choose("fastest", []) == {}


def test_ties() -> None:
    fast = replace(INT8, frame_p50_ms=FP16.frame_p50_ms)
    assert choose("fastest", [fast, FP16])["m"].candidate == FP16
    twin = replace(FP16, engine="m-a")
    assert choose("fastest", [FP16, twin])["m"].candidate == twin


@given(st.lists(st.sampled_from([FP32, FP16, INT8]), min_size=1), st.randoms())
def test_order_does_not_matter(candidates: list[Candidate], chance: random.Random) -> None:
    shuffled = candidates.copy()
    chance.shuffle(shuffled)
    for policy in ("fastest", "most-accurate", "smallest"):
        assert choose(policy, shuffled) == choose(policy, candidates)
