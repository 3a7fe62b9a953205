"""What becomes of a candidate of which nothing passes. MLflow need not be asked here; publishing
itself is tried in tests/integration."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import pytest
from factories.mlflow_double import MlflowDouble, put_in_place
from factories.paper import edit, judge_again, row_yaml

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.benchmark import Benchmark
from engines.records.evaluation import Evaluation
from engines.records.manifest import Manifest
from engines.records.record import VerdictName
from engines.records.verdict import Verdict
from release.records import (
    Candidate,
    Candidates,
    Figures,
    Quarantine,
    candidates_path,
    publication_path,
    quarantine_path,
    read_publication,
)
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


@pytest.mark.parametrize("only", [None, "meter-fp32"])
@pytest.mark.parametrize(("fp32_ms", "chosen"), [(12.0, "meter-fp16"), (8.0, "meter-fp32")])
def test_a_candidate_that_is_measured_in_vain_is_compared_as_it_was_published(
    workspace: Workspace,
    add_engine: Any,
    store: MlflowDouble,
    only: str | None,
    fp32_ms: float,
    chosen: str,
) -> None:
    """The machine was busy; the canary got a slower engine."""
    add_engine("fp32", p50_ms=12.0)
    add_engine("fp16", p50_ms=10.0)
    publish(workspace, TARGET, None, lambda _: None)
    add_engine("fp16", p50_ms=30.0, verdict="INVALID")
    add_engine("fp32", p50_ms=fp32_ms)
    now = publish(workspace, TARGET, only, lambda _: None).candidates
    assert now.candidates["meter"].engine == chosen


@pytest.mark.parametrize("only", [None, "meter-fp32"])
@pytest.mark.parametrize("fp16_verdict", ["PASS", "INVALID"])
def test_the_next_best_takes_the_place_of_a_quarantined_candidate(
    workspace: Workspace,
    add_engine: Any,
    store: MlflowDouble,
    only: str | None,
    fp16_verdict: VerdictName,
) -> None:
    """It stayed the candidate, so that the canary got none."""
    add_engine("fp16", p50_ms=8.0)
    first = told(workspace, "meter-fp16")[0].candidates["meter"].release
    at = datetime(2026, 11, 30, tzinfo=timezone.utc)
    banned = Quarantine(release=first, why="no boxes", by="Ada", at=at)
    banned.write(quarantine_path(workspace, first))
    # Alone it stays: nobody said that it is no release any more, and `write` leaves it out.
    found, said = told(workspace, "meter-fp16")
    assert found.candidates["meter"].release == first
    assert f"{first}: quarantined, so no ring gets it; nothing else passed" in said
    add_engine("fp32", p50_ms=12.0)
    add_engine("fp16", p50_ms=8.0, verdict=fp16_verdict)
    found, said = told(workspace, only)
    now = found.candidates["meter"]
    assert now.engine == "meter-fp32"
    assert store.release_at(f"meter.{TARGET}", "candidate") == now.release
    assert f"{first}: quarantined, so another engine that passed is the candidate" in said
    quarantine_path(workspace, first).unlink()
    assert told(workspace)[0].candidates["meter"].release == (
        first if fp16_verdict == "PASS" else now.release
    )


def test_one_engine_says_nothing_of_the_others(
    workspace: Workspace, released: Candidate, add_engine: Any
) -> None:
    add_engine("fp32", verdict="FAIL")
    now = publish(workspace, TARGET, "meter-fp32", lambda _: None).candidates
    assert now.candidates == {"meter": released}
    assert now.skipped == {"meter-fp32": "FAIL"}
    add_engine("fp16", verdict="INVALID")
    now = publish(workspace, TARGET, "meter-fp16", lambda _: None).candidates
    assert now.candidates == {"meter": released}
    assert now.skipped == {"meter-fp32": "FAIL", "meter-fp16": "INVALID"}


def test_one_engine_that_fails_is_no_candidate_any_more(
    workspace: Workspace, released: Candidate, add_engine: Any
) -> None:
    """It stayed the candidate, and `release write` gave it to the canary."""
    add_engine("fp16", verdict="FAIL")
    assert publish(workspace, TARGET, "meter-fp16", lambda _: None).candidates.candidates == {}


def test_a_release_whose_engine_fails_later_is_told_until_it_passes_again(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    """Its record says PASS for ever, and a manager's clone has no engine."""
    add_engine("fp16")
    add_engine("fp32", verdict="FAIL")
    release = told(workspace)[0].candidates["meter"].release
    add_engine("fp16", verdict="FAIL")
    now, said = told(workspace)
    assert list(now.failed) == [release]
    assert f"{release}: published before and FAILs now; rings that run it keep it" in said
    for change in ({"verdict": "INVALID"}, {"build": " anew"}):
        add_engine("fp16", **change)
        assert told(workspace)[0].failed == now.failed
    assert told(workspace, "meter-fp32")[0].failed == now.failed
    add_engine("fp16")
    assert told(workspace)[0].failed == {}


