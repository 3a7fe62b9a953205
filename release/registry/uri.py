"""Where MLflow is, and what of that may be shown: a URI may hold secrets, which appear nowhere."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from engines.errors import InputError

LOCAL_STORE = "mlflow.db"
_SQLITE = "sqlite:///"

SECRET_LENGTH = 4
"""Shorter values of a query, such as `1`, are words of every message too."""


def tracking_uri(root: Path) -> str:
    """Where MLflow is: MLFLOW_TRACKING_URI, or else a SQLite file in the repository at `root`.

    Raises InputError for what is no URI.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{root / LOCAL_STORE}"
    try:
        urlsplit(uri)
    except ValueError as error:
        # Without the value, which may hold a password.
        raise InputError(
            f"Expected MLFLOW_TRACKING_URI as http://host:port or sqlite:////folder/mlflow.db, got "
            f"something else ({error}). Fix it, or unset it to publish into this clone."
        ) from error
    return uri


def shown_uri(root: Path) -> str:
    """`tracking_uri` as it stands in records: without credentials or this machine's folders."""
    uri = tracking_uri(root)
    local = f"{_SQLITE}{root / LOCAL_STORE}"
    return f"{_SQLITE}{LOCAL_STORE}" if uri == local else without_credentials(uri)


def is_server(uri: str) -> bool:
    """Whether a server answers at `uri`, which then decides where artifacts go."""
    return uri.partition(":")[0] in {"http", "https", "databricks", "databricks-uc", "uc"}


def without_credentials(uri: str) -> str:
    """`uri` without user, password and query, fit for records and messages."""
    parts = urlsplit(uri)
    if not parts.netloc:
        return uri.partition("#")[0].partition("?")[0]
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def without_secrets(text: str, uri: str) -> str:
    """`text`, perhaps somebody else's message, without what `uri` holds of secrets."""
    parts = urlsplit(uri)
    user = parts.netloc.rpartition("@")[0]
    values = [value for _, value in parse_qsl(parts.query)]
    single = [unquote(user.partition(":")[2]), user.partition(":")[2], *values]
    secrets = {user, parts.query, *(one for one in single if len(one) >= SECRET_LENGTH)}
    text = text.replace(uri, without_credentials(uri))
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


def sqlite_file(uri: str) -> Path | None:
    """The file of a SQLite URI; None for any other. Raises InputError for a database in memory,
    which would be gone when the command ends."""
    scheme, _, rest = uri.partition("://")
    if scheme.partition("+")[0] != "sqlite":
        return None
    name = rest.removeprefix("/").partition("?")[0]
    if not name or ":memory:" in name or "mode=memory" in rest:
        raise InputError(
            f"Expected MLFLOW_TRACKING_URI to name a file, got {without_credentials(uri)}, a "
            "database in memory, in which nothing would be left. Write sqlite:////folder/mlflow.db."
        )
    return Path(name)


def artifacts_folder(root: Path, uri: str) -> Path | None:
    """Where a store without a server keeps its files: beside its SQLite file, or in the repository.
    None where a server decides. Raises InputError as `sqlite_file`."""
    if is_server(uri):
        return None
    file = sqlite_file(uri)
    # Not Path.resolve, which raises for links in a circle: SQLite says that better.
    return (Path(os.path.realpath(file)).parent if file else root) / "mlartifacts"
