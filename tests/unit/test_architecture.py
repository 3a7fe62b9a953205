"""docs/architecture.md names the rooms that exist, and no others."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import typer

import pipeline.cli
import release.cli
import runtime.cli

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "architecture.md").read_text()
PACKAGES = ("engines", "pipeline", "release", "runtime")


def test_every_room_is_named() -> None:
    rooms = {
        f"{package}/{path.name}"
        for package in PACKAGES
        for path in (ROOT / package).iterdir()
        if (path / "__init__.py").is_file()
    }
    named = set(
        re.findall(r"^\| `((?:engines|pipeline|release|runtime)/[a-z_]+)`", TEXT, re.MULTILINE)
    )
    assert rooms <= named
    assert all((ROOT / one).is_dir() for one in named)


def test_what_is_named_exists() -> None:
    paths = re.findall(r"`((?:engines|pipeline|release|runtime|tests)/[\w/.-]+)`", TEXT)
    assert len(paths) > 30
    for path in paths:
        if "<" not in path and "…" not in path:
            assert (ROOT / path).exists(), path


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = ("/out", "release/images", "release/records", "/trust/private", "/trust/trying")
"""What commands make, and git has not."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_what_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:benchmarks|engines|pipeline|release|runtime|tests)/[\w/.-]+)`",
        page.read_text(),
    )
    for path in (one for one in named if not any(made in one for made in MADE)):
        assert (ROOT / path).exists() or (ROOT / f"{path}.py").is_file(), path


def test_every_stage_s_command_is_in_the_table() -> None:
    commands = {
        f"{name} {command}"
        for name, app in (
            ("pipeline", pipeline.cli.commands),
            ("release", release.cli.commands),
            ("runtime", runtime.cli.commands),
        )
        for command in typer.main.get_command(app).commands  # type: ignore[attr-defined]
    }
    named = set(re.findall(r"^\| `((?:pipeline|release|runtime) [a-z-]+)`", TEXT, re.MULTILINE))
    assert named <= commands
    stages = [ROOT / "dvc.yaml", ROOT / "engines" / "targets" / "device.dvc.yaml"]
    run = {
        match
        for file in stages
        for match in re.findall(r"cmd: ((?:pipeline|release|runtime) [a-z-]+)", file.read_text())
    }
    assert run <= named


FOLDERS = [path.parent for one in PACKAGES for path in sorted((ROOT / one).rglob("__init__.py"))]
BY_COMMAND = (ROOT / "pipeline" / "steps", ROOT / "release" / "steps")
"""Whose modules have the names of the commands."""


@pytest.mark.parametrize(
    "folder",
    [one for one in FOLDERS if one not in BY_COMMAND],
    ids=lambda one: str(one.relative_to(ROOT)),
)
def test_the_rooms_of_each_package_stand_in_its_docstring(folder: Path) -> None:
    docstring = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    rooms = {path.stem for path in folder.glob("[!_]*.py")}
    rooms |= {path.parent.name for path in folder.glob("*/__init__.py")}
    assert {one for one in rooms if not re.search(rf"\b{one}\b", docstring)} == set()


@pytest.mark.parametrize(
    ("question", "room", "module"),
    [
        ("where is INT8's range chosen", "pipeline/onnx", "range_search"),
        ("where is a Jetson recognised", "engines/machine", "jetson"),
        ("where is a verdict judged", "engines/verdict", "judge"),
        ("what does a pod import", "engines/detect", "detector"),
        ("where is a promotion written", "release/moves", "promotion"),
    ],
)
def test_what_newcomers_ask(question: str, room: str, module: str) -> None:
    """Found from the names of folders by who knows the field, and said in the room's docstring."""
    assert f"`{room}`" in TEXT, question
    assert (ROOT / room / f"{module}.py").is_file(), question
    assert module in (ROOT / room / "__init__.py").read_text(), question
