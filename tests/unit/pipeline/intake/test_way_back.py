from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.intake.way_back import way_back


@pytest.mark.parametrize("name", ["weights.pt", "data/tuning"])
def test_what_git_keeps(tmp_path: Path, name: str) -> None:
    assert way_back(tmp_path / name) == f"`git checkout -- {tmp_path / name}`"


@pytest.mark.parametrize(("name", "kept"), [("weights.pt", "weights.pt"), ("data/tuning", "data")])
def test_what_dvc_keeps(tmp_path: Path, name: str, kept: str) -> None:
    """Without `--force` DVC replaces nothing whose content its cache has not."""
    (tmp_path / f"{kept}.dvc").touch()
    assert way_back(tmp_path / name) == "`pipeline pull`"
    (tmp_path / name).mkdir(parents=True)
    assert f"`dvc checkout --force {tmp_path / kept}.dvc`" in way_back(tmp_path / name)


def test_a_name_by_itself() -> None:
    assert way_back(Path("weights.pt")) == "`git checkout -- weights.pt`"
