"""Where MLflow is: secrets appear nowhere, and a database in memory is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from engines.errors import InputError, ServiceError
from release.registry.asked import Asked
from release.registry.databases import reach_database
from release.registry.surroundings import service_errors
from release.registry.trouble import deleted, missing_package, reason_of, refused
from release.registry.uri import (
    artifacts_folder,
    sqlite_file,
    tracking_uri,
    without_credentials,
    without_secrets,
)
from release.terminal import how_to_open

URIS = (
    "https://me:pa%40ss@host/mlflow?token=t0psecret&x=1",
    "http://host:5000?api_key=t0psecret",
    "postgresql://me:t0psecret@db/mlflow?sslpassword=an0ther",
    "sqlite:////var/mlflow.db?key=t0psecret",
)


@pytest.mark.parametrize("uri", URIS)
def test_secrets_of_a_uri_appear_nowhere(uri: str) -> None:
    message = f"no host at {uri}: /?token=t0psecret/api (an0ther, pa%40ss, pa@ss, key=t0psecret)"
    said = [without_credentials(uri), without_secrets(message, uri), reason_of(OSError(uri), uri)]
    for secret in ("t0psecret", "an0ther", "pa%40ss", "pa@ss"):
        if secret in uri or (secret == "pa@ss" and "pa%40" in uri):
            assert secret not in " ".join(said)


@given(st.text("abcXYZ019-_.~", min_size=4), st.text("abcXYZ019-_.~", min_size=4))
def test_any_secret(password: str, token: str) -> None:
    uri = f"https://user:{password}@host.example/mlflow?token={token}"
    said = without_secrets(f"401 for {uri} with {token} and {password}", uri)
    rest = said.replace("https://host.example/mlflow", "")
    assert password not in rest
    assert token not in rest


@pytest.mark.parametrize("token", ["t0psecret\n", "t0psecret\nbr0ken\n"])
def test_a_token_that_is_no_header_is_not_shown(
    token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As GitLab's variables and files hold it, with a line end: requests shows what it refuses."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)
    shown = requests.exceptions.InvalidHeader(f"Invalid in header value: {f'Bearer {token}'!r}")
    with pytest.raises(ServiceError) as caught, service_errors(Asked(tracking="http://host")):
        raise shown
    assert not re.search("t0psecret|br0ken", str(caught.value))
    assert "Take blanks, line ends" in str(caught.value)


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/api", "https://127.0.0.1:1/api"])
def test_a_server_that_is_not_there_is_said_in_few_words(address: str) -> None:
    with pytest.raises(requests.exceptions.ConnectionError) as caught:
        requests.get(address, timeout=5, proxies={"http": "", "https": ""})
    reason = reason_of(caught.value, address)
    assert "Connection refused" in reason
    assert not re.search("Max retries|ConnectionPool|Caused by", reason)
    assert len(reason) < 100


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        # The address of a login that a proxy sends everybody to, and of a file in S3.
        ("Max retries exceeded with url: /oauth?state=t0psecret (Caused", "url: /oauth (Caused"),
        ("403 for url: https://b.s3.aws/a/b?X-Amz-Signature=t0psecret", "https://b.s3.aws/a/b."),
        ("what? https://host/page", "what? https://host/page"),
    ],
)
def test_an_address_that_somebody_else_names_has_no_query(said: str, shown: str) -> None:
    reason = reason_of(OSError(said), "http://host")
    assert shown in reason
    assert "t0psecret" not in reason


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("(Caused by ResponseError('too many 429 error responses'))", "asked less often"),
        ("('Connection aborted.', BadStatusLine('\\x00\\x00'))", "speak HTTP/1.1"),
        ("API request to endpoint /api failed with error code 204 != 200.", "not a login"),
        ("Failed to parse experiments field: repeated field experiments", "not a login"),
        ("failed with exception Missing dependencies for SOCKS support", "pip install pysocks"),
    ],
)
def test_what_stands_before_a_server_is_told(said: str, remedy: str) -> None:
    assert remedy in refused(OSError(said), Asked(tracking="http://host"))


def test_a_query_in_a_server_s_address_is_what_keeps_it_from_answering() -> None:
    said = OSError("API request to endpoint /api failed with error code 405 != 200.")
    asked = Asked(tracking="http://host/?api_key=t0psecret")
    assert "Take what stands from ? on out of that address" in refused(said, asked)
    assert "t0psecret" not in refused(said, asked)
    for plain in ("http://host/", "postgresql://host/mlflow?sslmode=require"):
        assert "not a login" in refused(said, Asked(tracking=plain))


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite://",
        "sqlite:///",
        "sqlite:///:memory:",
        "sqlite+pysqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_a_database_in_memory_is_refused(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(InputError, match="name a file, got .*in memory"):
        sqlite_file(tracking_uri(tmp_path))


def test_files_stand_beside_an_sqlite_file(tmp_path: Path) -> None:
    place = tmp_path / "shared"
    assert (
        artifacts_folder(Path("/r"), f"sqlite:///{place}/m.db?timeout=5") == place / "mlartifacts"
    )
    assert artifacts_folder(Path("/r"), "postgresql://db/mlflow") == Path("/r/mlartifacts")
    assert artifacts_folder(Path("/r"), "https://host") is None


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("boto3", "boto3"),
        ("psycopg2", "psycopg2-binary"),
        ("google.cloud", "google-cloud-storage"),
        ("psycopg", "'psycopg[binary]'"),
        ("azure", "azure-storage-blob azure-identity"),
    ],
)
def test_a_missing_package_is_named_with_the_command(module: str, package: str) -> None:
    error = ModuleNotFoundError(f"No module named '{module}'", name=module)
    said = missing_package(error, Asked(tracking="postgresql://me:secret@db/mlflow"))
    assert f"`pip install {package}`" in said
    assert "secret" not in said


def test_a_package_that_mlflow_does_not_know_is_not_missing() -> None:
    """MLflow 3.5 with SQLAlchemy 2.1: `pip install sqlalchemy` would do nothing."""
    error = ImportError(
        "cannot import name 'FallbackAsyncAdaptedQueuePool' from 'sqlalchemy.pool' (/here)",
        name="sqlalchemy.pool",
    )
    said = missing_package(error, Asked(tracking="sqlite:///mlflow.db"))
    assert "'FallbackAsyncAdaptedQueuePool' from 'sqlalchemy.pool'" in said
    assert "--constraint constraints.txt" in said
    assert "is not installed" not in said


@pytest.mark.parametrize(
    ("scheme", "module", "said"),
    [
        # SQLAlchemy's own choice wants a compiler and MySQL's headers.
        ("mysql", "MySQLdb", "Write mysql+pymysql:// instead of mysql://"),
        ("mysql", "MySQLdb", "`pip install pymysql`"),
        ("mysql+mysqldb", "MySQLdb", "`pip install mysqlclient`"),
        ("mysql+pymysql", "pymysql", "`pip install pymysql`"),
        ("mysql+mysqlconnector", "mysql", "`pip install mysql-connector-python`"),
        ("mysql+cymysql", "cymysql", "`pip install cymysql`"),
        ("postgresql+pg8000", "pg8000", "`pip install pg8000`"),
        ("postgresql+psycopg", "psycopg", "`pip install 'psycopg[binary]'`"),
        ("mssql", "pyodbc", "`pip install pyodbc`"),
    ],
)
def test_the_driver_to_install_is_the_one_that_the_address_names(
    scheme: str, module: str, said: str
) -> None:
    error = ModuleNotFoundError(f"No module named '{module}'", name=module)
    for asked in (
        Asked(tracking=f"{scheme}://me:secret@db/mlflow"),
        Asked(tracking="http://host", registry=f"{scheme}://me:secret@db/m", last="registry"),
    ):
        sentence = missing_package(error, asked)
        assert said in sentence
        assert "secret" not in sentence
        if "instead" in said:
            assert asked.variable in sentence


def test_a_driver_that_there_is_not_is_bad_configuration() -> None:
    """It was said as a server that does not run."""
    uri = "mysql+foo://me:t0psecret@127.0.0.1/ml"
    with (
        pytest.raises(InputError, match=r"got foo\. Write mysql\+pymysql:// instead") as caught,
        service_errors(Asked(tracking=uri)),
    ):
        reach_database(uri)
    assert "t0psecret" not in str(caught.value)


def test_commands_to_copy_hold_folders_with_blanks_together(tmp_path: Path) -> None:
    file = tmp_path / "our models" / "mlflow.db"
    file.parent.mkdir()
    file.touch()
    uri = f"sqlite:///{file}"
    assert f"MLFLOW_TRACKING_URI='{uri}' mlflow runs" in deleted("runs", "it", "1a", uri)
    assert how_to_open(uri) == f"mlflow ui --backend-store-uri '{uri}'"


def test_the_repository_s_store_is_opened_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`mlflow ui` of a relative address would lay out an empty store in a sub-folder."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "models").mkdir()
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert how_to_open("sqlite:///mlflow.db") == (
        "where it was published, since sqlite:///mlflow.db is not here"
    )
    (tmp_path / "mlflow.db").touch()
    for folder, seen in ((tmp_path, "mlflow.db"), (tmp_path / "docs", "../mlflow.db")):
        monkeypatch.chdir(folder)
        assert how_to_open("sqlite:///mlflow.db").endswith(f"-uri sqlite:///{seen}")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert how_to_open(uri).endswith(f"-uri {uri}")


def test_what_is_no_uri_is_refused_without_showing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:t0psecret@[::1")
    with pytest.raises(InputError, match="MLFLOW_TRACKING_URI as http://") as caught:
        tracking_uri(Path("/r"))
    assert "t0psecret" not in str(caught.value)


def test_links_in_a_circle_are_left_to_sqlite(tmp_path: Path) -> None:
    (tmp_path / "m.db").symlink_to("m.db")
    assert artifacts_folder(Path("/r"), f"sqlite:///{tmp_path}/m.db") == tmp_path / "mlartifacts"
