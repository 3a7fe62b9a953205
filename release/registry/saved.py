"""What goes into MLflow's store of files: the model, and the data sets as inputs of its run."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engines.files import temporary_folder
from release.registry.portable import copy_code
from release.registry.submission import Submission

if TYPE_CHECKING:
    from mlflow import MlflowClient

LONGEST_DIGEST = 36
"""Of MLflow's data sets."""


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
    there = {Path(one.path).name: one.file_size for one in client.list_artifacts(run_id)}
    ours = {file.name: file.stat().st_size for file in submission.files}
    sizes = not whole or all(there.get(name) in (None, size) for name, size in ours.items())
    return {"plots", *ours} <= there.keys() and sizes


def send_model(client: MlflowClient, submission: Submission, model_id: str, run_id: str) -> bool:
    """Give a logged model its files; whether they are there then."""
    with temporary_folder() as folder:
        save_model(submission, folder, model_id, run_id)
        client.log_model_artifacts(model_id, f"{folder}/model")
    return has_model(client, model_id)


def has_model(client: MlflowClient, model_id: str) -> bool:
    """Whether a logged model's files are there."""
    files = client.list_logged_model_artifacts(model_id)
    return "MLmodel" in {Path(one.path).name for one in files}


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
    link(submission.model_files, folder / "engine")
    code = copy_code(folder / "code")
    mlflow.pyfunc.save_model(
        str(folder / "model"),
        loader_module="engines.detect.pyfunc",
        data_path=str(folder / "engine"),
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
