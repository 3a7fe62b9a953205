"""What MLflow is told, by a client that only notes it; the real one is in tests/integration."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engines.errors import InputError, ServiceError
from release.registry import view
from release.registry.asked import Asked
from release.registry.experiments import of_model, refuse_renamed
from release.registry.mlflow import Store
from release.registry.runs import TAG
from release.registry.trouble import Forbidden
from tests.unit.release.publications import PUBLICATION


class Ended(Exception):
    """So far, and no further."""


class NotingClient:
    """Knows nothing, and notes the first experiment that it is to make."""

    def __init__(self) -> None:
        self.made: dict[str, Any] = {}

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def search_model_versions(self, query: str) -> list[Any]:
        return []

    def create_experiment(self, name: str, **facts: Any) -> str:
        self.made = {"name": name, **facts}
        raise Ended


def test_an_experiment_is_made_with_its_kind_and_its_words(tmp_path: Path) -> None:
    """Else MLflow opens it as GenAI's, until somebody publishes for a second time."""
    client: Any = NotingClient()
    submission: Any = SimpleNamespace(
        experiment="meter",
        registered_model="meter.x",
        release=PUBLICATION.release,
        tags={"engine": "meter-fp16"},
        descriptions=SimpleNamespace(experiment="What it is."),
    )
    store = Store(client, Asked(tracking="sqlite:///a.db"), "sqlite:///a.db", tmp_path / "files")
    with pytest.raises(Ended):
        store.publish(submission)
    assert client.made == {
        "name": "meter",
        "artifact_location": (tmp_path / "files" / "meter").as_uri(),
        "tags": {
            "mlflow.experimentKind": "custom_model_development",
            "mlflow.note.content": "What it is.",
            "mlflow.sharedViewState.jetrail": view.VALUE,
        },
    }


@pytest.mark.parametrize(
    ("tags", "end"), [({}, ""), ({view.TAG: ""}, "&viewStateShareKey=jetrail")]
)
def test_an_address_names_a_view_that_is_there(tags: dict[str, str], end: str) -> None:
    """MLflow answers a key that it does not know with an error."""
    assert view.query(tags) == f"?workflowType=machine_learning{end}"


def test_versions_for_a_target_of_a_longer_name_are_not_this_one_s() -> None:
    """`orin` came after `jetson-orin`, of which MLflow finds releases too."""
    release = "v1.0-{}-fp16-0123456789ab"
    there = [
        SimpleNamespace(name=name, tags={"engine": engine, TAG: release.format(target)}, source="")
        for name, engine, target in (
            ("meter.jetson-orin", "meter-fp16", "jetson-orin"),
            ("meter-large.orin", "meter-large-fp16", "orin"),
        )
    ]
    client: Any = SimpleNamespace(
        search_model_versions=lambda _: there, get_registered_model=lambda _: None
    )
    submission: Any = SimpleNamespace(
        registered_model="meter.orin", release=release.format("orin"), tags={"engine": "meter-fp16"}
    )
    asked = Asked(tracking="sqlite:///a.db")
    refuse_renamed(client, submission, asked)
    there[0].tags[TAG] = release.format("jetson-orin") + " "  # as people edit it
    refuse_renamed(client, submission, asked)
    there[0].tags[TAG] = release.format("orin")
    with pytest.raises(InputError, match=r"under the name meter.jetson-orin"):
        refuse_renamed(client, submission, asked)
    there[0].source = "models:/meter.orin/2"  # a copy of what nobody renamed
    refuse_renamed(client, submission, asked)


def test_a_renamed_experiment_is_found_for_a_target_that_is_new() -> None:
    """It got one of the old name, and what came later for all targets went there."""
    release = "v1.0-{}-fp16-0123456789ab"
    there = [
        SimpleNamespace(
            **{"version": "1", "run_id": run, "creation_timestamp": at},
            tags={"engine": engine, TAG: release.format("jetson-orin")},
        )
        for at, (engine, run) in enumerate(
            [("meter-fp16", "old"), ("meter-int8", "ours"), ("meter-large-fp16", "another's")]
        )
    ]
    experiment = SimpleNamespace(experiment_id="7", lifecycle_stage="active", tags={})
    client: Any = SimpleNamespace(
        get_experiment_by_name=lambda _: None,
        search_model_versions=lambda _: there,
        get_run=lambda run: SimpleNamespace(info=SimpleNamespace(experiment_id=run)),
        get_experiment=lambda number: experiment if number == "ours" else None,
        set_experiment_tag=lambda *_: None,
    )
    submission: Any = SimpleNamespace(
        experiment="jetrail/meter",
        tags={"engine": "meter-fp16"},
        descriptions=SimpleNamespace(experiment="Engines"),
    )
    assert of_model(client, submission, Asked(tracking="sqlite:///a.db"), None) == "7"


