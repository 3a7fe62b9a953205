"""Names in any writing, whatever the locale: paths, models' classes, what a terminal is shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engines.process.lock import device_lock

NAME = "über 工場 😀 é"  # the last letter is two characters
COMMAND = """
import sys
from pathlib import Path

from engines.cli import app, reports_errors

commands = app("")

@commands.command()
@reports_errors
def say(folder: Path) -> None:
    (folder / "there").write_text("x", encoding="utf-8")
    print(folder.name, sys.getfilesystemencoding())

commands()
"""
LOCALES = {
    "C": {"LC_ALL": "C"},
    "only LANG": {"LANG": "C"},
    "not coerced": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
    "UTF-8 forbidden": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}
LEFT_OUT = {"LANG", "LC_ALL", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING"}


def said(folder: Path, *python: str, **more: str) -> bytes:
    ours = {name: value for name, value in os.environ.items() if name not in LEFT_OUT}
    words = [sys.executable, *python, "-c", COMMAND, "say", str(folder)]
    done = subprocess.run(words, env=ours | more, capture_output=True, check=True, timeout=60)
    return done.stdout


@pytest.mark.parametrize("name", LOCALES)
def test_a_folder_keeps_its_name(tmp_path: Path, name: str) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    assert said(folder, **LOCALES[name]) == f"{NAME} utf-8\n".encode()
    assert (folder / "there").is_file()


def test_a_python_that_is_told_not_to_use_utf_8_does_not_begin_for_ever(tmp_path: Path) -> None:
    assert said(tmp_path, "-X", "utf8=0", **LOCALES["not coerced"]).endswith(b" ascii\n")


def test_what_the_terminal_cannot_show_is_written_in_escapes(tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    out = said(folder, PYTHONIOENCODING="ascii")
    assert out == NAME.encode("ascii", "backslashreplace") + b" utf-8\n"


def test_a_holder_in_a_folder_whose_name_is_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / os.fsdecode(b"\xff\xfe")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with device_lock("pipeline build x-fp16", tmp_path):
        assert b"\xff\xfe" in (tmp_path / "jetrail-device.lock").read_bytes()
