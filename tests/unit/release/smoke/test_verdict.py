"""What a pod says of an engine in a container, against what was published of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engines.errors import JetrailError, ServiceError, WrongEngine
from release.smoke.tool import Done
from release.smoke.verdict import read_answer, shortcomings, times_of
from tests.unit.release.publications import PUBLICATION

PUBLISHED = PUBLICATION.model_copy(update={"judged": {"golden.npz": "e" * 64}})
ANSWER: dict[str, Any] = {
    "schema": 1,
    "ok": True,
    "release": PUBLICATION.release,
    "engine_sha256": PUBLICATION.engine_sha256,
    "device": "a processor",
    "golden": {
        **{"sha256": "e" * 64, "frames": 8, "objects": 40, "missing": 0, "unexpected": 0},
        "confidence_difference": 0.001,
    },
    "times": {"count": 207, "p50_ms": 12.0, "p99_ms": 16.0},
}


def problems(**changes: Any) -> list[str]:
    answer = read_answer(Done(0, json.dumps(ANSWER | changes), ""))
    return shortcomings(answer, times_of(answer, PUBLISHED), PUBLISHED)


def test_what_was_published_runs() -> None:
    assert problems() == []
    assert problems(more="of a newer runtime") == []
    answer = read_answer(Done(0, json.dumps(ANSWER), ""))
    times = times_of(answer, PUBLISHED)
    assert (times.p99_ms, times.judged_p99_ms, times.limit_p99_ms) == (16.0, 15.0, 30.0)
    assert answer.boxes().objects == 40


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"engine_sha256": "b" * 64}, "expected the engine 3f2a91c04b7e"),
        ({"release": "v1.0-x86-openvino-fp16-000000000000"}, "expected the release v1.0"),
        ({"golden": ANSWER["golden"] | {"sha256": "b" * 64}}, "expected the golden.npz eeee"),
        ({"golden": ANSWER["golden"] | {"missing": 2}}, "2 golden boxes are missing and 0 others"),
        (
            {"times": ANSWER["times"] | {"p99_ms": 30.5}},
            "p99 of a frame is 30.5 ms in the container, the budget is 30 ms and 15 ms",
        ),
    ],
)
def test_what_fails(changes: dict[str, Any], said: str) -> None:
    (problem,) = problems(**changes)
    assert said in problem


def test_the_pod_s_refusal_is_told_as_it_is() -> None:
    done = Done(5, '{"ok": false}', "WARNING: a library\nerror: engine.blob was altered.\n")
    with pytest.raises(WrongEngine, match=r"^engine\.blob was altered\.$"):
        read_answer(done)


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (Done(2, "", "error: Expected the public keys"), "ended with 2: Expected the public keys"),
        (Done(137, "", ""), "ended with 137: it said nothing"),
        (Done(0, "hello", ""), "got something else"),
        (Done(0, "{}", ""), "got something else"),
    ],
)
def test_anything_else_is_the_container_s_fault(done: Done, said: str) -> None:
    with pytest.raises(ServiceError, match=said):
        read_answer(done)


def test_a_verdict_without_times_is_told() -> None:
    answer = read_answer(Done(0, json.dumps(ANSWER), ""))
    with pytest.raises(JetrailError, match="has no frame_p99_ms"):
        times_of(answer, PUBLICATION.model_copy(update={"checks": ()}))
