"""MLflow: one run, one logged model and one registered version for each engine.

Publishing is a chain of steps, each of which looks for its own result before it does anything:

    experiment -> run -> parameters, metrics and files -> model -> version -> run finished -> alias

A result is found again by the tag `jetrail.tag`, which is given in the very request that creates
it. So a run of the command that was killed, or lost its server, at any point is completed by the
next one, and publishing twice makes nothing twice.

`MlflowClient` is used instead of the fluent functions: those keep state in the process, ask git for
a commit of their own and print addresses.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from engines.errors import InputError, ServiceError
from engines.files import DISK_ERRNOS, atomic_path
from release.registry.portable import copy_code
from release.registry.publication import Publication

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

TAG = "jetrail.tag"
LOGGED = "jetrail.logged"
"""Set on a run when all its figures and files are there: the sha256 of what they were."""

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""For the first request: whether the server is there at all (MLflow itself tries for minutes)."""
_PATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "60"}
_SQLITE = "sqlite:///"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Where a publication ended up."""

    run_id: str
    version: int
    is_new: bool
    """Whether the version was not there before."""


class Store:
    """An MLflow tracking server and model registry, or a local SQLite file that acts as both."""

    def __init__(self, client: MlflowClient, artifacts: Path | None) -> None:
        self._client = client
        self._artifacts = artifacts

    def publish(self, publication: Publication) -> Entry:
        """Make, or complete, run, model and version. Raises ServiceError."""
        experiment = self._experiment(publication.experiment)
        found = self._find_version(publication)
        run = self._run(publication, experiment, found)
        self._log(publication, run)
        version = found or self._register(
            publication, self._model(publication, experiment, run), run
        )
        if run.info.status != "FINISHED":
            self._client.set_terminated(run.info.run_id, "FINISHED")
        return Entry(run_id=run.info.run_id, version=int(version.version), is_new=found is None)

    def point_alias(self, registered_model: str, alias: str, version: int) -> None:
        """Let `alias` name that version; nothing is written when it does already."""
        model = self._client.get_registered_model(registered_model)
        if str(model.aliases.get(alias)) != str(version):
            self._client.set_registered_model_alias(registered_model, alias, str(version))

    def drop_alias(self, registered_model: str, alias: str) -> bool:
        """Take `alias` off a model, which need not be there; whether it had it."""
        from mlflow.exceptions import MlflowException

        try:
            model = self._client.get_registered_model(registered_model)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False
        if alias not in model.aliases:
            return False
        self._client.delete_registered_model_alias(registered_model, alias)
        return True

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        location = (self._artifacts / name).as_uri() if self._artifacts else None
        with _already_there():
            return str(self._client.create_experiment(name, artifact_location=location))
        return self._experiment(name)

    def _run(self, publication: Publication, experiment: str, version: Any | None) -> Run:
        if version is not None and version.run_id:
            return self._client.get_run(version.run_id)
        found = self._client.search_runs([experiment], _tagged(publication), max_results=1)
        if found:
            return found[0]
        tags = {**publication.tags, TAG: publication.release}
        return self._client.create_run(experiment, tags=tags, run_name=publication.release)

    def _log(self, publication: Publication, run: Run) -> None:
        if run.data.tags.get(LOGGED) == publication.fingerprint:
            return
        from mlflow.entities import Metric, Param, RunTag

        now, run_id = int(time.time() * 1000), run.info.run_id
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in publication.metrics.items()],
            params=[
                Param(key, value)
                for key, value in publication.params.items()
                if key not in run.data.params
            ],
            tags=[RunTag(key, value) for key, value in publication.tags.items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            _link(publication.files, Path(folder))
            _draw(publication, Path(folder) / "plots")
            self._client.log_artifacts(run_id, folder)
        self._client.set_tag(run_id, LOGGED, publication.fingerprint)

    def _model(self, publication: Publication, experiment: str, run: Run) -> LoggedModel:
        found = self._client.search_logged_models(
            [experiment], filter_string=_tagged(publication), max_results=1
        )
        model = found[0] if found else self._create_model(publication, experiment, run)
        if model.status.value != "READY":
            with tempfile.TemporaryDirectory() as folder:
                _save_model(publication, Path(folder), model.model_id, run.info.run_id)
                self._client.log_model_artifacts(model.model_id, f"{folder}/model")
            model = self._client.finalize_logged_model(model.model_id, "READY")
        return model

    def _create_model(self, publication: Publication, experiment: str, run: Run) -> LoggedModel:
        return self._client.create_logged_model(
            experiment,
            name=publication.registered_model.replace(".", "-"),
            source_run_id=run.info.run_id,
            tags={**publication.tags, TAG: publication.release},
            params=dict(publication.params),
        )

    def _find_version(self, publication: Publication) -> Any | None:
        name = publication.registered_model
        found = self._client.search_model_versions(f"name = '{name}' and {_tagged(publication)}")
        return min(found, key=lambda version: int(version.version), default=None)

    def _register(self, publication: Publication, model: LoggedModel, run: Run) -> Any:
        name = publication.registered_model
        with _already_there():
            self._client.create_registered_model(name)
        ours = self._client.create_model_version(
            name,
            source=f"models:/{model.model_id}",
            run_id=run.info.run_id,
            tags={**publication.tags, TAG: publication.release},
            model_id=model.model_id,
        )
        # Somebody on another machine may have registered the same engine since we looked. Whoever
        # came second sees both and takes their own back, so that one is left.
        first = self._find_version(publication) or ours
        if int(first.version) < int(ours.version):
            self._client.delete_model_version(name, str(ours.version))
        return first


@contextmanager
def open_store(uri: str, root: Path) -> Iterator[Store]:
    """The store at `uri`, for as long as the block runs.

    A store without a server keeps its artifacts in `<root>/mlartifacts`. Whatever MLflow raises in
    the block becomes a ServiceError.
    """
    with ExitStack() as stack:
        stack.enter_context(_environment({**_QUIET, "MLFLOW_TRACKING_URI": uri}))
        stack.enter_context(_environment(_not_set_by_user(_PATIENT)))
        stack.enter_context(_silence())
        stack.enter_context(_service_errors(uri))
        from mlflow import MlflowClient

        if uri.startswith(_SQLITE):
            _make_sqlite(Path(uri.removeprefix(_SQLITE)))
            _check_sqlite(Path(uri.removeprefix(_SQLITE)))
        client = MlflowClient(tracking_uri=uri)
        with _environment(_not_set_by_user(_IMPATIENT) if is_server(uri) else {}):
            client.search_experiments(max_results=1)
        yield Store(client, None if is_server(uri) else root / "mlartifacts")


def is_server(uri: str) -> bool:
    """Whether a server answers at `uri`, which then decides where artifacts go."""
    return uri.partition(":")[0] in {"http", "https", "databricks", "databricks-uc", "uc"}


def without_credentials(uri: str) -> str:
    """`uri` without user, password and query, fit for records and messages."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _save_model(publication: Publication, folder: Path, model_id: str, run_id: str) -> None:
    """Write `<folder>/model`, an MLflow model: loader and its code, signature, input example and
    the engine.

    The requirements are given, since MLflow would find them by loading the model in a new process,
    which takes longer than all the rest.
    """
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import Model, ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    from engines.detect.pyfunc import COLUMNS

    names = {"int64": "long", "float32": "float", "str": "string"}
    frames = TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), name=None)
    table = Schema([ColSpec(names[kind], column) for column, kind in COLUMNS.items()])
    _link(publication.model_files, folder / "engine")
    code = copy_code(folder / "code")
    mlflow.pyfunc.save_model(
        str(folder / "model"),
        loader_module="engines.detect.pyfunc",
        data_path=str(folder / "engine"),
        code_paths=[code],
        mlflow_model=Model(run_id=run_id, model_id=model_id, model_uuid=model_id),
        signature=ModelSignature(inputs=Schema([frames]), outputs=table),
        # A plain picture, since frames of a plant have no place in a registry.
        input_example=np.full((1, 64, 64, 3), 114, np.uint8),
        pip_requirements=list(publication.requirements),
        model_config=dict(publication.thresholds),
    )


