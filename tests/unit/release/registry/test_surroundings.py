"""How MLflow's errors are said: which disk is full, and what to do about what a server answers."""

from __future__ import annotations

import errno
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from itertools import count
from pathlib import Path
from threading import Thread
from types import SimpleNamespace

import pytest

from engines import surroundings
from engines.errors import InputError, ServiceError
from release.registry import sqlite
from release.registry.asked import Asked
from release.registry.sqlite import LONGEST_PATH, check_length
from release.registry.surroundings import (
    already_there,
    no_more_than_silent,
    service_errors,
    silence,
)
from release.registry.trouble import reason_of

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files on another, full disk."""
    folder = Path("/proc")  # any other file system
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(
        surroundings.shutil, "disk_usage", lambda _: SimpleNamespace(free=0, total=1 << 30)
    )
    return folder


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "http://127.0.0.1:5000"])
def test_a_full_disk_of_temporary_files_is_named(temporary: Path, uri: str) -> None:
    with (
        pytest.raises(OSError, match="No space left") as caught,
        service_errors(Asked(tracking=uri)),
    ):
        raise FULL
    said = surroundings.in_a_sentence(caught.value, "release")
    assert said is not None
    assert f"room for temporary files in {temporary}" in said


@pytest.mark.parametrize(
    ("uri", "kind"),
    [("sqlite:///mlflow.db", InputError), ("http://127.0.0.1:5000", ServiceError)],
)
def test_another_full_disk_is_mlflows(uri: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="MLflow"), service_errors(Asked(tracking=uri)):
        raise FULL


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "http://127.0.0.1:5000"])
@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.EIO, "wrong with the disk"), (errno.EFBIG, "`ulimit -f`")]
)
def test_a_file_that_is_sent_there_is_named(uri: str, number: int, remedy: str) -> None:
    """An engine on a broken disk is no matter of the store's room."""
    error = OSError(number, os.strerror(number), "engines/one.xml")
    with pytest.raises(OSError, match="one.xml") as caught, service_errors(Asked(tracking=uri)):
        raise error
    said = surroundings.in_a_sentence(caught.value, "release")
    assert said is not None
    assert "write engines/one.xml: " in said
    assert remedy in said


