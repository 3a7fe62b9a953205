"""What people rename in MLflow: the experiment of a model, which is found all the same or made, and
its registered model, which is not."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from engines.errors import InputError
from release.registry import view
from release.registry.asked import Asked
from release.registry.logged import is_copy
from release.registry.runs import NOTE, TAG
from release.registry.submission import Submission
from release.registry.surroundings import already_there, if_there
from release.registry.trouble import deleted, renamed
from release.tags import parse_tag

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

_KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Else MLflow opens the page of GenAI evaluation, or asks."""


def of_model(
    client: MlflowClient, submission: Submission, asked: Asked, artifacts: Path | None
) -> str:
    """The number of the experiment, made if there is none; `artifacts` is the folder of files of a
    store that is a file. Raises InputError where it lies in MLflow's trash."""
    name = submission.experiment
    wanted = {**_KIND, NOTE: submission.descriptions.experiment, view.TAG: view.VALUE}
    found = client.get_experiment_by_name(name) or _renamed(client, submission)
    if found is not None:
        number = str(found.experiment_id)
        if found.lifecycle_stage == "deleted":
            raise InputError(deleted("experiments", f"experiment {name}", number, asked.tracking))
        for key, value in wanted.items():
            if key not in found.tags:
                client.set_experiment_tag(number, key, value)
        return number
    location = (artifacts / name).as_uri() if artifacts else None
    with already_there():
        return str(client.create_experiment(name, artifact_location=location, tags=wanted))
    return of_model(client, submission, asked, artifacts)


def refuse_renamed(client: MlflowClient, submission: Submission, asked: Asked) -> None:
    """Raise InputError where there is no registered model of that name, but one of another with
    versions of this model: a new one beside it would leave its aliases to themselves, and whoever
    loads by them would get no newer release, without a word."""
    name, model = submission.registered_model, _model_of(submission.tags)
    target = parse_tag(submission.release).target
    query = f"tags.engine LIKE '{model}-%' and tags.`{TAG}` LIKE '%-{target}-%'"
    found = client.search_model_versions(query)
    ours = [one for one in found if _is_of(one.tags, model, target) and not is_copy(one)]
    others = {one.name for one in ours} - {name}
    if others and if_there(client.get_registered_model, name, perhaps_new=True) is None:
        raise InputError(renamed(name, min(others), asked.tracking))


def _is_of(tags: Mapping[str, str], model: str, target: str) -> bool:
    """Of `meter` on `orin` the query finds `meter-large` and what is on `jetson-orin` too."""
    with suppress(InputError):  # of a tag that people edited
        return _model_of(tags) == model and parse_tag(tags[TAG]).target == target
    return False


def _model_of(tags: Mapping[str, str]) -> str:
    return tags["engine"].rpartition("-")[0]


def _renamed(client: MlflowClient, submission: Submission) -> Experiment | None:
    """Where the latest run of the model is, for this target or another, if people gave that another
    name."""
    model = _model_of(submission.tags)
    found = client.search_model_versions(f"tags.engine LIKE '{model}-%'")
    ours = [one for one in found if TAG in one.tags and _model_of(one.tags) == model]
    latest = max(ours, key=lambda one: (one.creation_timestamp, int(one.version)), default=None)
    run = if_there(client.get_run, latest.run_id) if latest and latest.run_id else None
    return if_there(client.get_experiment, run.info.experiment_id) if run else None
