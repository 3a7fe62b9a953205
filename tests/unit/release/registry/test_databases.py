"""MLflow's database where no server stands before it: laid out once, and given up soon."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines.errors import InputError, ServiceError
from release.registry import databases
from release.registry.asked import Asked
from release.registry.databases import make_sqlite, reach_database
from release.registry.surroundings import service_errors


@pytest.mark.parametrize("leads", ["/nowhere/nas/mlflow.db", "mlflow.db"])
def test_a_link_to_nothing_is_no_new_store(tmp_path: Path, leads: str) -> None:
    link = tmp_path / "mlflow.db"
    link.symlink_to(leads)
    with pytest.raises(InputError, match=f"link to {leads}, which is not there"):
        make_sqlite(link)
    assert link.is_symlink()
    assert list(tmp_path.iterdir()) == [link]


def test_a_store_of_several_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself makes files that only their owner may write, whatever the umask."""
    import mlflow

    def lay_out(tracking_uri: str) -> SimpleNamespace:
        with sqlite3.connect(tracking_uri.removeprefix("sqlite:///")) as database:
            database.execute("CREATE TABLE experiments (name)")
        return SimpleNamespace(search_experiments=lambda max_results: None)

    monkeypatch.setattr(mlflow, "MlflowClient", lay_out)
    before = os.umask(0o002)
    try:
        make_sqlite(tmp_path / "mlflow.db")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "mlflow.db").stat().st_mode) == 0o664


def test_a_store_that_another_clone_laid_out_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was replaced, with the releases that were in it by then."""
    import mlflow

    store = tmp_path / "mlflow.db"

    def lay_out(tracking_uri: str) -> SimpleNamespace:
        Path(tracking_uri.removeprefix("sqlite:///")).write_bytes(b"ours")
        return SimpleNamespace(search_experiments=lambda **_: others())

    monkeypatch.setattr(mlflow, "MlflowClient", lay_out)
    for theirs, left in ((b"theirs", b"theirs"), (b"", b"ours"), (None, b"ours")):
        store.unlink(missing_ok=True)

        def others(theirs: bytes | None = theirs) -> None:
            if theirs is not None:
                store.write_bytes(theirs)

        make_sqlite(store)
        assert store.read_bytes() == left
        assert [one.name for one in tmp_path.iterdir()] == ["mlflow.db"]


def test_a_database_that_is_not_there_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow tries ten times, which takes two minutes."""
    import sqlalchemy
    from sqlalchemy.exc import OperationalError

    tried = []

    def connect() -> None:
        tried.append(1)
        raise OperationalError("SELECT 1", {}, ConnectionRefusedError("Connection refused"))

    monkeypatch.setattr(
        sqlalchemy, "create_engine", lambda *_, **__: SimpleNamespace(connect=connect)
    )
    uri = "postgresql://ada:t0psecret@db/mlflow"
    with (
        pytest.raises(ServiceError, match="Connection refused") as caught,
        service_errors(Asked(tracking=uri)),
    ):
        reach_database(uri)
    assert tried == [1]
    assert "t0psecret" not in str(caught.value)


def test_a_database_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy

    silent = SimpleNamespace(connect=lambda: time.sleep(60))
    monkeypatch.setattr(sqlalchemy, "create_engine", lambda *_, **__: silent)
    monkeypatch.setattr(databases, "FIRST_CALL", 0.05)
    with pytest.raises(TimeoutError, match="did not answer"):
        reach_database("mysql+pymysql://db/mlflow")