def test_sqlite_says_the_same_of_a_limit_as_of_a_broken_disk(tmp_path: Path) -> None:
    script = (
        "import resource\nfrom release.registry.sqlite import _opened\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from pathlib import Path\n"
        f"with _opened(Path({str(tmp_path / 'mlflow.db')!r}), 1) as database:\n"
        "    database.execute('create table a (b)')\n"
        "    database.execute('insert into a values (?)', ['x' * 99999])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "SQLite says: disk I/O error. Raise the limit on the size of a file" in done.stderr


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("API request failed with error code 401 != 200. Body: 'no'", "MLFLOW_TRACKING_USERNAME"),
        ("error code 403 != 200", "MLFLOW_TRACKING_TOKEN"),
        ("PERMISSION_DENIED: nobody may", "MLFLOW_TRACKING_TOKEN"),
        (
            "INTERNAL_ERROR: Response: {'error': 'invalid_token', 'error_description': 'no'}",
            "MLFLOW_TRACKING_TOKEN",
        ),
        ("INTERNAL_ERROR: Response: {'error': 'The access token expired'}", "TRACKING_TOKEN"),
        ("INTERNAL_ERROR: Unauthorized", "MLFLOW_TRACKING_TOKEN"),
        ("INTERNAL_ERROR: Response: {'detail': 'Not Found'}", "not a login or another program"),
        ("SSLError([SSL: CERTIFICATE_VERIFY_FAILED] self-signed)", "SERVER_CERT_PATH"),
        ("Could not find a suitable TLS CA certificate bundle, invalid path: /x", "SERVER_CERT"),
        ("DataError (1366, \"Incorrect string value: '\\\\xE2' for column", "utf8mb4"),
        ("SSLError(1, '[SSL: WRONG_VERSION_NUMBER] wrong version number')", "write http://"),
        ("ProxyError('Unable to connect to proxy')", "NO_PROXY"),
        ("Detected out-of-date database schema (found version a)", "`mlflow db upgrade`"),
        ("error code 404 != 200", "MLFLOW_TRACKING_URI is right"),
        ("to endpoint /api/2.0/x failed with error code 404 != 200. Body: ''", "3.0 or later"),
        ("the response body was not in a valid JSON format. Response body: ''", "not a login"),
        ("failed with exception Exceeded 30 redirects", "not a login"),
        ("Invalid value \"\" for parameter 'run_id' supplied", "another program"),
        ("[SSL: CERTIFICATE_VERIFY_FAILED] certificate has expired", "Renew the certificate there"),
        ("CERTIFICATE_VERIFY_FAILED] certificate is not yet valid", "this machine's clock right"),
        ("CERTIFICATE_VERIFY_FAILED] IP address mismatch, certificate", "Write the host"),
        (
            "CERTIFICATE_VERIFY_FAILED] Hostname mismatch, certificate is not valid",
            "Write the host",
        ),
        ("Invalid value 0 for parameter 'max_results' supplied", "that this one redirects to"),
        ("Reading Databricks credential configuration failed with", "pip install databricks-sdk"),
        ("When an mlflow-artifacts URI was supplied, the", "name its http address in"),
        ("failed with error code 407 != 200", "password of the proxy"),
        ("413 Client Error: Request Entity Too Large for url", "client_max_body_size"),
        ("(Caused by ResponseError('too many 500 error responses'))", "what its log says"),
        (
            "error code 403 != 200. Body: 'Invalid Host header - possible",
            "--allowed-hosts",
        ),
        ("to /api/2.0/mlflow-artifacts/artifacts/1/x failed: ('Connection aborted.', 104", "room"),
        ("to /api/2.0/mlflow-artifacts/artifacts/1/x: too many 500 error responses", "has room"),
        ("500 Server Error: [Errno 28] No space left on device", "where the server keeps"),
        ("error code 4010", "MLFLOW_TRACKING_URI is right"),
        ("(sqlite3.OperationalError) database is locked", "Wait for the program that writes"),
    ],
)
def test_what_to_do_follows_what_the_server_says(said: str, remedy: str) -> None:
    from mlflow.exceptions import MlflowException

    with (
        pytest.raises(ServiceError, match=rf"{remedy}.*, then run the same command again"),
        service_errors(Asked(tracking="http://host")),
    ):
        raise MlflowException(said)


def test_a_page_is_told_by_its_title() -> None:
    page = "<!DOCTYPE html><html><head><title>Sign in</title></head>" + "<p>Hello</p>" * 99
    said = reason_of(ValueError(f"not JSON. Response body: '{page}'"), "http://host")
    assert said == 'not JSON. Response body: a page of HTML that is called "Sign in".'
    assert reason_of(ValueError("<html>\n<p>"), "http://host") == "a page of HTML."


def test_a_long_reason_ends_between_words() -> None:
    said = reason_of(ValueError("word " * 200), "http://host")
    assert said.endswith("word …")
    assert len(said) <= 402


