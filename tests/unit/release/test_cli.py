"""The command line: quick, documented, and with the exit codes of DESIGN.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from release.cli import commands
from release.records import MlflowEntry, ReleaseRecord, record_path

TARGET = "x86-openvino"
HEAVY = {"mlflow", "numpy", "pandas", "pydantic", "rich", "ruamel", "matplotlib", "sqlalchemy"}


RECORD = ReleaseRecord(
    release="v1.0-x86-openvino-fp16-3f2a91c04b7e",
    engine="meter-fp16",
    model="meter",
    model_version="1.0",
    target=TARGET,
    precision="fp16",
    engine_sha256="3f2a91c04b7e" + "0" * 52,
    mlflow=MlflowEntry(
        tracking_uri="sqlite:///mlflow.db",
        experiment="jetrail/meter",
        run_id="1",
        registered_model="meter.x86-openvino",
        version=1,
    ),
    git_commit="",
    verdict="PASS",
    frame_p50_ms=12.5,
    frame_p99_ms=15.0,
    map50_95=0.7,
)


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


def test_help_lists_the_commands() -> None:
    text = run("--help").stdout
    assert "From engines that pass to the image tags that Fleet rolls out." in text
    assert {"publish", "write", "status"} <= set(text.split())


@pytest.mark.parametrize("command", ["publish", "write", "status"])
def test_target_has_a_default(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(workspace.root)
    assert f"default: {TARGET}" in run(command, "--help").stdout
    result = run(command)
    assert result.exit_code == 2
    assert TARGET in result.stderr


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


def test_nothing_passes_any_more_and_server_down(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alias may be left there, so that MLflow must be asked."""
    for precision in ("fp32", "fp16"):
        add_engine(precision, verdict="FAIL")
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run("publish").exit_code == 0
    entry = RECORD.mlflow.model_copy(update={"tracking_uri": "http://127.0.0.1:9"})
    for target, code in (("x86-openvino-b", 0), (TARGET, 6)):
        tag = RECORD.release.replace(TARGET, target)
        known = RECORD.model_copy(update={"release": tag, "target": target, "mlflow": entry})
        known.write(record_path(workspace, tag))
        assert run("publish").exit_code == code


@pytest.mark.parametrize(
    ("commit", "warning"),
    [
        ("c" * 40 + "-dirty", f"built from uncommitted code ({'c' * 12}-dirty); commit and build"),
        ("", "built from code without a commit; commit and build"),
        ("c" * 40, None),
    ],
)
def test_code_that_no_commit_holds(
    workspace: Workspace,
    add_engine: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    commit: str,
    warning: str | None,
) -> None:
    add_engine("fp16")
    path = workspace.engine(TARGET, "meter-fp16") / "manifest.json"
    content = json.loads(path.read_text())
    content["source"]["git_commit"] = commit
    path.write_text(json.dumps(content))
    # So that it ends before MLflow is asked, which takes seconds.
    (workspace.model_out("meter") / "model.fp16.onnx").unlink()
    monkeypatch.chdir(workspace.root)
    said = run("publish", "--engine", "meter-fp16").stdout
    assert (warning in said) if warning else ("built from" not in said)


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
