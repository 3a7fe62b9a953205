"""The logged model of a release: found by the version that loads it, made, linked to its run."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from release.registry.submission import Submission
from release.registry.surroundings import already_there, if_there

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

_SCHEME = "models:/"


def model_of(client: MlflowClient, version: Any | None) -> LoggedModel | None:
    """The model that a version loads; None where there is no version, or the model was deleted:
    MLflow has no command that brings one back."""
    source = version.source or "" if version else ""
    return if_there(client.get_logged_model, source.removeprefix(_SCHEME)) if source else None


def of_runs(
    client: MlflowClient, experiment: str, query: str, runs: Collection[str]
) -> list[LoggedModel]:
    """The models that `query` finds and that those runs made."""
    found = client.search_logged_models([experiment], filter_string=query)
    return [one for one in found if one.source_run_id in runs]


def age(model: LoggedModel) -> tuple[int, str]:
    """By which everybody finds the same model."""
    return model.creation_timestamp, model.model_id


def is_copy(version: Any) -> bool:
    """Whether somebody copied a version, tags and all: it names that one in place of a model."""
    source = version.source or ""
    return source.startswith(_SCHEME) and "/" in source.removeprefix(_SCHEME)


def is_of(version: Any, run: Run, model: LoggedModel) -> bool:
    """Whether a version names that run, if it names any, and loads that model."""
    same_run = not version.run_id or version.run_id == run.info.run_id
    return same_run and bool(version.source == address(model))


def address(model: LoggedModel) -> str:
    """What a version names as its source."""
    return f"{_SCHEME}{model.model_id}"


def make(
    client: MlflowClient,
    submission: Submission,
    experiment: str,
    run: Run,
    tags: Mapping[str, str],
) -> LoggedModel:
    """A new model of the run, without files yet."""
    return client.create_logged_model(
        experiment,
        name=submission.registered_model.replace(".", "-"),
        source_run_id=run.info.run_id,
        tags=dict(tags),
        params=dict(submission.params),
    )


def link_run(client: MlflowClient, run: Run, model: LoggedModel) -> None:
    """Let the run's page name the model; the model's names the run already."""
    from mlflow.entities import LoggedModelOutput

    outputs = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in [one.model_id for one in outputs]:
        with already_there():
            client.log_outputs(run.info.run_id, [LoggedModelOutput(model.model_id, 0)])


def link_version(client: MlflowClient, model: LoggedModel, version: Any) -> None:
    """Let the model's page name its version, as `mlflow.register_model` does; else it says that it
    is not registered."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    if MLFLOW_MODEL_VERSIONS not in model.tags:
        entry = {"name": version.name, "version": int(version.version)}
        tags = {MLFLOW_MODEL_VERSIONS: json.dumps([entry])}
        client.set_logged_model_tags(model.model_id, tags)