@pytest.mark.parametrize("source", ["models:/m-0a", "s3://b/1/m-0a/artifacts", "/mlruns/1/m-0a"])
def test_a_copy_of_a_version_is_not_the_release(source: str) -> None:
    """`copy_model_version` takes the tags along and names a version in place of a model, which a
    server answers with a page of HTML."""
    release = PUBLICATION.release
    there = [
        SimpleNamespace(version="2", source="models:/meter.x/1", run_id="a", tags={TAG: release})
    ]
    client: Any = SimpleNamespace(search_model_versions=lambda _: there)
    store = Store(client, Asked(tracking="http://a"), "http://a", None)
    assert store.version_of("meter.x", release) is None
    there.append(SimpleNamespace(version="3", source=source, run_id="a", tags={}))
    assert store.version_of("meter.x", release) == 3


class OldServer(NotingClient):
    """MLflow before 3.0: an experiment, no logged models, and nothing may be made in it."""

    def get_experiment_by_name(self, name: str) -> Any:
        return SimpleNamespace(experiment_id="1", lifecycle_stage="active", tags={})

    def set_experiment_tag(self, number: str, key: str, value: str) -> None:
        """Take it."""

    def search_model_versions(self, query: str) -> list[Any]:
        return []

    def search_runs(self, *_: Any, **__: Any) -> list[Any]:
        return []

    def search_logged_models(self, *_: Any, **__: Any) -> None:
        raise Ended


def test_a_server_without_logged_models_is_left_as_it_is() -> None:
    client: Any = OldServer()
    submission: Any = SimpleNamespace(
        **{"experiment": "meter", "registered_model": "meter.x", "release": PUBLICATION.release},
        tags={"engine": "meter-fp16"},
        descriptions=SimpleNamespace(experiment="What it is.", run="What it is."),
    )
    store = Store(client, Asked(tracking="http://host"), "http://host", None)
    with pytest.raises(Ended):  # and not an AttributeError of create_run
        store.publish(submission)


class ForgettingClient:
    """Takes every file, and keeps what it was made with: names and sizes."""

    def __init__(self, kept: dict[str, int | None]) -> None:
        self.kept = kept

    def log_batch(self, run_id: str, **facts: Any) -> None:
        """Take it."""

    def log_artifacts(self, run_id: str, folder: str) -> None:
        """Take them, and say so."""

    def list_artifacts(self, run_id: str, folder: str = "") -> list[Any]:
        return [SimpleNamespace(path=name, file_size=size) for name, size in self.kept.items()]

    def log_inputs(self, run_id: str, data_sets: Any) -> None:
        raise Ended


@pytest.mark.parametrize(
    ("kept", "stops"),
    [
        ({}, ServiceError),  # a proxy that answers whatever it is asked
        ({"engine.blob": 7}, ServiceError),
        ({"engine.blob": 3, "plots": None}, ServiceError),  # a disk that was full
        ({"engine.blob": 7, "plots": None}, Ended),
        ({"engine.blob": None, "plots": None}, Ended),  # a store that tells no sizes
    ],
)
def test_files_that_were_taken_are_looked_for(
    tmp_path: Path, kept: dict[str, int | None], stops: type[Exception]
) -> None:
    engine = tmp_path / "engine.blob"
    engine.write_bytes(b"7 bytes")
    submission: Any = SimpleNamespace(
        **{"fingerprint": "f", "measurement": "m", "metrics": {}, "params": {}, "tags": {}},
        **{"files": (engine,), "draw": lambda folder: None, "data_sets": {}},
        descriptions=SimpleNamespace(run=""),
    )
    run: Any = SimpleNamespace(
        info=SimpleNamespace(run_id="1"), data=SimpleNamespace(tags={}, params={})
    )
    client: Any = ForgettingClient(kept)
    store = Store(client, Asked(tracking="http://host"), "http://host", None)
    with pytest.raises(stops, match="not there whole" if stops is ServiceError else None):
        store._log(submission, run)


@pytest.mark.parametrize("perhaps_new", [True, False])
def test_a_server_that_forbids_to_ask_for_what_is_not_there(perhaps_new: bool) -> None:
    """As MLflow's basic-auth with NO_PERMISSIONS by default: its users may make models all the
    same, and none of them could publish a first one."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

    def forbidden(name: str) -> None:
        raise MlflowException("failed with error code 403 != 200", PERMISSION_DENIED)

    client: Any = SimpleNamespace(get_registered_model=forbidden)
    store = Store(client, Asked(tracking="http://a"), "http://a", None)
    if perhaps_new:
        assert store.release_at("meter.x", "candidate", perhaps_new=True) == ""
    else:
        with pytest.raises(Forbidden, match=r"MLflow at http://a .* aliases of meter\.x name"):
            store.release_at("meter.x", "candidate")