@pytest.mark.parametrize("only", [None, "meter-fp32"])
@pytest.mark.parametrize(("verdict", "newer"), [("INVALID", False), ("PASS", True)])
@pytest.mark.parametrize(("fp32_ms", "better"), [(12.0, False), (8.0, True)])
def test_a_candidate_that_was_built_anew_is_compared_as_it_was_published(
    workspace: Workspace,
    add_engine: Any,
    store: MlflowDouble,
    only: str | None,
    verdict: VerdictName,
    newer: bool,
    fp32_ms: float,
    better: bool,
) -> None:
    """Until what was built is published: the canary got a slower engine in between."""
    add_engine("fp16", p50_ms=10.0)
    add_engine("fp32", p50_ms=12.0)
    before = publish(workspace, TARGET, None, lambda _: None).candidates.candidates["meter"]
    add_engine("fp16", p50_ms=10.0, verdict=verdict, build=" anew")
    add_engine("fp32", p50_ms=fp32_ms)
    now = publish(workspace, TARGET, only, lambda _: None).candidates.candidates["meter"]
    assert now.engine == ("meter-fp32" if better else "meter-fp16")
    if not better:
        assert (now.release != before.release) == (newer and only is None)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MlflowDouble:
    """What publishing finds in place of MLflow."""
    return put_in_place(monkeypatch)


