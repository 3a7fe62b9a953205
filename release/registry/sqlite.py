"""A store that is an SQLite file: whether it can be used, and where it says that its files are."""

from __future__ import annotations

import errno
import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from engines.disks import BROKEN_ERRNOS, DISK_ERRNOS
from engines.errors import InputError, ServiceError

_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Where MLflow 3 writes whole paths of files."""


LONGEST_PATH = 470
"""Bytes. SQLite opens none of 512 and more, and a new store has 40 more for a moment."""
LOCKED_SECONDS = 15.0
"""How long another program may write before it is said."""
READING_SECONDS = 3.0
"""The same for a command that only asks, which most writers let read."""


def check_sqlite(path: Path, *, reading: bool = False) -> None:
    """Raise InputError unless SQLite can work with `path`, and ServiceError where another program
    does not let go of it; MLflow would try for minutes."""
    with _opened(path, READING_SECONDS if reading else LOCKED_SECONDS) as database:
        database.execute("SELECT 1 FROM sqlite_master" if reading else "BEGIN IMMEDIATE")


def check_length(path: Path) -> None:
    """Raise InputError for a path that SQLite does not open, of which it says only that."""
    length = len(os.fsencode(path))
    if length > LONGEST_PATH:
        raise InputError(
            f"Expected MLflow's store at a path of at most {LONGEST_PATH} bytes, which is what "
            f"SQLite opens, got one of {length}: {str(path)[:60]}…. Move the repository, or name a "
            "store elsewhere in MLFLOW_TRACKING_URI."
        )


def follow_move(path: Path, artifacts: Path, *, always: bool) -> list[Path]:
    """Put right where the store says that its files are, after its folder was moved or copied:
    MLflow keeps whole paths. Gives the folders that it named before.

    Only what `release publish` laid out (`<folder>/mlartifacts/jetrail/<model>`), and where the
    old folder may still be meant only if `always` is given. Raises as `check_sqlite`; nothing is
    changed then.
    """
    left: list[Path] = []
    with _opened(path, LOCKED_SECONDS) as database:
        found = database.execute("SELECT name, artifact_location FROM experiments").fetchall()
        for name, location in found:
            old = _folder(location, name)
            if old is None or old == artifacts or old in left:
                continue
            if always or not (old / name).exists() or (artifacts / name).exists():
                left.append(old)
        for old in left:
            for table, column in _PLACES:
                database.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "
                    f"WHERE substr({column}, 1, ?) = ?",
                    (
                        artifacts.as_uri(),
                        len(old.as_uri()) + 1,
                        len(old.as_uri()) + 1,
                        f"{old.as_uri()}/",
                    ),
                )
    return left


@contextmanager
def _opened(path: Path, patience: float) -> Iterator[sqlite3.Connection]:
    """The database, for one transaction. Raises InputError for what SQLite says of it, and
    ServiceError where another program writes to it all the while."""
    try:
        with closing(sqlite3.connect(path, timeout=patience)) as database, database:
            yield database
    except sqlite3.Error as error:
        if re.search(r"database (table |schema )?is locked", str(error)):
            raise ServiceError(
                f"Expected to open MLflow's store {path}, but another program has been writing to "
                f"it for {patience:.0f} s. Wait for it or end it (`fuser -v "
                f"{shlex.quote(str(path))}` names it), then run the same command again."
            ) from error
        raise InputError(
            f"Expected an SQLite database in {path}, or nothing there yet, but SQLite says: "
            f"{error}. {remedy(error)} or move the file away, then run the same command again."
        ) from error


def is_disk_trouble(error: Exception) -> bool:
    """Whether the disk is full or may not be written; MLflow hands on what SQLite says as text."""
    if isinstance(error, OSError) and error.errno in DISK_ERRNOS:
        return True
    words = ("disk is full", "disk I/O error", "readonly database", "unable to open database")
    return any(one in str(error) for one in words)


def is_of_one_file(error: Exception) -> bool:
    """Whether a file is too large for this process, or lies on a broken disk: one that is sent to
    the store, perhaps."""
    return isinstance(error, OSError) and error.errno in {errno.EFBIG, *BROKEN_ERRNOS}


def remedy(error: Exception) -> str:
    """Of a disk. SQLite says the same of a file that may not grow as of a broken disk."""
    if "disk I/O error" in str(error):
        return (
            "Raise the limit on the size of a file (`ulimit -f`), free some space or look what is "
            "wrong with the disk (`dmesg` says more)"
        )
    if re.search("malformed|not a database", str(error)):
        return "Bring the file back from a backup"
    return "Free some space or fix the permissions"


def _folder(location: str | None, name: str) -> Path | None:
    """The folder `mlartifacts` of an experiment's location, if we laid it out."""
    parts = urlsplit(location or "")
    path = Path(unquote(parts.path))
    own = parts.scheme == "file" and path.as_posix().endswith(f"/mlartifacts/{name}")
    return Path(path.as_posix().removesuffix(f"/{name}")) if own else None
