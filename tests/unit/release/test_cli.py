"""The command line: quick, documented, and with the exit codes of DESIGN.md."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from factories.paper import edit, judge_again
from factories.signed import Signer
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from engines.records.manifest import Manifest
from release.cli import commands
from release.moves.aliases import Answer
from release.packed import Base
from release.records import publication_path
from release.rollout.release_yaml import values_of
from release.steps.status import Overview, RingStatus, Status
from release.terminal import show_status
from tests.unit.release.publications import IMAGE, PUBLICATION, publication_of, record

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
    assert f"release {command} " in run(command, "--help").stdout.partition("Example")[2]


def test_help_lists_the_commands() -> None:
    text = run("--help").stdout
    assert "From engines that pass to the image tags that Fleet rolls out." in text
    assert {"publish", "write", "status"} <= set(text.split())


def test_publish_has_a_default_target(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(workspace.root)
    assert "params.yaml" in run("publish", "--help").stdout
    result = run("publish")
    assert result.exit_code == 2
    assert f"{TARGET}/out/meter-fp32/verdict.json" in result.stderr
    (workspace.root / "params.yaml").write_text("models: []\n")
    result = run("publish")
    assert result.exit_code == 2
    assert "params.yaml: target: Field required" in result.stderr


@pytest.mark.parametrize("command", ["write", "status"])
def test_nothing_published_yet(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(workspace.root)
    result = run(command)
    assert result.exit_code == 2
    assert "but there are none. Run `release publish`" in result.stderr


def test_an_edited_record_is_exit_5(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    record(workspace, PUBLICATION)
    path = publication_path(workspace, PUBLICATION.release)
    path.write_text(path.read_text().replace('"measured": 15.0', '"measured": 9999.0'))
    for command in ("write", "status"):
        assert run(command).exit_code == 5


def test_tags_are_never_cut(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns, with names of 40 letters."""
    monkeypatch.setenv("COLUMNS", "80")
    one = publication_of("t" * 40, "m" * 40)
    values = values_of(one, f"sha256:{'d' * 64}")
    status = Status(
        model=one.model,
        target=one.target,
        candidate=one,
        signed_by=Signer("k" * 40).record(valid_until=2099),
        image=IMAGE.model_copy(
            update={
                "base": Base(name="b" * 40, digest=IMAGE.digest),
                "repositories": ("registry.example.com/" + "r" * 100,),
            }
        ),
        rings={"canary": RingStatus(here=values, pushed=values), "pilot": RingStatus(here=None)},
    )
    show_status(Overview(statuses=[status], branch="origin main", mlflow=Answer((), {})))
    words = capsys.readouterr().out.split()
    assert words.count(one.release) == 1
    assert words.count(IMAGE.digest) == 2
    assert "registry.example.com/" + "r" * 100 in words
    assert "k" * 40 + "," in words
    assert values.image.tag in words
    assert one.mlflow.registered_model in words
    assert words[-2:] == ["pilot", "-"]


@pytest.mark.parametrize(
    ("until", "words"),
    [
        (None, "by ours\n"),
        (2026, "by ours, which expired on 2026-01-01 00:00 UTC\n"),
        (2099, "by ours, which counts until 2099-01-01 00:00 UTC\n"),
    ],
)
def test_until_when_the_key_counts(
    capsys: pytest.CaptureFixture[str], until: int | None, words: str
) -> None:
    """No ring takes what an expired one signed, and what was pushed is never signed again."""
    key = Signer().record(valid_from=2025, valid_until=until)
    one = Status(model="meter", target="x", candidate=PUBLICATION, signed_by=key, rings={})
    show_status(Overview(statuses=[one], branch="origin main", mlflow=Answer((), {})))
    assert f"signed     {words}" in capsys.readouterr().out


def test_where_mlflow_has_the_candidate_now(capsys: pytest.CaptureFixture[str]) -> None:
    """A team that moved to a server, or deleted a version there, was shown the first run for ever,
    and as version 1 what is another release there."""
    moved = {"tracking_uri": "https://mlflow.example.com", "version": 3, "run_id": "e" * 32}
    recorded = PUBLICATION.mlflow
    entry = recorded.model_copy(update=moved)
    status = Status(
        model=PUBLICATION.model, target=PUBLICATION.target, candidate=PUBLICATION, rings={}
    )
    overview = Overview(statuses=[status], branch="origin main", mlflow=Answer((), {}))
    show_status(overview)
    assert "its record" not in capsys.readouterr().out
    show_status(replace(overview, mlflow=Answer((), {PUBLICATION.release: entry})))
    lines = [one.strip() for one in capsys.readouterr().out.splitlines()]
    assert lines[2] == f"MLflow     {entry.registered_model} version 3, run {'e' * 32}"
    assert f"its record names {entry.registered_model} version {recorded.version}" in lines[3]
    assert lines[4] == "open       https://mlflow.example.com"


def test_unknown_target(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    for command in ("publish", "write", "status"):
        result = run(command, "--target", "toaster")
        assert result.exit_code == 2
        assert "got 'toaster'" in result.stderr


def test_unknown_engine(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace.root)
    result = run("publish", "--target", TARGET, "--engine", "meter-int8")
    assert result.exit_code == 2
    assert "meter-fp32, meter-fp16; got 'meter-int8'" in result.stderr


def test_outside_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("write", "--target", TARGET).exit_code == 2


def test_nothing_passed(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for precision in ("fp32", "fp16"):
        add_engine(precision, verdict="FAIL")
    monkeypatch.chdir(workspace.root)
    fleet = sorted(workspace.fleet.rglob("*"))
    result = run("publish", "--target", TARGET)
    assert result.exit_code == 0
    assert "meter-fp16: FAIL, so it is not published" in result.stdout
    assert "nothing to publish" in result.stdout
    result = run("write", "--target", TARGET)
    assert result.exit_code == 0
    assert "no release.yaml changes" in result.stdout
    assert sorted(workspace.fleet.rglob("*")) == fleet
    assert "no engine of it has the verdict PASS" in run("status", "--target", TARGET).stdout


def test_nothing_passes_any_more_and_server_down(
    workspace: Workspace, add_engine: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alias may be left there, so that MLflow must be asked."""
    for precision in ("fp32", "fp16"):
        add_engine(precision, verdict="FAIL")
    monkeypatch.chdir(workspace.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert run("publish").exit_code == 0
    for target, code in (("x86-openvino-b", 0), (TARGET, 6)):
        known = publication_of(target)
        known.write(publication_path(workspace, known.release))
        assert run("publish").exit_code == code


@pytest.mark.parametrize(
    ("commit", "warning"),
    [
        ("c" * 40 + "-dirty", f"built from uncommitted code ({'c' * 12}-dirty). Before you"),
        ("", "built from code without a commit. Before you"),
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
    path = workspace.engine(TARGET, "meter-fp16").file(Manifest)
    edit(path, lambda one: one["source"].update(git_commit=commit))
    judge_again(workspace, "meter-fp16")
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


def test_the_last_model_is_gone(capsys: pytest.CaptureFixture[str]) -> None:
    show_status(Overview(statuses=[], branch="origin main", mlflow=Answer((), {})))
    assert "None: no model has a candidate" in capsys.readouterr().out
