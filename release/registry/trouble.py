"""What MLflow and its libraries complain of, as a sentence with the command that puts it right."""

from __future__ import annotations

import re
import shlex

from release.registry.uri import without_credentials, without_secrets

_PACKAGES = {
    "boto3": "boto3",
    "botocore": "boto3",
    "psycopg2": "psycopg2-binary",
    "psycopg": "psycopg[binary]",
    "pymysql": "pymysql",
    "MySQLdb": "mysqlclient",
    "pymssql": "pymssql",
    "pyodbc": "pyodbc",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-identity",
    "databricks": "databricks-sdk",
}
"""Module that a tracking URI or artifact store needs to what pip installs it from."""

_REMEDIES = {
    r"error code 40[13]\b|PERMISSION_DENIED|UNAUTHENTICATED": (
        "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, of "
        "somebody who may write there"
    ),
    r"CERTIFICATE_VERIFY_FAILED|CA certificate bundle": (
        "Name the file with its certificate, or with that of its authority, in "
        "MLFLOW_TRACKING_SERVER_CERT_PATH"
    ),
    r"ProxyError": (
        "See that the proxy of HTTP_PROXY and HTTPS_PROXY runs, or name the server in NO_PROXY"
    ),
    r"out-of-date database schema": (
        "Where the store is older than MLflow here, make a copy and run `mlflow db upgrade` with "
        "its address; where it is newer, install the MLflow that wrote it"
    ),
}
"""What an error says to what puts it right (mlflow.environment_variables has the names)."""

LONGEST = 400


def reason_of(error: Exception, uri: str) -> str:
    """What the error says, in one line, without secrets of `uri`."""
    return without_secrets(" ".join(str(error).split()), uri)[:LONGEST]


def remedy_of(error: Exception) -> str:
    """What to do where a server does not take a release, by what the error says."""
    said = str(error)
    for pattern, remedy in _REMEDIES.items():
        if re.search(pattern, said):
            return remedy
    return "See that it runs and that MLFLOW_TRACKING_URI is right"


def missing_package(error: ImportError, uri: str) -> str:
    """The sentence for a module that is not installed."""
    module = error.name or _named(str(error)) or str(error)
    package = _PACKAGES.get(module.partition(".")[0], module.partition(".")[0])
    return (
        f"Expected the Python module {module}, which MLflow at {without_credentials(uri)} or its "
        f"store of files needs, but it is not installed. Run `pip install "
        f"{_quoted(package)}`, then the same command again."
    )


def deleted(kind: str, name: str, number: str, uri: str) -> str:
    """The sentence for an experiment or run that lies in MLflow's trash."""
    option = {"experiments": "--experiment-id", "runs": "--run-id"}[kind]
    shown = without_credentials(uri)
    return (
        f"Expected {name} in MLflow at {shown}, but it was deleted there. Bring it back with "
        f"`MLFLOW_TRACKING_URI={shlex.quote(shown)} mlflow {kind} restore {option} {number}`, then "
        "run the same command again."
    )


def _quoted(words: str) -> str:
    """For every shell: zsh takes `psycopg[binary]` for a pattern."""
    return shlex.join(words.split())


def _named(text: str) -> str:
    found = re.search(r"No module named '([^']+)'", text)
    return found[1] if found else ""
