"""From the candidates of a target to fleet.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.measured import load_measured
from release.records import (
    ChosenCandidate,
    MlflowEntry,
    Published,
    ReleaseRecord,
    published_path,
    record_path,
)
from release.steps.publish import publish
from release.steps.write import write

TARGET = "x86-openvino"


@pytest.fixture
def release(workspace: Workspace, add_engine: Callable[..., str]) -> str:
    """A published release, as `release publish` leaves it."""
    add_engine("fp16")
    measured = load_measured(workspace, TARGET, "meter-fp16")
    tag = measured.tag.name
    ReleaseRecord(
        release=tag,
        engine="meter-fp16",
        model="meter",
        model_version="1.0",
        target=TARGET,
        precision="fp16",
        engine_sha256=measured.manifest.engine_sha256,
        mlflow=MlflowEntry(
            tracking_uri="sqlite:///mlflow.db",
            experiment="jetrail/meter",
            run_id="1",
            registered_model=f"meter.{TARGET}",
            version=1,
        ),
        git_commit="",
        verdict="PASS",
        frame_p50_ms=10.0,
        frame_p99_ms=11.0,
        map50_95=0.7,
    ).write(record_path(workspace, tag))
    chosen = ChosenCandidate(release=tag, engine="meter-fp16", reason="fastest")
    Published(
        target=TARGET, policy="fastest", engines=(), skipped=(), candidates={"meter": chosen}
    ).write(published_path(workspace, TARGET))
    return tag


def test_writes_once(workspace: Workspace, release: str) -> None:
    said: list[str] = []
    assert write(workspace, TARGET, said.append) == {"meter": release}
    text = workspace.fleet_file.read_text()
    assert f"tag: {release}" in text
    modified = workspace.fleet_file.stat().st_mtime_ns
    assert write(workspace, TARGET, said.append) == {"meter": release}
    assert workspace.fleet_file.read_text() == text
    assert workspace.fleet_file.stat().st_mtime_ns == modified
    assert said[0].endswith("written")
    assert said[1].endswith("is there already")


def test_digest_of_a_packed_image(workspace: Workspace, release: str) -> None:
    path = record_path(workspace, release)
    digest = f"sha256:{'d' * 64}"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"digest": digest}))
    assert write(workspace, TARGET, _quiet) == {"meter": f"{release}@{digest}"}


def test_label_of_another_target(workspace: Workspace, release: str) -> None:
    row = (workspace.target(TARGET) / "params.yaml").read_text()
    other = workspace.target("line-4") / "params.yaml"
    other.parent.mkdir()
    other.write_text(row.replace(f"target: {TARGET}", "target: line-4"))
    _refused(workspace, f"came '{TARGET}', which is that of line-4 too")
    other.write_text(other.read_text().replace(f"fleet_label: {TARGET}", "fleet_label: line-4"))
    assert write(workspace, TARGET, _quiet) == {"meter": release}


@pytest.mark.parametrize("verdict", ["FAIL", "INVALID"])
def test_engine_that_no_longer_passes(workspace: Workspace, release: str, verdict: str) -> None:
    path = workspace.engine(TARGET, "meter-fp16") / "verdict.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"verdict": verdict}))
    _refused(workspace, f"says {verdict}")


def test_judged_by_other_budgets(workspace: Workspace, release: str) -> None:
    params = workspace.target(TARGET) / "params.yaml"
    params.write_text(params.read_text().replace("frame_p99_ms: 30", "frame_p99_ms: 5"))
    _refused(workspace, "other budgets than params.yaml has now")


def test_lock_that_cannot_be_taken(workspace: Workspace, release: str) -> None:
    """As on a disk that may only be read, where the error names the file."""
    (workspace.root / ".jetrail-release.lock").mkdir()
    before = sorted(workspace.root.rglob("*")), workspace.fleet_file.read_bytes()
    with pytest.raises(IsADirectoryError):
        write(workspace, TARGET, _quiet)
    with pytest.raises(IsADirectoryError):
        publish(workspace, TARGET, "meter-fp16", _quiet)
    assert (sorted(workspace.root.rglob("*")), workspace.fleet_file.read_bytes()) == before


def test_record_is_missing(workspace: Workspace, release: str) -> None:
    record_path(workspace, release).unlink()
    _refused(workspace, "which `release publish` writes")


def test_not_published(workspace: Workspace, release: str) -> None:
    published_path(workspace, TARGET).unlink()
    _refused(workspace, "which `release publish` writes")


def test_built_again_since(workspace: Workspace, release: str) -> None:
    folder = workspace.engine(TARGET, "meter-fp16")
    (folder / "engine.blob").write_bytes(b"new")
    import hashlib

    sha256 = {"engine_sha256": hashlib.sha256(b"new").hexdigest()}
    for file in ("manifest", "benchmark", "evaluation", "verdict"):
        path = folder / f"{file}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | sha256))
    _refused(workspace, "it was built again since")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"a: [\n", "is not YAML"),
        (b"- a\n", "Expected a mapping"),
        (b"apiVersion: v1\nkind: Pod\n", "Kubernetes object of kind Pod"),
        (b"\xff\xfe", "is not UTF-8"),
        (None, "it is not there"),
    ],
)
def test_no_fleet_file(
    workspace: Workspace, release: str, content: bytes | None, match: str
) -> None:
    workspace.fleet_file.unlink()
    if content is not None:
        workspace.fleet_file.write_bytes(content)
    with pytest.raises(InputError, match=match):
        write(workspace, TARGET, _quiet)
    assert (workspace.fleet_file.read_bytes() if content else None) == content


def _refused(workspace: Workspace, match: str) -> None:
    before = workspace.fleet_file.read_bytes()
    with pytest.raises(InputError, match=match):
        write(workspace, TARGET, _quiet)
    assert workspace.fleet_file.read_bytes() == before


def _quiet(text: Any) -> None:
    """Say nothing."""
