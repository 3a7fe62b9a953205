from __future__ import annotations

from pathlib import Path

import pytest

from engines.config.workspace import Workspace
from engines.errors import InputError
from pipeline.steps import pull as step
from pipeline.steps.pull import pull


@pytest.fixture
def kept_by_git(tmp_path: Path) -> Workspace:
    workspace = Workspace(root=tmp_path)
    (workspace.model("helmets") / "data").mkdir(parents=True)
    (workspace.model("helmets") / "weights.pt").touch()
    (tmp_path / "params.yaml").write_text("models: [helmets]\n")
    return workspace


def test_where_git_brought_all_there_is_nothing_to_pull(
    kept_by_git: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`update-model` says `pipeline pull` after a `git revert`, whoever keeps the model."""
    monkeypatch.setattr(step, "dvc_pull", pytest.fail)
    assert pull(kept_by_git, []) == []
    assert "DVC keeps nothing of this repository yet" in capsys.readouterr().err


def test_what_git_should_have_brought_is_said(kept_by_git: Workspace) -> None:
    weights = kept_by_git.model("helmets") / "weights.pt"
    weights.unlink()
    with pytest.raises(InputError, match=f"Bring it back with `git checkout -- {weights}`"):
        pull(kept_by_git, [])


def test_what_git_should_have_brought_holds_up_nothing_else(
    kept_by_git: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One lost file of one model left the rest of a clone without anything."""
    (kept_by_git.model("helmets") / "weights.pt").unlink()
    brought: list[list[str]] = []
    monkeypatch.setattr(step, "added", lambda _: ["models/helmets/data.dvc"])
    monkeypatch.setattr(step, "dvc_pull", lambda _, names: brought.append(names))
    with pytest.raises(InputError, match=r"weights.pt to be here"):
        pull(kept_by_git, [])
    assert brought == [["models/helmets/data.dvc"]]


def test_a_merge_that_is_not_finished_is_said(kept_by_git: Workspace) -> None:
    kept = kept_by_git.model("helmets") / "weights.pt.dvc"
    kept.write_text("<<<<<<< HEAD\nouts: []\n=======\nouts: [1]\n>>>>>>> theirs\n")
    with pytest.raises(InputError, match=r"weights.pt.dvc holds both sides of a merge"):
        pull(kept_by_git, [])
