"""What MLflow is asked of a model that it need not have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from factories.mlflow_double import MlflowDouble

from engines.config.workspace import Workspace
from release.moves import aliases
from release.moves.place import Place


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MlflowDouble:
    """One that forbids to ask for what is not there."""
    double = MlflowDouble()
    double.forbids = True

    @contextmanager
    def opened(root: Any, **_: Any) -> Iterator[MlflowDouble]:
        yield double

    monkeypatch.setattr(aliases, "open_store", opened)
    monkeypatch.setattr(aliases, "_nothing_there", lambda _: False)
    return double


def test_a_ring_that_has_nothing_needs_no_model(tmp_path: Path, store: MlflowDouble) -> None:
    """`status` and its `--repair` ask for the rings of every model, released or not."""
    workspace, place = Workspace(root=tmp_path), Place(model="meter", target="x", ring="canary")
    assert aliases.ask(workspace, {place: ""}, []) == aliases.Answer((), {})
    assert aliases.point(workspace, {place: ""}, lambda _: None)
    release = "v1.0-x-fp16-0123456789ab"
    (told,) = aliases.ask(workspace, {place: release}, []).differ
    assert told == "MLflow could not be asked: error code 403"