def _link(files: Iterable[Path], folder: Path) -> None:
    """Gather files in one folder without copying them; MLflow reads what the links point to."""
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())


def _draw(publication: Publication, folder: Path) -> None:
    folder.mkdir()
    publication.draw(folder)


def _tagged(publication: Publication) -> str:
    return f"tags.`{TAG}` = '{publication.release}'"


def _not_set_by_user(settings: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key not in os.environ}


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value


@contextmanager
def _silence() -> Iterator[None]:
    """Hold back MLflow's progress notes and its dependencies' deprecations: ours are the output."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401  # sets the level of its logger when it is first imported

        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _already_there() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def _service_errors(uri: str) -> Iterator[None]:
    from mlflow.exceptions import MlflowException
    from requests import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, RequestException, SQLAlchemyError, OSError) as error:
        shown = without_credentials(uri)
        reason = " ".join(str(error).replace(uri, shown).split())[:400]
        if not is_server(uri) and _is_disk_trouble(error):
            raise InputError(
                f"Cannot write to MLflow's store {shown} or the files beside it: {reason}. Free "
                "some space or fix the permissions, then run the same command again: it goes on "
                "where this one stopped."
            ) from error
        raise ServiceError(
            f"Expected MLflow at {shown} to take the release, but it did not: {reason} See that it "
            "runs and that MLFLOW_TRACKING_URI is right, then run the same command again: it goes "
            "on where this one stopped."
        ) from error


def _make_sqlite(path: Path) -> None:
    """Lay out a new store under another name first: MLflow cannot go on with one whose tables were
    half made when it was killed."""
    from mlflow import MlflowClient

    if path.exists() and path.stat().st_size:
        return
    with atomic_path(path) as temporary:
        MlflowClient(tracking_uri=f"{_SQLITE}{temporary}").search_experiments(max_results=1)


def _check_sqlite(path: Path) -> None:
    """Raise InputError unless SQLite can work with `path`; MLflow would try for minutes."""
    try:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            database.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        raise InputError(
            f"Expected an SQLite database in {path}, or nothing there yet, but SQLite says: "
            f"{error}. Free some space, fix the permissions or move the file away, then run the "
            "same command again."
        ) from error


def _is_disk_trouble(error: Exception) -> bool:
    """Whether the disk is full or may not be written; MLflow hands on what SQLite says as text."""
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        return True
    words = ("disk is full", "disk I/O error", "readonly database", "unable to open database")
    return any(one in str(error) for one in words)