def test_a_setting_that_mlflow_cannot_use(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow.environment_variables import MLFLOW_TRACKING_INSECURE_TLS as INSECURE

    monkeypatch.setenv(INSECURE.name, "maybe")
    said = "environment: MLFLOW_TRACKING_INSECURE_TLS.*maybe"
    with pytest.raises(InputError, match=said), service_errors(Asked(tracking="http://host")):
        INSECURE.get()
    with (
        pytest.raises(ValueError, match="something else"),
        service_errors(Asked(tracking="http://host")),
    ):
        raise ValueError("something else")


def test_an_mlflow_that_is_older_than_the_store_says_so() -> None:
    """A colleague's newer one had moved the tables on; alembic's error was a traceback."""
    from alembic.util import CommandError

    with (
        pytest.raises(ServiceError, match="where it is newer, install the MLflow that wrote it"),
        service_errors(Asked(tracking="sqlite:///mlflow.db")),
    ):
        raise CommandError("Can't locate revision identified by 'dc11669786a5'")


def test_a_machine_without_mlflow_is_told_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is there what MLflow brings: "No module named 'alembic'" was all that was said."""
    for module in ("alembic", "mlflow", "sqlalchemy"):
        for name in [one for one in sys.modules if one.partition(".")[0] == module]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, module, None)
    with (
        pytest.raises(InputError, match=r"package mlflow, which is not .*jetrail\[release\]"),
        service_errors(Asked(tracking="sqlite:///mlflow.db")),
    ):
        pass


def test_a_store_that_another_program_writes_to(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sqlite, "LOCKED_SECONDS", 0.05)
    monkeypatch.setattr(sqlite, "READING_SECONDS", 0.02)
    path = tmp_path / "my mlflow.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        sqlite.check_sqlite(path, reading=True)  # such a writer keeps nobody from it
        with pytest.raises(ServiceError, match=r"another program .*`fuser -v '.*my mlflow\.db'`"):
            sqlite.check_sqlite(path)
        other.rollback()
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ServiceError, match="another program"):
            sqlite.check_sqlite(path, reading=True)
    sqlite.check_sqlite(path)


def test_what_lets_every_second_request_die_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is answered when it is sent again, so that nothing else ever ends it."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    answered = []
    with _answering_every_second() as uri:
        client = MlflowClient(uri)
        said = r"left 3 requests without an answer.* NO_PROXY, then run the same command again"
        with (
            pytest.raises(ServiceError, match=said),
            service_errors(Asked(tracking=uri)),
            no_more_than_silent(3),
        ):
            for _ in range(9):
                answered.append(client.search_experiments())
        assert len(answered) == 2
        client.search_experiments()


@contextmanager
def _answering_every_second() -> Iterator[str]:
    """A server that takes a request and says nothing, and answers the next."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
    with socket.create_server(("127.0.0.1", 0)) as listening, ExitStack() as held:

        def serve() -> None:
            for number in count(1):
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                held.callback(connection.close)
                connection.recv(65536)
                if number % 2 == 0:
                    connection.sendall(answer)
                    connection.close()

        Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.parametrize(
    ("said", "done"),
    [
        ("(sqlite3.IntegrityError) UNIQUE constraint failed: inputs.source_type", True),
        ("(psycopg2.errors.UniqueViolation) duplicate key value", True),
        ("(sqlite3.OperationalError) database is locked", False),
    ],
)
def test_what_another_made_at_the_same_moment_is_there(said: str, done: bool) -> None:
    from mlflow.exceptions import MlflowException

    with nullcontext() if done else pytest.raises(MlflowException), already_there():
        raise MlflowException(said)


def test_a_path_that_sqlite_does_not_open(tmp_path: Path) -> None:
    """SQLite says only that it cannot, and free space would not help."""
    check_length(Path("/", "s" * (LONGEST_PATH - 1)))
    with pytest.raises(InputError, match=f"at most {LONGEST_PATH} bytes.*got one of 1701"):
        check_length(Path("/", "é" * 850))


@pytest.mark.parametrize(
    ("reading", "said", "end"),
    [
        (True, "to say what it holds, but", "again."),
        (False, "to take what it is told, but", "stopped."),
    ],
)
def test_a_command_that_only_asks_says_so(reading: bool, said: str, end: str) -> None:
    asked = Asked(tracking="http://host", reading=reading)
    with pytest.raises(ServiceError, match=said) as raised, service_errors(asked):
        raise ConnectionResetError("the line went dead")
    assert str(raised.value).endswith(end)


def test_no_warning_of_a_library_is_shown_while_mlflow_is_imported(tmp_path: Path) -> None:
    """Under a limit of memory polars says above the sentence that a part of it is missing."""
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow" / "__init__.py").write_text(
        "import warnings\nwarnings.warn('Polars binary is missing!')\n"
    )
    (tmp_path / "mlflow" / "exceptions.py").write_text("class MlflowException(Exception): ...\n")
    work = (
        "from release.registry.asked import Asked\n"
        "from release.registry.surroundings import service_errors\n"
        "with service_errors(Asked(tracking='http://host')): print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", work],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_store_that_fails_is_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    """MLflow logs such an error with its traceback, and raises it."""
    with silence():
        logging.getLogger("mlflow.store.db.utils").exception("SQLAlchemy database error.")
        logging.getLogger("mlflow.tracking").error("Something else.")
    assert "SQLAlchemy" not in (said := capfd.readouterr().err)
    assert "Something else." in said
