"""Which addresses name a store, and what is said of others before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import InputError
from release.registry import address
from release.registry.address import check_address, is_server
from release.registry.uri import registry_uri, shown_uri, sqlite_file, tracking_uri

WRONG = [
    *((f"{one}://place/x", "store of files") for one in ("s3", "gs", "ftp", "hdfs", "abfss")),
    ("dbfs:/x", "--artifacts-destination dbfs:/x"),
    ("wasbs://c@account.blob.core.windows.net/x", "wasbs://account.blob"),
    ("mlruns", "a folder of files"),
    ("./mlruns", "migrate-filestore"),
    ("/srv/mlruns", "a folder of files"),
    ("file:mlruns", "a folder of files"),
    ("file:///srv/mlruns", "a folder of files"),
    ("file://nas/srv/mlruns", "a folder of files"),
    ("C:\\Users\\ada\\mlruns", "a path of Windows"),
    ("\\\\nas\\share", "a path of Windows"),
    ("sqlite:///C:\\mlflow.db", "a path of Windows"),
    ("localhost", "Write http://localhost or"),
    ("localhost:5000", "Write http://localhost:5000 or"),
    ("127.0.0.1:5000", "Write http://127.0.0.1:5000 or"),
    ("mlflow.example.com/team", "Write http://mlflow.example.com/team or"),
    ("http:", "no host"),
    ("http:/host:5000", "no host"),
    ("https://:5000", "no host"),
    ("http://host:99999", "got something else"),
    ("http://host:port", "got something else"),
    ("http://host:5000/#/experiments/3", "Leave out what stands from # on: http://host:5000."),
    (" http://host", "blanks or quotes around"),
    ("http://host\n", "blanks or quotes around"),
    ('"http://host"', "blanks or quotes around"),
    ("sqlite:", "no file is named"),
    ("sqlite:/", "no file is named"),
    ("sqlite:mlflow.db", "Write sqlite:///mlflow.db: "),
    ("sqlite:/srv/mlflow.db", "Write sqlite:////srv/mlflow.db: "),
    ("sqlite://srv/mlflow.db", "Write sqlite:///srv/mlflow.db: "),
    ("sqlite:///~/mlflow.db", f"Write sqlite:///{Path.home()}/mlflow.db"),
    ("sqlite:///$HOME/mlflow.db", "no shell fills in"),
    ("sqlite:////srv/", "Name a file in it: sqlite:////srv/mlflow.db"),
    ("sqlite:////srv/our%20store/mlflow.db", "% is read as something else"),
    ("sqlite:///file:/srv/mlflow.db?mode=ro&uri=true", "Write sqlite:////srv/mlflow.db: releases"),
    ("sqlite:///file:mlflow.db", "Write sqlite:///mlflow.db: releases"),
    ("sqlite:////srv/mlflow.db?mode=ro", "cannot be read-only"),
    ("SQLITE:////srv/mlflow.db", "Write sqlite in small letters"),
    ("postgres://u:t0psecret@db/mlflow", "Write postgresql:// instead of postgres://"),
    ("mariadb://u:t0psecret@db/mlflow", "Write mysql+pymysql://"),
    ("postgresql+asyncpg://u:t0psecret@db/mlflow", "Take `+asyncpg` out"),
    ("postgresql:", "no database is named"),
    ("oracle://u:t0psecret@db/mlflow", "It knows http, https, sqlite"),
    ("ada:t0psecret@host:5000", "Write http://host:5000 or"),
    ("http:/ada:t0psecret@host", "no host"),
    ("uc:http://host", "a Unity Catalog"),
    ("databricks-uc", "a Unity Catalog"),
    ("azureml://x.api.azureml.ms/mlflow", "pip install azureml-mlflow"),
    ("arn:aws:sagemaker:us-east-1:1:mlflow-tracking-server/x", "pip install sagemaker-mlflow"),
]


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"])
@pytest.mark.parametrize(("uri", "said"), WRONG)
def test_what_is_no_store_is_told_with_what_to_write(
    monkeypatch: pytest.MonkeyPatch, uri: str, said: str, variable: str
) -> None:
    monkeypatch.setenv(variable, uri)
    with pytest.raises(InputError) as caught:
        registry_uri(Path("/r"))
    sentence = str(caught.value)
    assert sentence.startswith(f"Expected {variable} as http://")
    assert said in sentence
    assert "t0psecret" not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize(
    "uri",
    [
        "http://host:5000",
        "HTTPS://me:secret@host/prefix/",
        "https://[::1]:5000/?token=x",
        "sqlite:////srv/mlflow.db?timeout=5",
        "sqlite:////srv/ü b/it's#1.db",
        "sqlite+pysqlite:////srv/mlflow.db",
        "postgresql://db/mlflow",
        "postgresql+psycopg2:///mlflow",
        "mysql+pymysql://u:p@db:3306/mlflow?charset=utf8mb4",
        "mssql+pyodbc://u:p@dsn",
        "databricks",
        "databricks://profile",
    ],
)
def test_what_is_a_store_is_taken(uri: str) -> None:
    check_address(uri, "MLFLOW_TRACKING_URI")


def test_a_scheme_that_another_package_teaches_is_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    uri = "azureml://x.api.azureml.ms/mlflow"
    monkeypatch.setattr(address, "_taught", lambda: frozenset(["azureml"]))
    check_address(uri, "MLFLOW_TRACKING_URI")
    assert is_server(uri)


def test_folders_of_files_where_people_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    check_address("file:///srv/mlruns", "MLFLOW_TRACKING_URI")


@given(st.text(min_size=1, max_size=40))
def test_any_text_is_taken_or_refused_in_a_sentence(text: str) -> None:
    assert "\n" not in _said_of(text)


@given(st.sampled_from([one for one, _ in WRONG]), st.text("abcXYZ019:/.~", min_size=4))
def test_a_password_in_a_wrong_address_is_not_shown(uri: str, secret: str) -> None:
    scheme, colon, rest = uri.partition(":")
    wrong = f"{scheme}{colon}ada:{secret}@{rest}"
    assert f":{secret}@" not in _said_of(wrong)


def _said_of(uri: str) -> str:
    try:
        check_address(uri, "MLFLOW_TRACKING_URI")
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("folder", ["/srv/a%20b", "/srv/what?"])
@pytest.mark.parametrize("uri", ["", "sqlite:///mine.db"])
def test_a_folder_whose_name_an_address_reads_otherwise(
    monkeypatch: pytest.MonkeyPatch, folder: str, uri: str
) -> None:
    """SQLite would open another file: `what` beside the repository `what?`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match="without % and"):
        tracking_uri(Path(folder))


def test_a_relative_file_is_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages run in the folder of their target, people where they are."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///stores/mine.db?timeout=5")
    uri = tracking_uri(Path("/r"))
    assert uri == "sqlite:////r/stores/mine.db?timeout=5"
    assert sqlite_file(uri) == Path("/r/stores/mine.db")
    assert shown_uri(Path("/r")) == "sqlite:///stores/mine.db"


def test_the_registry_is_where_the_runs_are_or_where_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://runs")
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    assert registry_uri(Path("/r")) == "http://runs"
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:///models.db")
    assert registry_uri(Path("/r")) == "sqlite:////r/models.db"
