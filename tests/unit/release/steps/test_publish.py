"""What is never published, whatever its files say."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from factories.mlflow_double import put_in_place
from factories.paper import EDITS, TARGET, edit, judge_again, model_yaml, row_yaml
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from release.cli import commands
from release.records import publication_path
from release.steps.publish import publish as step
from tests.unit.release.publications import publish_on_paper

ENGINE = "meter-fp16"


@pytest.fixture
def publish(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `release publish`, with a server that nobody answers for."""
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    return lambda *options: CliRunner().invoke(commands, ["publish", "--target", TARGET, *options])


@pytest.mark.parametrize("name", EDITS)
def test_files_that_were_changed_after_the_gate(
    workspace: Workspace,
    add_engine: Callable[..., str],
    publish: Callable[..., Result],
    name: str,
) -> None:
    verdict, edit, file = EDITS[name]
    add_engine("fp32")
    add_engine("fp16", verdict=verdict)
    folder = workspace.engine(TARGET, ENGINE)
    edit(folder)
    for options in ([], ["--engine", ENGINE]):
        result = publish(*options)
        assert result.exit_code == 5, result.output
        assert f"error: {folder.path / file} " in result.stderr
        assert "pipeline gate" in result.stderr or "`gate`" in result.stderr
        assert "Traceback" not in result.output
    assert not workspace.records.exists()


def test_budgets_that_were_changed_after_the_gate(
    workspace: Workspace, add_engine: Callable[..., str], publish: Callable[..., Result]
) -> None:
    add_engine("fp16")
    params = workspace.target(TARGET) / "params.yaml"
    params.write_text(params.read_text().replace("frame_p99_ms: 30", "frame_p99_ms: 5"))
    result = publish("--engine", ENGINE)
    assert result.exit_code == 2
    assert "judged by other budgets" in result.stderr
    assert judge_again(workspace, ENGINE) == "FAIL"
    assert "FAIL, so it is not published" in publish("--engine", ENGINE).stdout


def test_not_judged_yet(
    workspace: Workspace, add_engine: Callable[..., str], publish: Callable[..., Result]
) -> None:
    add_engine("fp16")
    workspace.engine(TARGET, ENGINE).file(Verdict).unlink()
    result = publish("--engine", ENGINE)
    assert result.exit_code == 2
    assert "which `pipeline gate` writes, but it is not there" in result.stderr


def test_other_engines_may_be_in_any_state(
    workspace: Workspace, add_engine: Callable[..., str], publish: Callable[..., Result]
) -> None:
    """A release of one engine looks at the others for what is the best, and no further."""
    for precision in ("fp32", "fp16"):
        add_engine(precision)
    EDITS["p99"][1](workspace.engine(TARGET, "meter-fp32"))
    assert publish("--engine", ENGINE).exit_code == 6  # so far that MLflow is asked


def test_files_of_an_older_version(workspace: Workspace, add_engine: Callable[..., str]) -> None:
    add_engine("fp16")
    (workspace.root / "release" / "published").mkdir(parents=True)
    with pytest.raises(InputError, match="got those of an older one: release/published"):
        step(workspace, TARGET, None, lambda _: None)


def test_a_record_that_was_changed_is_found_before_mlflow_is_told_anything(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = put_in_place(monkeypatch)
    add_engine("fp16")
    record = publish_on_paper(workspace, ENGINE)
    record.model_copy(update={"model": "another"}).write(
        publication_path(workspace, record.release)
    )
    with pytest.raises(WrongEngine, match="does not add up"):
        step(workspace, TARGET, ENGINE, lambda _: None)
    assert store.versions == {}


@pytest.mark.parametrize("first", ["not published", "published", "removed"])
def test_one_tag_is_no_two_models(
    workspace: Workspace,
    add_engine: Callable[..., str],
    publish: Callable[..., Result],
    first: str,
) -> None:
    """One checkpoint under two names: the second had no record, and `write` refused the first's."""
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row_yaml("meter-fp16", "counter-fp16"))
    workspace.model("counter").mkdir()
    (workspace.model("counter") / "model.yaml").write_text(model_yaml("counter"))
    add_engine("fp16")
    if first != "not published":
        publish_on_paper(workspace, ENGINE)
    add_engine("fp16", model="counter")
    if first == "removed":
        row.write_text(row_yaml("counter-fp16"))
    result = publish()
    assert result.exit_code == 2
    assert "Expected another engine for counter than for meter, but counter-fp16" in result.stderr
    assert "another `version` in models/counter/model.yaml" in result.stderr


