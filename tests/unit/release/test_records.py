"""Records hold no secret, and URIs stand in them without this machine's folders."""

from __future__ import annotations

import pytest

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.records import MlflowEntry, ReleaseRecord, record_path
from release.registry.mlflow import is_server, without_credentials
from release.steps.publish import shown_uri, tracking_uri

RECORD = ReleaseRecord(
    release="v1.0-x86-openvino-fp16-3f2a91c04b7e",
    engine="meter-fp16",
    model="meter",
    model_version="1.0",
    target="x86-openvino",
    precision="fp16",
    engine_sha256="3f2a91c04b7e" + "0" * 52,
    mlflow=MlflowEntry(
        tracking_uri="sqlite:///mlflow.db",
        experiment="jetrail/meter",
        run_id="0a1b",
        registered_model="meter.x86-openvino",
        version=3,
    ),
    git_commit="",
    verdict="PASS",
    frame_p50_ms=12.5,
    frame_p99_ms=15.0,
    map50_95=0.7,
)


def test_round_trip(workspace: Workspace) -> None:
    path = record_path(workspace, RECORD.release)
    RECORD.write(path)
    first = path.read_bytes()
    assert ReleaseRecord.read(path) == RECORD
    RECORD.write(path)
    assert path.read_bytes() == first
    assert path.relative_to(workspace.root).as_posix() == f"release/records/{RECORD.release}.json"


@pytest.mark.parametrize(
    ("key", "value"), [("digest", "sha256:1"), ("verdict", "MAYBE"), ("engine_sha256", "x")]
)
def test_other_values_are_refused(workspace: Workspace, key: str, value: str) -> None:
    path = record_path(workspace, RECORD.release)
    RECORD.model_copy(update={key: value}).write(path)
    with pytest.raises(InputError, match=f"release publish.*: {key}: "):
        ReleaseRecord.read(path)


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
    assert tracking_uri(workspace) == uri
    assert without_credentials(uri) == shown
    assert shown_uri(workspace) == shown


def test_local_store_by_default(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri(workspace) == f"sqlite:///{workspace.root}/mlflow.db"
    assert shown_uri(workspace) == "sqlite:///mlflow.db"


def test_server_or_not() -> None:
    assert is_server("https://host")
    assert is_server("databricks")
    assert not is_server("sqlite:///mlflow.db")
