"""Commands whose output is closed, goes to a full disk, or is not read to its end."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import sys
from pathlib import Path
from engines.cli import app, reports_errors
from engines.errors import GateFailed

commands = app("Works.")

@commands.command()
@reports_errors
def work(done: Path) -> None:
    for number in range(3):
        print(number, flush=True)
        print(number, file=sys.stderr)
        with done.open("a") as file:
            import os
            os.write(1, b"printed by a library\\n")
            file.write(f"{file.fileno() > 2}\\n")
    raise GateFailed("It misses a budget.")

@commands.command()
@reports_errors
def rest() -> None:
    "Rests."

commands()
"""


def shell(words: str, done: Path, redirected: str, limits: str = "") -> tuple[int, str]:
    """Exit status and all that came out of the command where its streams go as redirected."""
    line = f'{limits} "$PYTHON" -c "$COMMAND" {words} {redirected}; exit "${{PIPESTATUS[0]}}"'
    ran = subprocess.run(
        ["bash", "-c", line],
        env=os.environ | {"PYTHON": sys.executable, "COMMAND": COMMAND, "DONE": str(done)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert "Traceback" not in ran.stdout
    assert "Exception ignored" not in ran.stdout
    return ran.returncode, ran.stdout


TABLE = """
from rich.console import Console
from engines.cli import app, reports_errors
from release.terminal import line

commands = app("Shows.")

@commands.command()
@reports_errors
def show() -> None:
    Console().print("a row of a table")
    line("a tag to copy")

commands()
"""


@pytest.mark.parametrize("columns", ["0", "00", "", "80", "none"])
def test_a_console_without_a_size_is_shown_all(columns: str) -> None:
    """As one on a serial line: the verdict was lost there, and the exit code stayed."""
    shown = subprocess.run(
        [sys.executable, "-c", TABLE, "show"],
        env=os.environ | {"COLUMNS": columns},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "a row of a table\na tag to copy\n"


@pytest.mark.parametrize(
    "redirected",
    [
        "| (exec <&-; sleep 0.3)",
        "2>&1 | (exec <&-; sleep 0.3)",
        ">&-",
        "2>&-",
        "<&- >&- 2>&-",
        "2>/dev/full",
    ],
)
def test_whoever_stops_reading_stops_no_work(tmp_path: Path, redirected: str) -> None:
    done = tmp_path / "done"
    status, _ = shell('work "$DONE"', done, redirected)
    assert status == 3
    assert done.read_text() == "True\n" * 3


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("--help", 0),
        ("--version", 0),
        ("rest --help", 0),
        ("-h", 0),
        ("rest -h", 0),
        ("other", 2),
        ("rest --other", 2),
    ],
)
def test_help_that_nobody_reads(tmp_path: Path, words: str, status: int) -> None:
    for redirected in ("| (exec <&-; sleep 0.3)", "2>&1 | (exec <&-)", "2>/dev/full", ">&- 2>&-"):
        assert shell(words, tmp_path, redirected)[0] == status


@pytest.mark.parametrize("words", ["--help", "--version", "rest --help"])
def test_help_on_a_full_disk_is_a_sentence(tmp_path: Path, words: str) -> None:
    status, said = shell(words, tmp_path, ">/dev/full")
    assert status == 2
    assert said.startswith("error: Expected to write the output, but the system says: No space")
    assert said.count("\n") == 1
    assert shell(words, tmp_path, ">/dev/full 2>&1")[0] == 2
    status, said = shell(words, tmp_path / "out", '>"$DONE"', "ulimit -f 0;")
    assert (status, said.count("\n")) == (2, 1)
