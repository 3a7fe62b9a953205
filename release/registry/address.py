"""What MLFLOW_TRACKING_URI and MLFLOW_REGISTRY_URI may name, and what to write instead of others.

MLflow takes any text and answers with a list of schemes at best; at worst it makes a folder of that
name and publishes into it.
"""

from __future__ import annotations

import os
import re
from importlib.metadata import entry_points
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from engines.errors import InputError

SERVERS = ("http", "https")
DATABRICKS = ("databricks", "databricks-uc", "uc")
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""What MLflow itself can keep runs and models in (mlflow.store.db.db_types)."""

_FILES_ONLY = frozenset(
    (
        *("s3", "gs", "r2", "b2", "oss", "wasb", "wasbs", "abfs", "abfss", "azure", "az"),
        *("hdfs", "viewfs", "dbfs", "ftp", "sftp"),
    )
)
"""Stores of files, which know no runs and models."""

_PLUGINS = {"azureml": "azureml-mlflow", "arn": "sagemaker-mlflow"}
"""Scheme to the package that teaches it to MLflow."""

_RENAMED = {
    "postgres": "postgresql",
    "psql": "postgresql",
    "pg": "postgresql",
    "mariadb": "mysql+pymysql",
    "sqlite3": "sqlite",
    "sqlserver": "mssql+pyodbc",
}
"""What people write to what SQLAlchemy calls it."""

_ALLOWED = "MLFLOW_ALLOW_FILE_STORE"
"""By which people say that they go on with MLflow's folders of files."""

_EXAMPLES = "http://host:port of an MLflow server, or sqlite:////folder/mlflow.db"


def scheme_of(uri: str) -> str:
    """In small letters and without a driver; empty where there is none."""
    return urlsplit(uri).scheme.partition("+")[0]


def is_server(uri: str) -> bool:
    """Whether a server answers at `uri`, which then decides where artifacts go."""
    scheme = uri.partition(":")[0].lower()
    return scheme in {*SERVERS, *DATABRICKS} or scheme in _taught()


def check_address(uri: str, variable: str) -> None:
    """Raise InputError where MLflow can publish nothing to `uri`, the value of `variable`."""
    parts = _parts(uri, variable)
    wrong = _wrong(uri, parts)
    if wrong:
        got, instead = wrong
        raise InputError(f"Expected {variable} as {_EXAMPLES}, got {got}. {instead}.")


def without_what_a_uri_reads(path: str) -> None:
    """Raise InputError for a folder whose name means something else in an SQLite URI: MLflow would
    publish into another file."""
    if set(path) & set("%?"):
        raise InputError(
            f"Expected MLflow's store in a folder without % and ? in its path, which its address "
            f"reads as something else, got {path}. Rename the folder, or name a store elsewhere in "
            "MLFLOW_TRACKING_URI."
        )


def _parts(uri: str, variable: str) -> SplitResult:
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as error:
        # Without the value, which may hold a password.
        raise InputError(
            f"Expected {variable} as {_EXAMPLES}, got something else ({error}). Fix it, or unset "
            "it to publish into this clone."
        ) from error
    return parts


def _wrong(uri: str, parts: SplitResult) -> tuple[str, str] | None:
    """What is wrong with an address, and what to do instead."""
    scheme, shown = scheme_of(uri), _shown(uri)
    if uri != uri.strip(" \t\r\n'\"`"):
        return "one with blanks or quotes around it", "Take them off"
    if scheme in SERVERS:
        return _wrong_server(parts, shown)
    if scheme in DATABASES:
        return _wrong_sqlite(uri, shown) if scheme == "sqlite" else _wrong_database(parts, shown)
    if scheme in _taught():
        return None
    return _wrong_scheme(uri, scheme, shown)


def _wrong_server(parts: SplitResult, shown: str) -> tuple[str, str] | None:
    if not parts.hostname:
        return f"{shown}, in which no host is named", f"Write {parts.scheme}://host:port"
    if parts.fragment:
        return (
            f"the address of a page, {shown}#…",
            f"Leave out what stands from # on: {shown.rstrip('/')}",
        )
    return None