@pytest.mark.parametrize("verdict", ["PASS", "FAIL"])
@pytest.mark.parametrize(
    ("old", "new", "built", "said"),
    [
        (
            "confidence: 0.25, iou: 0.7",
            "confidence: 0.4, iou: 0.6",
            lambda one: one["thresholds"].update(confidence=0.4, iou=0.6),
            "by evaluate.confidence 0.25, evaluate.iou 0.7, as {release} was published, but it is "
            "by evaluate.confidence 0.4, evaluate.iou 0.6 now",
        ),
        (
            "max: 8}",
            "max: 16}",
            lambda one: one["batch"].update(max=16),
            "by batch.max 8, as {release} was published, but it is by batch.max 16 now",
        ),
    ],
)
def test_built_again_by_another_row_a_release_says_that_its_pods_would_not_follow(
    workspace: Workspace,
    add_engine: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    old: str,
    new: str,
    built: Callable[[Any], object],
    said: str,
    verdict: str,
) -> None:
    """The same bytes, so the same tag: all was PASS, and pods went on by what was before. A FAIL
    took the candidate away, which had not failed."""
    put_in_place(monkeypatch)
    add_engine("fp16")
    release = step(workspace, TARGET, ENGINE, lambda _: None).publications[0].release
    row = workspace.target(TARGET) / "params.yaml"
    before = row.read_text()
    assert old in before
    limit = "frame_p99_ms: 5" if verdict == "FAIL" else "frame_p99_ms: 30"
    row.write_text(before.replace(old, new).replace("frame_p99_ms: 30", limit))
    manifest = workspace.engine(TARGET, ENGINE).file(Manifest)
    kept = manifest.read_bytes()
    edit(manifest, built)
    assert judge_again(workspace, ENGINE) == verdict
    expected = re.escape(said.format(release=release)) + ".*another `version` in models/meter/model"
    with pytest.raises(InputError, match=expected):
        step(workspace, TARGET, ENGINE, lambda _: None)
    # Undone, it is that release again.
    row.write_text(before)
    manifest.write_bytes(kept)
    assert judge_again(workspace, ENGINE) == "PASS"
    step(workspace, TARGET, ENGINE, lambda _: None)


BY_ANOTHER_ROW = "confidence: 0.25", "confidence: 0.4"


def build_again(workspace: Workspace, *engines: str, verdict: str = "PASS") -> None:
    """The same bytes, by a row with another threshold."""
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row.read_text().replace(*BY_ANOTHER_ROW))
    for engine in engines:
        manifest = workspace.engine(TARGET, engine).file(Manifest)
        edit(manifest, lambda one: one["thresholds"].update(confidence=0.4))
        assert judge_again(workspace, engine) == verdict


def test_every_model_that_another_row_changes_is_named(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time each was built and measured for the next refusal."""
    put_in_place(monkeypatch)
    (workspace.target(TARGET) / "params.yaml").write_text(row_yaml(ENGINE, "counter-fp16"))
    workspace.model("counter").mkdir()
    (workspace.model("counter") / "model.yaml").write_text(model_yaml("counter"))
    add_engine("fp16")
    add_engine("fp16", model="counter", build="2")
    step(workspace, TARGET, None, lambda _: None)
    build_again(workspace, ENGINE, "counter-fp16")
    said = "Give counter and meter another `version` in models/counter/model.yaml and models/meter/"
    with pytest.raises(InputError, match=re.escape(said)):
        step(workspace, TARGET, None, lambda _: None)


def test_another_engine_by_another_row_is_compared_as_it_was_published(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its new figures are of what no pod runs it by."""
    put_in_place(monkeypatch)
    add_engine("fp32", p50_ms=12.0)
    add_engine("fp16", p50_ms=10.0)
    step(workspace, TARGET, None, lambda _: None)
    add_engine("fp16", p50_ms=18.0)
    add_engine("fp32", p50_ms=12.0, build="2")
    build_again(workspace, ENGINE, "meter-fp32")
    said: list[str] = []
    found = step(workspace, TARGET, "meter-fp32", said.append).candidates.candidates["meter"]
    assert found.engine == ENGINE
    assert any("is compared as it was published" in one for one in said)


@pytest.mark.parametrize("state", ["a record of before", "INVALID"])
def test_no_word_on_a_row_is_no_reason_to_refuse(
    workspace: Workspace,
    add_engine: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    state: str,
) -> None:
    """A record that is older than these fields says nothing of the row, and an INVALID measurement
    nothing of the engine."""
    put_in_place(monkeypatch)
    add_engine("fp16")
    published = step(workspace, TARGET, ENGINE, lambda _: None).publications[0]
    before = step(workspace, TARGET, ENGINE, lambda _: None).candidates.candidates
    if state == "INVALID":
        add_engine("fp16", verdict="INVALID")
    else:
        path = publication_path(workspace, published.release)
        edit(path, lambda one: [one.pop(key) for key in ("thresholds", "batch_max")])
    build_again(workspace, ENGINE, verdict="INVALID" if state == "INVALID" else "PASS")
    assert step(workspace, TARGET, ENGINE, lambda _: None).candidates.candidates == before


def test_where_it_is_published_is_said_and_releases_stand_by_name(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this call and those of earlier ones alike."""
    put_in_place(monkeypatch)
    said: list[str] = []
    for precision in ("fp32", "fp16"):
        add_engine(precision)
        found = step(workspace, TARGET, f"meter-{precision}", said.append).publications
    assert [one.engine for one in found] == [ENGINE, "meter-fp32"]
    found = step(workspace, TARGET, "meter-fp32", said.append).publications
    assert [one.engine for one in found] == [ENGINE, "meter-fp32"]
    assert any(one.startswith(f"{TARGET}: publishing to MLflow at ") for one in said)


def test_an_alias_that_another_repository_set_is_no_longer_taken_in_silence(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_engine("fp16")
    store = put_in_place(monkeypatch)
    theirs = "v1.0-x86-openvino-fp32-0123456789ab"
    name = f"meter.{TARGET}"
    store.versions[name], store.aliases[name] = {theirs: 1}, {"candidate": 1}
    said: list[str] = []
    step(workspace, TARGET, ENGINE, said.append)
    assert any(f"{theirs} until now, of which this clone has no record" in one for one in said)
    assert store.aliases[name] == {"candidate": 2}
    said.clear()
    step(workspace, TARGET, ENGINE, said.append)
    assert not any("until now" in one for one in said)
