"""What MLflow is asked, where it does not let one ask for every model."""

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
from release.registry.trouble import Forbidden


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MlflowDouble:
    """One whose users see only what is theirs."""
    double = MlflowDouble()
    double.forbids = True

    @contextmanager
    def opened(root: Any, **_: Any) -> Iterator[MlflowDouble]:
        yield double

    monkeypatch.setattr(aliases, "open_store", opened)
    monkeypatch.setattr(aliases, "_nothing_there", lambda _: False)
    return double


def test_a_model_that_nobody_may_ask_for_is_not_taken_for_gone(
    tmp_path: Path, store: MlflowDouble
) -> None:
    """It may be there, as after `git revert` of its first release by somebody without a part in
    it. The others are asked for, and put right, all the same."""
    workspace, release = Workspace(root=tmp_path), "v1.0-x-fp16-0123456789ab"
    store.versions = {f"{model}.x": {release: 1} for model in ("counter", "meter", "valve")}
    store.aliases = {name: {"canary": 1} for name in store.versions}
    store.others = {"meter.x"}
    wanted = {Place(model=one, target="x", ring="canary"): "" for one in ("counter", "valve")}
    wanted = {
        Place(model="meter", target="x", ring="canary"): "",
        Place(model="meter", target="x", ring="pilot"): release,
        **wanted,
    }
    differ = aliases.ask(workspace, wanted, []).differ
    assert [one.split()[0] for one in differ] == ["meter.x", "counter", "valve"]
    with pytest.raises(Forbidden, match=r"meter\.x is forbidden"):
        aliases.point(workspace, wanted, lambda _: None)
    assert store.aliases == {"counter.x": {}, "meter.x": {"canary": 1}, "valve.x": {}}
