"""Which disk is full, where MLflow writes temporary files before it writes into its store."""

from __future__ import annotations

import errno
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from engines import surroundings
from engines.errors import InputError, ServiceError
from release.registry.surroundings import service_errors

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files on another, full disk."""
    folder = Path("/dev/shm")
    if folder.stat().st_dev == Path.cwd().stat().st_dev:
        folder = Path("/proc")  # any other file system
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(
        surroundings.shutil, "disk_usage", lambda _: SimpleNamespace(free=0, total=1 << 30)
    )
    return folder


@pytest.mark.parametrize("uri", ["sqlite:///mlflow.db", "http://127.0.0.1:5000"])
def test_a_full_disk_of_temporary_files_is_named(temporary: Path, uri: str) -> None:
    with pytest.raises(OSError, match="No space left") as caught, service_errors(uri):
        raise FULL
    said = surroundings.in_a_sentence(caught.value, "release")
    assert said is not None
    assert f"room for temporary files in {temporary}" in said


@pytest.mark.parametrize(
    ("uri", "kind"),
    [("sqlite:///mlflow.db", InputError), ("http://127.0.0.1:5000", ServiceError)],
)
def test_another_full_disk_is_mlflows(uri: str, kind: type[Exception]) -> None:
    with pytest.raises(kind, match="MLflow"), service_errors(uri):
        raise FULL
