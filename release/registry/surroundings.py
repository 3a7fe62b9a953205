"""How MLflow is called: quiet, with a patience of ours, and its errors as sentences."""

from __future__ import annotations

import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from engines.disks import disk_error, is_of_temporary_files
from engines.errors import InputError, ServiceError
from engines.extras import missing_extra, require
from release.registry.address import is_server
from release.registry.asked import Asked
from release.registry.sqlite import is_disk_trouble, is_of_one_file, remedy
from release.registry.trouble import (
    is_of_a_store_of_files,
    missing_package,
    reason_of,
    refused,
    unknown_driver,
)
from release.registry.uri import without_credentials

_Found = TypeVar("_Found")

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "5"}
"""For the first request: whether the server is there at all (MLflow itself tries for minutes)."""
PATIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "12",
    # Else a server that is overloaded says how long this command sleeps.
    "MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER": "false",
    # PostgreSQL's library waits for ever, and in C, where nothing interrupts it.
    "PGCONNECT_TIMEOUT": "5",
}
"""For all others: a server that falls silent is given up within half a minute, and what is missing
then is made by the next run."""


MOST_SILENT = 3
"""Requests to which nothing is answered, of one command. MLflow tries each again over a new
connection, so that something in between that lets every first one die would hold a command for as
long as there are files."""


def not_set_by_user(settings: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in settings.items() if key not in os.environ}


@contextmanager
def environment(settings: Mapping[str, str]) -> Iterator[None]:
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


_LOUDEST = {
    **{"mlflow": logging.ERROR, "alembic": logging.ERROR},
    # What it logs, in a hundred lines of traceback, it raises too.
    "mlflow.store.db.utils": logging.CRITICAL,
}


@contextmanager
def silence() -> Iterator[None]:
    """Hold back MLflow's progress notes and its dependencies' deprecations: ours are the output."""
    loggers = [logging.getLogger(name) for name in _LOUDEST]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mlflow  # noqa: F401  # sets the level of its logger when it is first imported

        for logger in loggers:
            logger.setLevel(_LOUDEST[logger.name])
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def no_more_than_silent(most: int) -> Iterator[None]:
    """Raise TimeoutError where that many requests of the block were not answered in time, though
    each of them was when it was tried again."""
    logger = logging.getLogger("urllib3.connectionpool")
    handler = _Counting(most)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


class _Counting(logging.Handler):
    """Of what urllib3 says when it tries a request again."""

    def __init__(self, most: int) -> None:
        super().__init__(logging.WARNING)
        self._most, self._found = most, 0

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        self._found += said.startswith("Retrying") and "Timeout" in said
        if self._found >= self._most:
            raise TimeoutError(
                f"it left {self._found} requests without an answer, and took each of them only "
                "when it was sent again"
            )


@contextmanager
def service_errors(asked: Asked) -> Iterator[None]:
    """Let what MLflow raises in the block be said as a sentence that names the store that failed.
    Raises ServiceError, and InputError for what this machine lacks."""
    try:
        require("mlflow")  # before what comes with it, which no extra names
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as of a library that finds no memory for all of it
            from alembic.util import CommandError
            from mlflow.exceptions import MlflowException
            from requests import RequestException
            from sqlalchemy.exc import NoSuchModuleError, SQLAlchemyError
    except ImportError as error:
        # An error of ours, since a move in git stands where MLflow cannot be told of it.
        raise InputError(missing_extra(error, "release") or str(error)) from error
    try:
        yield
    except ImportError as error:
        sentence = missing_extra(error, "release") or missing_package(error, asked)
        raise InputError(sentence) from error
    except NoSuchModuleError as error:
        raise InputError(unknown_driver(asked)) from error
    except (MlflowException, RequestException, SQLAlchemyError, CommandError, OSError) as error:
        if isinstance(error, shutil.Error) and (of_a_file := _of_its_first_file(error)):
            raise of_a_file from error
        if is_of_temporary_files(error) or is_of_one_file(error):
            raise  # not for want of room at the store's or the server's: said where commands end
        if not is_server(asked.uri) and is_disk_trouble(error):
            raise InputError(
                f"Cannot write to MLflow's store {without_credentials(asked.uri)} or the files "
                f"beside it: {reason_of(error, *asked.uris)} {remedy(error)}, then run the "
                "same command again: it goes on where this one stopped."
            ) from error
        raise ServiceError(refused(error, asked)) from error
    except ValueError as error:
        if "MLFLOW_" not in str(error):
            raise
        raise InputError(
            f"MLflow cannot use a setting of the environment: {reason_of(error, *asked.uris)} Fix "
            "it or unset it, then run the same command again."
        ) from error
    except Exception as error:
        if not is_of_a_store_of_files(error, asked):
            raise
        raise ServiceError(refused(error, asked)) from error


def _of_its_first_file(error: shutil.Error) -> OSError | None:
    """What is wrong with the disk that a folder was copied to, as MLflow does with a model; Python
    has its files' errors as text."""
    _, target, why = error.args[0][0]
    return disk_error(why.partition(": '")[0], Path(target))


@contextmanager
def already_there() -> Iterator[None]:
    """Take it for done where somebody else made the same at the same moment: MLflow says so, or
    hands on that its database has such a row."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        twice = re.search(r"IntegrityError|UniqueViolation", str(error))
        if error.error_code != "RESOURCE_ALREADY_EXISTS" and not twice:
            raise


def if_there(
    ask: Callable[[str], _Found], name: str, *, perhaps_new: bool = False
) -> _Found | None:
    """What MLflow answers for a name; None where it has nothing of that name (any more).

    `perhaps_new`: nothing has to be of that name yet. A server whose users see only what is theirs
    (basic-auth with NO_PERMISSIONS) forbids to ask for what is not there, and lets them make it.
    """
    from mlflow.exceptions import MlflowException

    nothing = {"RESOURCE_DOES_NOT_EXIST", *(["PERMISSION_DENIED"] if perhaps_new else [])}
    try:
        return ask(name)
    except MlflowException as error:
        if error.error_code not in nothing:
            raise
        return None
