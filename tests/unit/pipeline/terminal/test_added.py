"""The last lines of `add-model` and `add-target`: what is next can be copied."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from pipeline.terminal.added import print_next_of_model, print_next_of_target


@pytest.fixture
def console() -> Console:
    return Console(width=80, file=io.StringIO())


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_another_size_than_the_training_s_is_said(console: Console) -> None:
    print_next_of_model("cups", ["x86-openvino"], (384, 640), (640, 640), console)
    assert "trained at 640 x 640 pixels and will run at 384 x 640" in said(console)
    assert said(console).endswith("\nNext: dvc repro\n")


@pytest.mark.parametrize("trained_at", [None, (640, 640)])
def test_nothing_is_said_of_the_same_size(
    console: Console, trained_at: tuple[int, int] | None
) -> None:
    print_next_of_model("cups", ["x86-openvino", "line-4"], (640, 640), trained_at, console)
    added = "Added models/cups, with engines for x86-openvino, line-4.\n"
    assert said(console) == f"{added}Next: dvc repro\n"


def test_what_has_to_be_copied_is_never_broken(console: Console) -> None:
    name = "a-device-of-the-longest-name-there-may-be-on-the-fifth-line"
    print_next_of_target(name, "x86-openvino", console)
    assert f"\n  dvc repro engines/targets/{name}/dvc.yaml\n" in said(console)
    assert f"\n  release publish --target {name}\n" in said(console)


def test_from_a_folder_below_it_is_said_where_dvc_is_to_run(
    console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "models" / "meter"
    below.mkdir(parents=True)
    (tmp_path / "dvc.yaml").touch()
    monkeypatch.chdir(below)
    print_next_of_model("cups", ["x86-openvino"], (640, 640), None, console)
    print_next_of_target("line-4", "x86-openvino", console)
    assert f"\nNext in {tmp_path}: dvc repro\n" in said(console)
    assert f"then on that device run in {tmp_path}\n" in said(console)
