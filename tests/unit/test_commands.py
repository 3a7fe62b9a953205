"""Both commands: instant help, help with examples, errors as sentences with exit codes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest
import typer
from typer.testing import CliRunner

import pipeline.cli
import release.cli
import runtime.cli
from engines import errors
from engines.cli import reports_errors

APPS = {
    "pipeline": pipeline.cli.commands,
    "release": release.cli.commands,
    "runtime": runtime.cli.commands,
}
LIGHT = {
    "annotated_doc",
    "click",
    "engines",
    "pipeline",
    "release",
    "runtime",
    "shellingham",
    "typer",
    "typing_extensions",
}
"""What `--help` may import besides Python's own library."""


def commands() -> list[tuple[str, click.Command]]:
    found = []
    for name, app in APPS.items():
        group = typer.main.get_command(app)
        assert isinstance(group, click.Group | typer.core.TyperGroup)
        found += [(f"{name} {one}", command) for one, command in group.commands.items()]
    return found


@pytest.mark.parametrize("name", APPS)
def test_no_summary_of_a_command_is_cut_at_80_columns(name: str) -> None:
    # A process of its own: CliRunner forces a width of two columns more than a terminal gets.
    text = subprocess.check_output(
        [sys.executable, "-m", name, "--help"], env={**os.environ, "COLUMNS": "80"}, text=True
    )
    assert [line for line in text.splitlines() if line.endswith("...") and "ARGS" not in line] == []


def run_script(script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in a Python of its own."""
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("line", [*APPS, *(name for name, _ in commands())])
def test_help_imports_nothing_heavy(line: str) -> None:
    name = line.split()[0]
    arguments = [*line.split(), "--help"]
    script = (
        f"import sys, json; sys.argv = {arguments!r}\n"
        "before = set(sys.modules)\n"
        f"from {name}.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "new = {one.partition('.')[0] for one in set(sys.modules) - before}\n"
        "print('\\n' + json.dumps(sorted(new)))\n"
    )
    done = run_script(script)
    assert done.returncode == 0, done.stderr
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    extra = {one for one in imported - set(sys.stdlib_module_names) if not one.startswith("_")}
    assert extra <= LIGHT


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_has_short_help_with_an_example(name: str, command: click.Command) -> None:
    text = " ".join((command.help or "").split())
    assert re.search(rf"Examples?: {name}\b", text)
    first = (command.help or "").strip().splitlines()[0]
    assert first.endswith(".")
    # Longer ones are cut in the list of commands at 80 columns.
    assert len(first) <= 62


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_option_is_explained(name: str, command: click.Command) -> None:
    unexplained = [
        one.name for one in command.params if not getattr(one, "help", None) and one.name != "help"
    ]
    assert unexplained == []


CODES = {
    errors.JetrailError: 1,
    errors.InputError: 2,
    errors.GateFailed: 3,
    errors.GateInvalid: 4,
    errors.WrongEngine: 5,
    errors.ServiceError: 6,
    errors.Conflict: 7,
}


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_each_cause_has_its_exit_code(kind: type[errors.JetrailError], code: int) -> None:
    app = typer.Typer()

    @app.command()
    @reports_errors
    def fail() -> None:
        raise kind("expected this, got that, do so")

    result = CliRunner().invoke(app)
    assert result.exit_code == code
    assert result.stderr == "error: expected this, got that, do so\n"


def test_no_cause_is_without_a_code() -> None:
    assert {errors.JetrailError, *errors.JetrailError.__subclasses__()} == set(CODES)


def test_outside_a_repository_is_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(pipeline.cli.commands, ["gate", "some-engine"])
    assert result.exit_code == 2
    assert "inside a Jetrail repository" in result.stderr


@pytest.mark.parametrize("name", APPS)
def test_version(name: str) -> None:
    result = CliRunner().invoke(APPS[name], ["--version"])
    assert (result.exit_code, result.output) == (0, f"jetrail {version('jetrail')}\n")


def test_output_to_a_full_disk_is_said() -> None:
    script = (
        "from engines.cli import reports_errors\nimport typer\n"
        "@reports_errors\ndef command():\n    print('x' * 100)\n"
        "try: command()\nexcept typer.Exit as end: raise SystemExit(end.exit_code)\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", script],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: Expected to write the output")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("ignored", [False, True])
def test_ctrl_c_of_which_a_library_makes_an_error_is_ctrl_c(ignored: bool) -> None:
    """As pydantic does while it builds a model; under nohup it goes on."""
    script = (
        "import signal, typer\nfrom engines.cli import reports_errors\napp = typer.Typer()\n"
        f"signal.signal(2, signal.SIG_IGN if {ignored} else signal.default_int_handler)\n"
        "@app.command()\n@reports_errors\ndef command():\n"
        "    try: signal.raise_signal(2)\n"
        "    except BaseException as error: raise ValueError('theirs') from error\n"
        "app()\n"
    )
    done = run_script(script)
    assert done.returncode == (0 if ignored else 130)
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_gone_is_bad_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    result = CliRunner().invoke(pipeline.cli.commands, ["list"])
    assert result.exit_code == 2
    assert "was removed or moved" in result.stderr


def test_errors_to_a_full_disk_keep_their_exit_code() -> None:
    script = (
        "from engines.cli import reports_errors\nfrom engines.errors import GateFailed\n"
        "import typer\napp = typer.Typer()\n"
        "@app.command()\n@reports_errors\ndef command(): raise GateFailed('x' * 100)\napp()\n"
    )
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", script], stderr=full, check=False)
    assert done.returncode == 3
