"""What goes into MLflow's store of files: the model, and the data sets as inputs of its run."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.files import temporary_folder
from release.registry.portable import copy_code
from release.registry.submission import Submission

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo

LONGEST_DIGEST = 36
"""Of MLflow's data sets."""
_ENGINE = "engine"
"""Folder of a model's engine and manifest, which MLflow puts below `data`."""


def send_files(client: MlflowClient, submission: Submission, run_id: str) -> bool:
    """Give a run its files and plots; whether they are there then, since a proxy may say so of
    whatever it is sent, and a full disk keep a part."""
    with temporary_folder() as folder:
        link(submission.files, folder)
        plots = folder / "plots"
        plots.mkdir()
        submission.draw(plots)
        client.log_artifacts(run_id, str(folder))
    return has_files(client, submission, run_id, whole=True)


def has_files(
    client: MlflowClient, submission: Submission, run_id: str, *, whole: bool = False
) -> bool:
    """Whether a run's files are there, and, with `whole`, of the size that ours are."""
    there = _sizes(client.list_artifacts(run_id))
    if not {"plots", *(file.name for file in submission.files)} <= there.keys():
        return False
    whole_ones = submission.files if whole else ()
    # On a disk a folder stays when what is in it goes.
    return _are_there(whole_ones, there) and bool(client.list_artifacts(run_id, "plots"))


def send_model(client: MlflowClient, submission: Submission, model_id: str, run_id: str) -> bool:
    """Give a logged model its files; whether they are there then."""
    with temporary_folder() as folder:
        save_model(submission, folder, model_id, run_id)
        client.log_model_artifacts(model_id, f"{folder}/model")
    return has_model(client, submission, model_id)


def has_model(client: MlflowClient, submission: Submission, model_id: str) -> bool:
    """Whether a logged model's files are there, and its engine is as long as ours."""
    there = _sizes(client.list_logged_model_artifacts(model_id))
    if not {"MLmodel", "code", "data"} <= there.keys():
        return False
    engine, *others = submission.model_files
    inside = _sizes(client.list_logged_model_artifacts(model_id, f"data/{_ENGINE}"))
    return {one.name for one in others} <= inside.keys() and _are_there([engine], inside)


def _sizes(found: Iterable[FileInfo]) -> dict[str, int | None]:
    """By name, of what MLflow lists; a folder has none, and some stores tell none."""
    return {Path(one.path).name: one.file_size for one in found}


def _are_there(files: Iterable[Path], there: Mapping[str, int | None]) -> bool:
    return all(there.get(one.name, -1) in (None, one.stat().st_size) for one in files)


def save_model(submission: Submission, folder: Path, model_id: str, run_id: str) -> None:
    """Write `<folder>/model`, an MLflow model: loader and its code, signature, input example and
    the engine.

    The requirements are given, since MLflow would find them by loading the model in a new process,
    which takes longer than all the rest.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema

    from engines.detect.pyfunc import COLUMNS

    names = {"int64": "long", "float32": "float", "str": "string"}
    table = Schema([ColSpec(names[kind], column) for column, kind in COLUMNS.items()])
    link(submission.model_files, folder / _ENGINE)
    code = copy_code(folder / "code")
    mlflow.pyfunc.save_model(
        str(folder / "model"),
        loader_module="engines.detect.pyfunc",
        data_path=str(folder / _ENGINE),
        code_paths=[code],
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
        # No input: MLflow's has no word for "one picture, a list of them or a batch", and would
        # refuse all but one of them, with the whole picture in its message.
        signature=ModelSignature(outputs=table),
        # A plain picture, since frames of a plant have no place in a registry.
        input_example=np.full((1, 64, 64, 3), 114, np.uint8),
        pip_requirements=list(submission.requirements),
        model_config=dict(submission.thresholds),
    )


def link(files: Iterable[Path], folder: Path) -> None:
    """Gather files in one folder without copying them; MLflow reads what the links point to."""
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())


def inputs(submission: Submission) -> list[Any]:
    """The data sets, as the run's page shows them."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    return [
        DatasetInput(
            Dataset(
                name=f"{submission.params['model']}-{purpose}",
                digest=md5.removesuffix(".dir")[:LONGEST_DIGEST] or "unknown",
                source_type="local",
                source=json.dumps({"uri": folder, "dvc_md5": md5}),
            ),
            [InputTag("mlflow.data.context", purpose)],
        )
        for purpose, (folder, md5) in submission.data_sets.items()
    ]
