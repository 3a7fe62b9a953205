"""Records add up or are refused, hold no secret, and name URIs without this machine's folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from release.records import (
    Candidates,
    Publication,
    candidates_path,
    chosen_targets,
    publication_path,
    read_publication,
    refuse_old_layout,
)
from release.registry.address import is_server
from release.registry.uri import shown_uri, tracking_uri, without_credentials
from release.rollout.release_yaml import values_of
from tests.unit.release.publications import PUBLICATION, TARGET, record

RELEASE = PUBLICATION.release


def test_round_trip(workspace: Workspace) -> None:
    path = publication_path(workspace, RELEASE)
    PUBLICATION.write(path)
    first = path.read_bytes()
    assert read_publication(workspace, RELEASE) == PUBLICATION
    PUBLICATION.write(path)
    assert path.read_bytes() == first
    relative = path.relative_to(workspace.root).as_posix()
    assert relative == f"release/records/{RELEASE}/publication.json"


@pytest.mark.parametrize(
    ("key", "value"),
    [("engine_file", "../engine.blob"), ("verdict", "MAYBE"), ("engine_sha256", "x")],
)
def test_other_values_are_refused(workspace: Workspace, key: str, value: str) -> None:
    path = publication_path(workspace, RELEASE)
    PUBLICATION.model_copy(update={key: value}).write(path)
    with pytest.raises(InputError, match=f"release publish.*: {key}: "):
        read_publication(workspace, RELEASE)


# --- a record that was edited ------------------------------------------------------------------


def edit(workspace: Workspace, change: Callable[[dict[str, Any]], object]) -> None:
    path = publication_path(workspace, RELEASE)
    PUBLICATION.write(path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda one: one.update(verdict="FAIL"), "expected verdict to be PASS, got FAIL"),
        (
            lambda one: one["checks"][0].update(verdict="INVALID"),
            "expected frame_p99_ms to be PASS, got INVALID",
        ),
        (
            lambda one: one["checks"][0].update(measured=9999.0),
            "frame_p99_ms says PASS, but 9999 is not at most 30",
        ),
        (
            lambda one: one["checks"][0].update(limit=14.0),
            "frame_p99_ms says PASS, but 15 is not at most 14",
        ),
        (
            lambda one: one["checks"][1].update(measured=59.0),
            "throughput_fps says PASS, but 59 is not at least 60",
        ),
        (
            lambda one: one["checks"][0].update(measured=14.0),
            "expected frame_p99_ms 14.0 as it was checked, got 15.0",
        ),
        (
            lambda one: one["figures"].update(engine_bytes=1 << 20),
            "expected engine_size_mib 3.0 as it was checked, got 1.0",
        ),
        (lambda one: one.update(checks=[]), "expected checks of different names, got 0 checks"),
        (
            lambda one: one["checks"].append(one["checks"][0]),
            "expected checks of different names, got 4 checks",
        ),
        (lambda one: one.update(engine_sha256="1" * 64), "fp16-111111111111, got"),
        (
            lambda one: one.update(engine_file="engine.plan"),
            "expected engine.plan 3f2a91c04b7e",
        ),
        (lambda one: one.update(model_version="1.1"), "expected release v1.1-"),
        (lambda one: one.update(target="line-4"), "expected release v1.0-line-4-"),
        (lambda one: one.update(model="other"), "expected engine other-fp16, got meter-fp16"),
        (lambda one: one.update(release="v1-x86-openvino-fp16-3f2a91c04b7e"), "expected release"),
    ],
)
def test_an_edited_record_is_refused(
    workspace: Workspace, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit(workspace, change)
    with pytest.raises(WrongEngine, match="does not add up") as caught:
        read_publication(workspace, RELEASE)
    assert said in str(caught.value)
    assert f"git checkout -- release/records/{RELEASE}/publication.json" in str(caught.value)


def test_a_record_in_the_folder_of_another_release(workspace: Workspace) -> None:
    other = RELEASE.replace("v1.0", "v0.9")
    PUBLICATION.write(publication_path(workspace, other))
    with pytest.raises(WrongEngine, match=f"expected release {other}, got {RELEASE}"):
        read_publication(workspace, other)


def _numbers(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each number and text below `value`."""
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in pairs:
            yield from _numbers(inner, (*path, key))
    else:
        yield path


PLACES = sorted(_numbers(json.loads(PUBLICATION.model_dump_json(by_alias=True))), key=str)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(PLACES),
    st.one_of(
        st.floats(allow_nan=False, allow_infinity=False),
        st.integers(1, 10**9),
        st.sampled_from(
            ["PASS", "FAIL", "INVALID", "at most", "at least", "f" * 64, "x", "1.1", "engine.plan"]
        ),
    ),
)
def test_one_edit_is_refused_or_changes_nothing_that_is_rolled_out(
    workspace: Workspace, place: tuple[Any, ...], value: Any
) -> None:
    def change(content: dict[str, Any]) -> None:
        *above, last = place
        for key in above:
            content = content[key]
        content[last] = value

    edit(workspace, change)
    try:
        edited = read_publication(workspace, RELEASE)
    except (InputError, WrongEngine):
        return
    assert values_of(edited) == values_of(PUBLICATION)
    assert edited.verdict == "PASS"
    for check in edited.checks:
        at_most, at_least = check.measured <= check.limit, check.measured >= check.limit
        assert at_most if check.rule == "at most" else at_least


# --- which targets there are -------------------------------------------------------------------


def test_the_targets_of_which_something_was_published(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="but there are none. Run `release publish`"):
        chosen_targets(workspace, None)
    record(workspace, PUBLICATION)
    assert chosen_targets(workspace, None) == [TARGET]
    with pytest.raises(InputError, match="one of the targets x86-openvino"):
        chosen_targets(workspace, "toaster")


@pytest.mark.parametrize(
    "file",
    [
        f"release/published/{TARGET}.json",
        f"release/records/{RELEASE}.json",
        "release/fleet/inference/fleet.yaml",
    ],
)
def test_files_of_an_older_version_are_refused(workspace: Workspace, file: str) -> None:
    record(workspace, PUBLICATION)
    refuse_old_layout(workspace)
    path = workspace.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    with pytest.raises(InputError, match=r"older one: release/.*rm -r release/.*`dvc repro`"):
        refuse_old_layout(workspace)


def test_candidates_round_trip(workspace: Workspace) -> None:
    record(workspace, PUBLICATION)
    path = candidates_path(workspace, TARGET)
    assert path.relative_to(workspace.root) == Path(f"release/records/candidates/{TARGET}.json")
    assert Candidates.read(path).candidates["meter"].release == RELEASE
    assert isinstance(Publication.read(publication_path(workspace, RELEASE)), Publication)


# --- URIs --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://host:5000", "http://host:5000"),
        ("https://me:secret@host/mlflow?token=secret", "https://host/mlflow"),
        ("postgresql://me:secret@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("sqlite:////var/mlflow.db", "sqlite:////var/mlflow.db"),
        ("databricks", "databricks"),
    ],
)
def test_credentials_are_left_out(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, uri: str, shown: str
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert tracking_uri(workspace.root) == uri
    assert without_credentials(uri) == shown
    assert shown_uri(workspace.root) == shown


def test_local_store_by_default(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(workspace.root) == f"sqlite:///{workspace.root}/mlflow.db"
    assert shown_uri(workspace.root) == "sqlite:///mlflow.db"


def test_server_or_not() -> None:
    assert is_server("https://host")
    assert is_server("databricks")
    assert not is_server("sqlite:///mlflow.db")
