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
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from engines.errors import InputError, ServiceError
from engines.files import DISK_ERRNOS, atomic_path
from release.records import MlflowEntry
from release.registry.portable import copy_code
from release.registry.submission import Submission

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel, Run

LOCAL_STORE = "mlflow.db"

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


class Store:
    """An MLflow tracking server and model registry, or a local SQLite file that acts as both."""

    def __init__(self, client: MlflowClient, shown_uri: str, artifacts: Path | None) -> None:
        self._client = client
        self._shown_uri = shown_uri
        self._artifacts = artifacts

    def version_of(self, registered_model: str, release: str) -> int | None:
        """The version that holds a release, if there is one."""
        found = self._find_version(registered_model, release)
        return int(found.version) if found else None

    def publish(self, submission: Submission) -> MlflowEntry:
        """Make, or complete, run, model and version. Raises ServiceError."""
        experiment = self._experiment(submission.experiment)
        found = self._find_version(submission.registered_model, submission.release)
        run = self._run(submission, experiment, found)
        self._log(submission, run)
        version = found or self._register(submission, self._model(submission, experiment, run), run)
        if run.info.status != "FINISHED":
            self._client.set_terminated(run.info.run_id, "FINISHED")
        return MlflowEntry(
            tracking_uri=self._shown_uri,
            experiment=submission.experiment,
            run_id=run.info.run_id,
            registered_model=submission.registered_model,
            version=int(version.version),
        )

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

    def _run(self, submission: Submission, experiment: str, version: Any | None) -> Run:
        if version is not None and version.run_id:
            return self._client.get_run(version.run_id)
        found = self._client.search_runs([experiment], _tagged(submission.release), max_results=1)
        if found:
            return found[0]
        tags = {**submission.tags, TAG: submission.release}
        return self._client.create_run(experiment, tags=tags, run_name=submission.release)

    def _log(self, submission: Submission, run: Run) -> None:
        if run.data.tags.get(LOGGED) == submission.fingerprint:
            return
        from mlflow.entities import Metric, Param, RunTag

        now, run_id = int(time.time() * 1000), run.info.run_id
        self._client.log_batch(
            run_id,
            metrics=[Metric(key, value, now, 0) for key, value in submission.metrics.items()],
            params=[
                Param(key, value)
                for key, value in submission.params.items()
                if key not in run.data.params
            ],
            tags=[RunTag(key, value) for key, value in submission.tags.items()],
        )
        with tempfile.TemporaryDirectory() as folder:
            _link(submission.files, Path(folder))
            _draw(submission, Path(folder) / "plots")
            self._client.log_artifacts(run_id, folder)
        self._client.set_tag(run_id, LOGGED, submission.fingerprint)

    def _model(self, submission: Submission, experiment: str, run: Run) -> LoggedModel:
        found = self._client.search_logged_models(
            [experiment], filter_string=_tagged(submission.release), max_results=1
        )
        model = found[0] if found else self._create_model(submission, experiment, run)
        if model.status.value != "READY":
            with tempfile.TemporaryDirectory() as folder:
                _save_model(submission, Path(folder), model.model_id, run.info.run_id)
                self._client.log_model_artifacts(model.model_id, f"{folder}/model")
            model = self._client.finalize_logged_model(model.model_id, "READY")
        return model

    def _create_model(self, submission: Submission, experiment: str, run: Run) -> LoggedModel:
        return self._client.create_logged_model(
            experiment,
            name=submission.registered_model.replace(".", "-"),
            source_run_id=run.info.run_id,
            tags={**submission.tags, TAG: submission.release},
            params=dict(submission.params),
        )

    def _find_version(self, registered_model: str, release: str) -> Any | None:
        query = f"name = '{registered_model}' and {_tagged(release)}"
        found = self._client.search_model_versions(query)
        return min(found, key=lambda version: int(version.version), default=None)

    def _register(self, submission: Submission, model: LoggedModel, run: Run) -> Any:
        name = submission.registered_model
        with _already_there():
            self._client.create_registered_model(name)
        ours = self._client.create_model_version(
            name,
            source=f"models:/{model.model_id}",
            run_id=run.info.run_id,
            tags={**submission.tags, TAG: submission.release},
            model_id=model.model_id,
        )
        # Somebody on another machine may have registered the same engine since we looked. Whoever
        # came second sees both and takes their own back, so that one is left.
        first = self._find_version(name, submission.release) or ours
        if int(first.version) < int(ours.version):
            self._client.delete_model_version(name, str(ours.version))
        return first


def tracking_uri(root: Path) -> str:
    """Where MLflow is: MLFLOW_TRACKING_URI, or else a SQLite file in the repository at `root`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root / LOCAL_STORE}"


def shown_uri(root: Path) -> str:
    """`tracking_uri` as it stands in records: without credentials or this machine's folders."""
    uri = tracking_uri(root)
    local = f"{_SQLITE}{root / LOCAL_STORE}"
    return f"{_SQLITE}{LOCAL_STORE}" if uri == local else without_credentials(uri)


@contextmanager
def open_store(root: Path) -> Iterator[Store]:
    """The store at `tracking_uri(root)`, for as long as the block runs.

    A store without a server keeps its artifacts in `<root>/mlartifacts`. Whatever MLflow raises in
    the block becomes a ServiceError.
    """
    uri = tracking_uri(root)
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
        yield Store(client, shown_uri(root), None if is_server(uri) else root / "mlartifacts")


def is_server(uri: str) -> bool:
    """Whether a server answers at `uri`, which then decides where artifacts go."""
    return uri.partition(":")[0] in {"http", "https", "databricks", "databricks-uc", "uc"}


def without_credentials(uri: str) -> str:
    """`uri` without user, password and query, fit for records and messages."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _save_model(submission: Submission, folder: Path, model_id: str, run_id: str) -> None:
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
    _link(submission.model_files, folder / "engine")
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
        pip_requirements=list(submission.requirements),
        model_config=dict(submission.thresholds),
    )


def _link(files: Iterable[Path], folder: Path) -> None:
    """Gather files in one folder without copying them; MLflow reads what the links point to."""
    folder.mkdir(exist_ok=True)
    for file in files:
        (folder / file.name).symlink_to(file.resolve())


def _draw(submission: Submission, folder: Path) -> None:
    folder.mkdir()
    submission.draw(folder)


def _tagged(release: str) -> str:
    return f"tags.`{TAG}` = '{release}'"


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
