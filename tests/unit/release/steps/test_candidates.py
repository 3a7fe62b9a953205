"""What becomes of a candidate of which nothing passes. MLflow need not be asked here; publishing
itself is tried in tests/integration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from factories.paper import judge_again

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.evaluation import Evaluation
from engines.records.record import VerdictName
from release.records import Candidate, Candidates, MlflowEntry, candidates_path
from release.steps import publish as step
from release.steps.publish import publish
from release.tags import make_tag

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


class Store:
    """MLflow, as far as publishing asks it."""

    def version_of(self, name: str, release: str) -> int:
        return 1

    def has_files(self, submission: Any) -> bool:
        return True

    def publish(self, submission: Any) -> MlflowEntry:
        return MlflowEntry(
            tracking_uri="sqlite:///mlflow.db",
            experiment="jetrail/meter",
            run_id="0a",
            registered_model=submission.registered_model,
            version=1,
        )

    def point_alias(self, name: str, alias: str, version: int) -> None:
        assert alias == "candidate"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """What publishing finds in place of MLflow."""
    found = Store()

    @contextmanager
    def opened(root: Any) -> Iterator[Store]:
        yield found

    def described(workspace: Workspace, judged: Any, draw: Any) -> SimpleNamespace:
        name = f"meter.{TARGET}"
        return SimpleNamespace(registered_model=name, release=make_tag(judged.manifest).name)

    monkeypatch.setattr(step, "open_store", opened)
    monkeypatch.setattr(step, "describe", described)
    return found


@pytest.mark.parametrize(("fp32_ms", "chosen"), [(9.95, "meter-fp16"), (9.0, "meter-fp32")])
def test_the_candidate_stays_unless_another_is_better_by_more_than_chance(
    workspace: Workspace,
    released: Candidate,
    add_engine: Any,
    store: Store,
    fp32_ms: float,
    chosen: str,
) -> None:
    add_engine("fp16", p50_ms=10.0)
    add_engine("fp32", p50_ms=fp32_ms)
    now = publish(workspace, TARGET, None, lambda _: None).candidates
    assert now.candidates["meter"].engine == chosen


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_only_what_passed_is_published(
    workspace: Workspace, add_engine: Any, store: Store, verdict: VerdictName
) -> None:
    add_engine("fp16", p50_ms=10.0)
    add_engine("fp32", p50_ms=1.0, verdict=verdict)
    said: list[str] = []
    found = publish(workspace, TARGET, None, said.append)
    assert [one.engine for one in found.publications] == ["meter-fp16"]
    assert found.candidates.candidates["meter"].engine == "meter-fp16"
    assert found.candidates.skipped == {"meter-fp32": verdict}
    assert f"meter-fp32: {verdict}, so it is not published" in said
    written = {path.parent.name for path in workspace.records.glob("v*/publication.json")}
    assert written == {found.candidates.candidates["meter"].release}


def test_engines_that_were_evaluated_on_different_pictures_are_not_compared(
    workspace: Workspace, add_engine: Any, store: Store
) -> None:
    for precision, digit in (("fp16", "1"), ("fp32", "2")):
        add_engine(precision)
        evaluated_on(workspace, precision, digit)
    with pytest.raises(InputError) as raised:
        publish(workspace, TARGET, None, lambda _: None)
    assert "engines of meter evaluated on the same pictures" in str(raised.value)
    assert "meter-fp32" in str(raised.value)
    assert "meter-fp16" in str(raised.value)
    assert not candidates_path(workspace, TARGET).exists()
    evaluated_on(workspace, "fp32", "1")
    assert len(publish(workspace, TARGET, None, lambda _: None).publications) == 2


def evaluated_on(workspace: Workspace, precision: str, digit: str) -> None:
    """Note a set of pictures in the evaluation, and judge it."""
    engine = f"meter-{precision}"
    folder = workspace.engine(TARGET, engine)
    record = folder.read(Evaluation)
    folder.write(record.model_copy(update={"pictures_sha256": digit * 64}))
    judge_again(workspace, engine)