@pytest.mark.parametrize(("fp32_ms", "chosen"), [(9.95, "meter-fp16"), (9.0, "meter-fp32")])
def test_the_candidate_stays_unless_another_is_better_by_more_than_chance(
    workspace: Workspace,
    released: Candidate,
    add_engine: Any,
    store: MlflowDouble,
    fp32_ms: float,
    chosen: str,
) -> None:
    add_engine("fp16", p50_ms=10.0)
    add_engine("fp32", p50_ms=fp32_ms)
    now = publish(workspace, TARGET, None, lambda _: None).candidates
    assert now.candidates["meter"].engine == chosen


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_only_what_passed_is_published(
    workspace: Workspace, add_engine: Any, store: MlflowDouble, verdict: VerdictName
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


def test_a_first_release_goes_to_an_mlflow_that_forbids_to_ask_for_what_is_not_there(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    store.forbids = True
    for precision in ("fp16", "fp32"):
        add_engine(precision)
    found, _ = told(workspace)
    assert store.release_at(f"meter.{TARGET}", "candidate") == found.candidates["meter"].release


def test_engines_that_were_evaluated_on_different_pictures_are_not_compared(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
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


def test_one_engine_is_not_compared_with_others_of_different_pictures_either(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    for precision in ("fp16", "fp32"):
        add_engine(precision, pictures_sha256="1" * 64)
    publish(workspace, TARGET, None, lambda _: None)
    before = candidates_path(workspace, TARGET).read_bytes()
    add_engine("fp32", pictures_sha256="2" * 64)
    with pytest.raises(InputError, match="meter-fp32 and meter-fp16 were not"):
        publish(workspace, TARGET, "meter-fp32", lambda _: None)
    assert candidates_path(workspace, TARGET).read_bytes() == before


def test_pictures_of_a_model_that_is_not_published_now_are_not_in_the_way(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row_yaml("meter-fp16", "meter-fp32", "gauge-fp16"))
    add_engine("fp16", model="gauge", build="of gauge")
    for precision in ("fp16", "fp32"):
        add_engine(precision, pictures_sha256="1" * 64)
    publish(workspace, TARGET, None, lambda _: None)
    add_engine("fp32", pictures_sha256="2" * 64)
    chosen = publish(workspace, TARGET, "gauge-fp16", lambda _: None).candidates.candidates
    assert {one.engine for one in chosen.values()} == {"gauge-fp16", "meter-fp16"}


@pytest.mark.parametrize(
    ("policy", "chosen"), [("most-accurate", "meter-fp16"), ("fastest", "meter-fp32")]
)
def test_a_candidate_as_it_was_published_of_other_pictures_has_no_accuracy_to_compare(
    workspace: Workspace, add_engine: Any, store: MlflowDouble, policy: str, chosen: str
) -> None:
    """New data made every picture easier: the canary got an engine that may be the worse one."""
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row.read_text().replace("policy: fastest", f"policy: {policy}"))
    add_engine("fp16", p50_ms=10.0, map50_95=0.7, pictures_sha256="1" * 64)
    add_engine("fp32", p50_ms=10.0, map50_95=0.6, pictures_sha256="1" * 64)
    publish(workspace, TARGET, None, lambda _: None)
    add_engine("fp16", p50_ms=30.0, map50_95=0.9, verdict="INVALID", pictures_sha256="2" * 64)
    add_engine("fp32", p50_ms=8.0, map50_95=0.8, pictures_sha256="2" * 64)
    now = publish(workspace, TARGET, None, lambda _: None).candidates.candidates["meter"]
    assert now.engine == chosen
    if policy == "most-accurate":
        assert "until it passes on the pictures of meter-fp32 too" in now.reason


def evaluated_on(workspace: Workspace, precision: str, digit: str) -> None:
    """Note a set of pictures in the evaluation, and judge it."""
    engine = f"meter-{precision}"
    folder = workspace.engine(TARGET, engine)
    record = folder.read(Evaluation)
    folder.write(record.model_copy(update={"pictures_sha256": digit * 64}))
    judge_again(workspace, engine)


# --- what MLflow is told --------------------------------------------------------------------------

NAME = f"meter.{TARGET}"


def told(workspace: Workspace, engine: str | None = None) -> tuple[Candidates, list[str]]:
    """Publish; what the candidates are, and what was said."""
    said: list[str] = []
    return publish(workspace, TARGET, engine, said.append).candidates, said


def test_a_release_is_made_once_and_completed(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    add_engine("fp16")
    add_engine("fp32", verdict="FAIL")
    now, said = told(workspace)
    release = now.candidates["meter"].release
    assert store.versions == {NAME: {release: 1}}
    assert store.aliases == {NAME: {"candidate": 1}}
    assert f"meter-fp16: published as {release}" in said
    assert f"meter-fp16: published before as {release}" in told(workspace)[1]
    store.files.clear()
    again = told(workspace)[1]
    assert f"meter-fp16: published before as {release}; files that were gone are back" in again
    assert store.versions == {NAME: {release: 1}}


def test_the_record_has_the_figures_and_how_sure_they_are(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    sha256 = add_engine("fp16", p50_ms=10.0)
    folder = workspace.engine(TARGET, "meter-fp16")
    interval = {"low": -0.002, "high": 0.006, "resamples": 100}
    edit(folder.file(Evaluation), lambda one: one.update(map50_95_drop_interval=interval))
    times = {"p50_noise_ms": 0.25, "p99_ms": 12.0}
    edit(folder.file(Benchmark), lambda one: one["frame"]["1"].update(times))
    judge_again(workspace, "meter-fp16")
    (found,) = publish(workspace, TARGET, "meter-fp16", lambda _: None).publications
    assert found.figures == Figures(
        frame_p50_ms=10.0,
        frame_p99_ms=12.0,
        map50_95=0.7,
        engine_bytes=len(b"engine in fp16"),
        frame_p50_noise_ms=0.25,
        map50_95_noise=0.004,
    )
    assert (found.engine_sha256, found.git_commit) == (sha256, "c" * 40)
    assert (found.engine, found.model, found.target) == ("meter-fp16", "meter", TARGET)
    assert (found.model_version, found.precision, found.verdict) == ("1.0", "fp16", "PASS")
    assert (found.fleet_label, found.engine_file) == (TARGET, "engine.blob")
    verdict = folder.read(Verdict)
    assert (found.checks, found.judged) == (verdict.checks, verdict.judged)
    assert (found.mlflow.registered_model, found.mlflow.version) == (NAME, 1)
    assert read_publication(workspace, found.release) == found


def test_a_record_of_another_mlflow_stays(
    workspace: Workspace, add_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place(monkeypatch)
    for precision in ("fp16", "fp32"):
        add_engine(precision)
    first = publish(workspace, TARGET, "meter-fp16", lambda _: None).publications[0]
    path = publication_path(workspace, first.release)
    other = put_in_place(monkeypatch)
    other.versions[NAME] = {"v0.9-of-another-time": 1}
    before = path.read_bytes()
    _, said = told(workspace)
    (kept,) = (line for line in said if "its record stays as it is" in line)
    assert first.release in kept
    assert "names run 1a, version 1, at sqlite:///mlflow.db; here it is run " in kept
    assert path.read_bytes() == before
    assert len(list(workspace.records.glob("v*/publication.json"))) == 2


def test_the_same_mlflow_at_another_address(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    for precision in ("fp16", "fp32"):
        add_engine(precision)
    store.tracking_uri = "http://host/mlflow/"
    told(workspace)
    store.tracking_uri = "http://host/mlflow"
    assert not [line for line in told(workspace)[1] if "its record" in line]
    store.tracking_uri = "http://10.0.0.7/mlflow"
    kept = [line for line in told(workspace)[1] if "its record stays as it is" in line]
    told_of = "names MLflow at http://host/mlflow/; here the same is at http://10.0.0.7/mlflow"
    assert [line.endswith(told_of) for line in kept] == [True, True]


def test_the_alias_goes_where_nothing_passes_any_more(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    add_engine("fp16")
    add_engine("fp32", verdict="FAIL")
    told(workspace)
    add_engine("fp16", verdict="FAIL")
    now, said = told(workspace)
    assert (now.candidates, store.aliases) == ({}, {NAME: {}})
    assert f"meter: no published engine passes any more, so {NAME} has no candidate now" in said
    assert not [line for line in told(workspace)[1] if "no published engine passes" in line]


def test_mlflow_is_not_asked_where_nothing_of_the_target_was_published(
    workspace: Workspace, add_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(root: Any) -> Any:
        raise AssertionError("asked")

    monkeypatch.setattr("release.steps.publish.open_store", opened)
    add_engine("fp16", verdict="FAIL")
    add_engine("fp32", verdict="FAIL")
    assert told(workspace)[0].candidates == {}


def test_an_engine_is_compared_with_those_that_were_published(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    """And with no other: not with one that fails by now."""
    add_engine("fp16", p50_ms=5.0)
    add_engine("fp32", p50_ms=10.0)
    assert told(workspace, "meter-fp32")[0].candidates["meter"].engine == "meter-fp32"
    told(workspace, "meter-fp16")
    assert told(workspace, "meter-fp32")[0].candidates["meter"].engine == "meter-fp16"
    add_engine("fp16", p50_ms=5.0, verdict="FAIL")
    assert told(workspace, "meter-fp32")[0].candidates["meter"].engine == "meter-fp32"


@pytest.mark.parametrize(("only", "verdict"), [(None, "INVALID"), ("meter-fp32", "PASS")])
def test_a_candidate_that_this_mlflow_does_not_have_is_one_all_the_same(
    workspace: Workspace,
    add_engine: Any,
    monkeypatch: pytest.MonkeyPatch,
    only: str | None,
    verdict: VerdictName,
) -> None:
    """Of another server, or one that was restored from a backup: the canary got a slower engine."""
    put_in_place(monkeypatch)
    add_engine("fp16", p50_ms=5.0)
    add_engine("fp32", p50_ms=10.0)
    before = told(workspace)[0].candidates["meter"]
    other = put_in_place(monkeypatch)
    other.versions[NAME] = {"v0.9-of-another-time": 1}
    other.aliases[NAME] = {"candidate": 1}
    add_engine("fp16", p50_ms=5.0, verdict=verdict)
    found = publish(workspace, TARGET, only, lambda _: None)
    assert found.candidates.candidates["meter"].release == before.release
    assert [one.engine for one in found.publications] == ["meter-fp32"]
    assert other.aliases == {NAME: {}}
    said = told(workspace, only)[1]
    assert [one for one in said if f"no version of the candidate {before.release}, so" in one]


def test_each_model_has_a_candidate_of_its_own(
    workspace: Workspace, add_engine: Any, store: MlflowDouble
) -> None:
    """The model before it in the alphabet passes, the one after it does not."""
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row_yaml("meter-fp16", "aisle-fp16", "valve-fp16"))
    verdicts = {"aisle": "FAIL", "meter": "PASS", "valve": "FAIL"}
    for model, verdict in verdicts.items():
        add_engine("fp16", verdict=verdict, model=model)
    now, said = told(workspace)
    assert list(now.candidates) == ["meter"]
    store.aliases["valve.x86-openvino"] = {"candidate": 4}
    store.aliases["aisle.x86-openvino"] = {"candidate": 5}
    now, said = told(workspace)
    assert [line.partition(":")[0] for line in said if "no published engine passes" in line] == [
        "aisle",
        "valve",
    ]
    assert list(store.aliases[NAME]) == ["candidate"]


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        ("c" * 40, None),
        ("c" * 40 + "-dirty", f"uncommitted code ({'c' * 12}-dirty)"),
        ("", "code without a commit"),
    ],
)
def test_code_that_no_commit_holds_is_said(
    workspace: Workspace, add_engine: Any, store: MlflowDouble, commit: str, said: str | None
) -> None:
    add_engine("fp16")
    folder = workspace.engine(TARGET, "meter-fp16")
    edit(folder.file(Manifest), lambda one: one["source"].update(git_commit=commit))
    judge_again(workspace, "meter-fp16")
    found = [line for line in told(workspace, "meter-fp16")[1] if "built from" in line]
    assert len(found) == (said is not None)
    assert said is None or f"built from {said}. Before you promote it raise `version`" in found[0]
