"""Which Python `make` takes, before there is an environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFUSES = "#!/bin/sh\necho 'pyenv: python3.11: command not found' >&2; exit 127\n"
OLD = '#!/bin/sh\ncase "$1" in -c) exit 1;; *) echo Python 3.10.13;; esac\n'
SUITS = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the Makefile, and `bin` in front of what PATH has."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    (tmp_path / "bin").mkdir()
    return tmp_path


def put(folder: Path, **pythons: str) -> None:
    for name, script in pythons.items():
        (folder / "bin" / name.replace("_", ".")).write_text(script)
        (folder / "bin" / name.replace("_", ".")).chmod(0o755)


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    tools = os.pathsep.join([str(folder / "bin"), "/usr/bin", "/bin"])
    command = ["make", *words, ".venv/bin/python"]
    return subprocess.run(
        command, cwd=folder, env={"PATH": tools}, capture_output=True, text=True, check=False
    )


def test_one_that_does_not_run_is_passed_over(folder: Path) -> None:
    put(folder, python3_11=REFUSES, python3=SUITS)
    assert make(folder, "--dry-run").stdout.splitlines()[-1] == "python3 -m venv .venv"


def test_one_that_is_too_old_is_passed_over(folder: Path) -> None:
    put(folder, python3_11=REFUSES, python3=OLD, python3_14=REFUSES, python3_13=SUITS)
    assert make(folder, "--dry-run").stdout.splitlines()[-1] == "python3.13 -m venv .venv"


@pytest.mark.parametrize(("named", "got"), [("bin/old", "Python 3.10.13"), ("nowhere", "none")])
def test_none_that_suits(folder: Path, named: str, got: str) -> None:
    put(folder, old=OLD)
    done = make(folder, f"PYTHON={named}")
    assert done.returncode == 2
    assert f"Expected Python 3.11 or later, got {got}. Install one" in done.stderr
    assert "make demo PYTHON=" in done.stderr
    assert not (folder / ".venv").exists()


def test_a_fleet_of_nothing_is_refused_before_anything_is_installed(folder: Path) -> None:
    done = make(folder, "fleet")
    assert done.returncode == 2
    assert done.stderr.startswith("error: Nothing is released yet. Run make demo.")
    assert not (folder / ".venv").exists()