def _wrong_sqlite(uri: str, shown: str) -> tuple[str, str] | None:
    scheme, _, rest = uri.partition(":")
    name = rest.partition("?")[0].rpartition("@")[2].lstrip("/")
    if scheme != scheme.lower():
        return shown, f"Write {scheme.lower()} in small letters"
    if not name and "://" not in uri:
        return f"{shown}, in which no file is named", "Write sqlite:////folder/mlflow.db"
    if name and not rest.startswith("///"):
        absolute = rest.startswith("/") and not rest.startswith("//")
        return (
            f"{shown}, which has too few slashes",
            f"Write sqlite:///{'/' if absolute else ''}{name}: three slashes, and the path behind "
            "them with a fourth if it begins at /",
        )
    path = rest.removeprefix("///").partition("?")[0]
    if "memory" not in rest and re.search(r"^///file:|[?&](uri|mode|immutable)=", rest):
        bare = path.removeprefix("file:")
        return (
            f"{shown}, in which file:, uri=, mode= or immutable= is for SQLite itself",
            f"Write sqlite:///{bare}: releases are written there, so it cannot be read-only",
        )
    if path.startswith(("~", "$")):
        home = Path(path).expanduser() if path.startswith("~/") else "/folder/mlflow.db"
        word = path.partition("/")[0]
        return f"{shown}, where no shell fills in {word}", f"Write sqlite:///{home}"
    if "%" in path:
        return f"{shown}, where % is read as something else", "Name a file without it"
    if path.endswith("/") and path != "//":  # `sqlite://` is a database in memory
        return f"{shown}, a folder", f"Name a file in it: {shown}mlflow.db"
    if re.match(r"[A-Za-z]:[\\/]|.*\\", path):
        return f"{shown}, a path of Windows", "Name a file of this machine"
    return None


def _wrong_database(parts: SplitResult, shown: str) -> tuple[str, str] | None:
    if not parts.netloc and not parts.path.strip("/"):
        return f"{shown}, in which no database is named", f"Write {parts.scheme}://host/database"
    driver = parts.scheme.partition("+")[2]
    if driver in {"asyncpg", "aiomysql", "asyncmy", "aioodbc", "psycopg_async"}:
        return f"{shown} with a driver that MLflow cannot use", f"Take `+{driver}` out"
    return None


def _wrong_scheme(uri: str, scheme: str, shown: str) -> tuple[str, str] | None:
    if re.match(r"[A-Za-z]:[\\/]|\\\\", uri):
        return f"{shown}, a path of Windows", "Name a server, or a file of this machine"
    if re.match(r"([^/@]*@)?(localhost|[\w-]+(\.[\w-]+)+|[\w.-]+:\d+)(:\d+)?(/|$)", uri):
        return f"{shown}, which has no scheme", f"Write http://{shown} or https://{shown}"
    if uri.partition(":")[0] == "databricks":
        return None
    if scheme in {"", "file"} and uri not in DATABRICKS:
        if os.environ.get(_ALLOWED, "").lower() in {"true", "1"}:
            return None
        return (
            f"{shown}, a folder of files, which MLflow writes no more",
            "Bring what is in it into a database, `mlflow migrate-filestore --source FOLDER "
            "--target sqlite:////folder/mlflow.db`, and name that",
        )
    if scheme in _FILES_ONLY:
        return (
            f"{shown}, a store of files that knows no runs and models",
            f"Give it to a server (`mlflow server --artifacts-destination {shown}`) and name that "
            "server",
        )
    if uri.partition(":")[0] in DATABRICKS:
        return (
            f"{shown}: a Unity Catalog has no runs and takes no names such as model.target",
            "Name an MLflow server",
        )
    if scheme in _PLUGINS:
        return (
            f"{shown}, which MLflow does not know by itself",
            f"Run `pip install {_PLUGINS[scheme]}`",
        )
    if scheme in _RENAMED:
        return shown, f"Write {_RENAMED[scheme]}:// instead of {scheme}://"
    return (
        f"{shown}, which MLflow does not know",
        f"It knows {', '.join((*SERVERS, *DATABASES))}",
    )


def _taught() -> frozenset[str]:
    """Schemes that other packages teach to MLflow, as its documentation of plugins says."""
    return frozenset(one.name for one in entry_points(group="mlflow.tracking_store"))


def _shown(uri: str) -> str:
    """A wrong address without what might be a password, which may stand anywhere before an @."""
    text = " ".join(uri.partition("#")[0].partition("?")[0].split())
    return re.sub(r"^([A-Za-z][\w+.-]*:/+)?.*@", r"\1", text)
