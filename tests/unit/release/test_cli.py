"""The command line: quick, documented, and with the exit codes of DESIGN.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engines.workspace import Workspace
from release.cli import commands

TARGET = "x86-openvino"
HEAVY = {"mlflow", "numpy", "pandas", "pydantic", "rich", "ruamel", "matplotlib", "sqlalchemy"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, list(arguments))


@pytest.mark.parametrize("arguments", [["--help"], ["publish", "--help"], ["write", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys, json\nfrom release.cli import commands\n"
        f"commands({arguments!r}, standalone_mode=False)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    modules = set(json.loads(result.stdout.splitlines()[-1]))
    assert not modules & HEAVY


@pytest.mark.parametrize(
    "command", [one.name or one.callback.__name__ for one in commands.registered_commands]
)
def test_help_has_an_example(command: str) -> None:
    assert f"release {command} --target" in run(command, "--help").stdout


def test_unknown_target(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    for command in ("publish", "write", "status"):
        result = run(command, "--target", "toaster")
        assert result.exit_code == 2
        assert "came 'toaster'" in result.stderr


def test_unknown_engine(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    result = run("publish", "--target", TARGET, "--engine", "meter-int8")
    assert result.exit_code == 2
    assert "meter-fp32, meter-fp16; came 'meter-int8'" in result.stderr


def test_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("write", "--target", TARGET).exit_code == 2


def test_nothing_passed(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for precision in ("fp32", "fp16"):
        add_engine(precision, verdict="FAIL")
    monkeypatch.chdir(workspace.root)
    fleet = workspace.fleet_file.read_bytes()
    result = run("publish", "--target", TARGET)
    assert result.exit_code == 0
    assert "meter-fp16: FAIL, so it is not published" in result.stdout
    assert "nothing to publish" in result.stdout
    result = run("write", "--target", TARGET)
    assert result.exit_code == 0
    assert "fleet.yaml stays as it is" in result.stdout
    assert workspace.fleet_file.read_bytes() == fleet
    assert "no engine has the verdict PASS" in run("status", "--target", TARGET).stdout


def test_server_down(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_engine("fp32")
    add_engine("fp16")
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somebody:secret@127.0.0.1:9")
    result = run("publish", "--target", TARGET)
    assert result.exit_code == 6
    assert "http://127.0.0.1:9" in result.stderr
    assert "secret" not in result.stderr
    assert not workspace.records.exists()
