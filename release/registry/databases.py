"""MLflow's database where no server stands before it: its files in order, reached, laid out."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from engines.errors import InputError
from engines.files import atomic_path
from release.registry.address import DATABASES
from release.registry.asked import FIRST_CALL, LONGEST_CALL, within
from release.registry.sqlite import check_length, check_sqlite, follow_move
from release.registry.uri import LOCAL_STORE, artifacts_folder, sqlite_file

_VERSION_TABLE = "alembic_version"
"""MLflow's own mark of a database that is laid out, and by which version."""


def files_in_order(root: Path, uri: str, reading: bool) -> Path | None:
    """See that a store without a server can be used; gives its `artifacts_folder`."""
    file, artifacts = sqlite_file(uri), artifacts_folder(root, uri)
    if file is None and artifacts is not None:
        reach_database(uri)
    if file is not None:
        check_length(file)
        make_sqlite(file)
        check_sqlite(file, reading=reading)
        if artifacts is not None:
            follow_move(file, artifacts, always=file == root / LOCAL_STORE)
    return artifacts


def reach_database(uri: str) -> None:
    """Open a connection to a database and close it: MLflow tries ten times, for minutes. In an
    empty one let MLflow lay out its tables, in hundreds of statements, each of which has the time
    of an answer. Raises what SQLAlchemy or the driver raises, and TimeoutError."""
    from mlflow import MlflowClient
    from sqlalchemy import Engine, create_engine, event, inspect
    from sqlalchemy.pool import NullPool

    if urlsplit(uri).scheme.partition("+")[0] not in DATABASES:
        return
    _let_psycopg2_hear_signals()
    with within(FIRST_CALL), create_engine(uri, poolclass=NullPool).connect() as connection:
        empty = not inspect(connection).has_table(_VERSION_TABLE)
    if empty:
        with within(LONGEST_CALL) as begin_anew:
            event.listen(Engine, "after_cursor_execute", begin_anew)
            try:
                MlflowClient(uri).search_experiments(max_results=1)
            finally:
                event.remove(Engine, "after_cursor_execute", begin_anew)


def _let_psycopg2_hear_signals() -> None:
    """By itself it waits for PostgreSQL in C, where neither a time limit nor Ctrl-C reaches it: a
    server that froze after it was connected to would hold a command for ever."""
    with suppress(ImportError):  # another driver, or none, which is said where it is needed
        from psycopg2 import extensions, extras

        extensions.set_wait_callback(extras.wait_select)


def make_sqlite(path: Path) -> None:
    """Lay out a new store under another name first: MLflow cannot go on with one whose tables were
    half made when it was killed. Raises InputError for a link to nothing, such as a share that is
    not mounted: the store would be made anew in its place."""
    from mlflow import MlflowClient

    if path.is_symlink() and not path.exists():
        raise InputError(
            f"Expected MLflow's store at {path}, but that is a link to {path.readlink()}, which is "
            "not there. Mount or bring what it leads to, or remove the link to begin a new store."
        )
    if path.exists() and path.stat().st_size:
        return
    # Tables take seconds. Who was first in that time has releases in theirs by now.
    with suppress(FileExistsError), atomic_path(path) as temporary:
        temporary.touch()  # SQLite makes files that only their owner may write, whatever the umask
        MlflowClient(tracking_uri=f"sqlite:///{temporary}").search_experiments(max_results=1)
        _refuse_second(temporary, path)


def _refuse_second(temporary: Path, path: Path) -> None:
    """Raise FileExistsError where `path` is there by now; an empty file is none."""
    try:
        os.link(temporary, path)
    except OSError:  # it is there, or the disk has no links
        if path.exists() and path.stat().st_size:
            raise FileExistsError from None
