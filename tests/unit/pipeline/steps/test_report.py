"""The report of a target: which engines are to be measured again, and what it refuses."""

from __future__ import annotations

import io
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import pytest
from factories import paper
from factories.records import BUDGETS, benchmark, evaluation, judge, manifest
from rich.console import Console
from typer.testing import CliRunner, Result

from engines.config.target import BudgetSource
from engines.config.workspace import Workspace
from engines.errors import GateFailed, GateInvalid
from engines.records.record import VerdictName
from engines.records.verdict import Verdict
from pipeline.cli import commands
from pipeline.report.summary import summarise
from pipeline.steps import report as step
from pipeline.steps.gate import gate
from pipeline.steps.report import budget_sources, invalid_engines, raise_unless_one_passes
from pipeline.terminal.verdicts import print_report

TARGETS = Path(__file__).parents[4] / "engines" / "targets"
TARGET = "x86-openvino"


def judged(workspace: Workspace, engine: str, verdict: VerdictName) -> Path:
    path = workspace.engine(TARGET, engine).file(Verdict)
    Verdict(
        engine=engine,
        target=TARGET,
        engine_sha256="1" * 64,
        verdict=verdict,
        checks=(),
        reasons=(),
        judged={},
    ).write(path)
    return path


def test_the_invalid_ones_are_named_whatever_the_others_are(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path)
    workspace.target(TARGET).mkdir(parents=True)
    shutil.copy(TARGETS / TARGET / "params.yaml", workspace.target(TARGET))
    assert invalid_engines(workspace, TARGET) == []  # nothing was measured yet

    judged(workspace, "meter-yolov8n-fp32", "FAIL")
    judged(workspace, "meter-yolov8n-fp16", "INVALID")
    judged(workspace, "no-longer-in-the-row", "INVALID")
    assert invalid_engines(workspace, TARGET) == ["meter-yolov8n-fp16"]

    judged(workspace, "meter-yolov8n-fp16", "INVALID").write_text("{")
    assert invalid_engines(workspace, TARGET) == []


def test_what_is_shown_of_engines_that_the_row_no_longer_names_goes(tmp_path: Path) -> None:
    """Somebody else took them out; a GitLab job would upload their verdicts for ever."""
    workspace = Workspace(root=tmp_path)
    row = (TARGETS / TARGET / "params.yaml").read_text().partition("\nengines:")[0]
    workspace.target(TARGET).mkdir(parents=True)
    (workspace.target(TARGET) / "params.yaml").write_text(f"{row}\nengines: {{}}\n")
    verdict = judged(workspace, "gone", "PASS")
    folder = workspace.engine(TARGET, "gone")
    folder.summary.parent.mkdir()
    folder.summary.write_text("{}")
    folder.junit.write_text("<testsuites/>")
    assert step.report(workspace, TARGET) == []
    assert not folder.summary.exists()
    assert not folder.junit.exists()
    assert verdict.exists()


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("FAIL", "PASS", "INVALID"), None),
        (("FAIL", "INVALID"), GateFailed),
        (("INVALID", "INVALID"), GateInvalid),
    ],
)
def test_one_that_passes_is_enough_where_asked(
    words: tuple[VerdictName, ...], error: type[Exception] | None
) -> None:
    verdict = judge(manifest(), benchmark(), evaluation(), BUDGETS)
    summary = summarise(manifest(), benchmark(), evaluation(), verdict)
    rows = [(summary, verdict.model_copy(update={"verdict": word})) for word in words]
    with pytest.raises(error) if error else nullcontext():
        raise_unless_one_passes(rows)


@pytest.fixture
def paper_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A target with one engine so far."""
    workspace = Workspace(root=tmp_path)
    paper.lay_out(workspace)
    paper.add_engine(workspace, "fp32")
    monkeypatch.chdir(tmp_path)
    return workspace


def report(workspace: Workspace, verdict: str) -> Result:
    """`pipeline report`, after `pipeline gate` of engines of which the second gets the verdict."""
    paper.add_engine(workspace, "fp16", verdict=verdict)
    for precision in ("fp32", "fp16"):
        gate(workspace, TARGET, f"meter-{precision}")
        table = workspace.engine(TARGET, f"meter-{precision}").latency_table
        table.parent.mkdir(exist_ok=True)
        table.write_text(f"engine,latency_ms,share\nmeter-{precision},10.0,1.0\n")
    return CliRunner().invoke(commands, ["report"])


@pytest.mark.parametrize(("verdict", "code"), [("PASS", 0), ("FAIL", 3), ("INVALID", 4)])
def test_the_report_ends_as_its_engines_do(
    paper_workspace: Workspace, verdict: str, code: int
) -> None:
    folder = paper_workspace.target(TARGET) / "out" / "report"
    folder.mkdir()
    for name in ("latency", "accuracy", "tradeoff"):
        (folder / f"{name}.csv").write_text("of an earlier time")
    result = report(paper_workspace, verdict)
    assert result.exit_code == code, result.output
    assert "meter-fp16 │" in result.stdout
    assert (folder / "latency.csv").read_text() == (
        "engine,latency_ms,share\nmeter-fp32,10.0,1.0\nmeter-fp16,10.0,1.0\n"
    )
    drop = "0.5" if verdict == "FAIL" else "0.0"
    assert (folder / "accuracy.csv").read_text().splitlines()[2] == f"meter-fp16,fp16,0.7,{drop}"
    assert (folder / "tradeoff.csv").read_text().splitlines()[2] == "meter-fp16,10.0,0.7"


def test_who_may_only_read_a_clone_sees_its_verdicts(
    paper_workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert report(paper_workspace, "PASS").exit_code == 0

    def refuse(path: Path, _: bytes) -> None:
        raise PermissionError(f"{path} is a colleague's")

    monkeypatch.setattr("engines.files.write_atomic", refuse)
    assert CliRunner().invoke(commands, ["report"]).exit_code == 0


def test_what_is_judged_is_shown_beside_what_is_not_yet(paper_workspace: Workspace) -> None:
    """As right after `add-model`: the figures of the other models are no less true."""
    assert report(paper_workspace, "PASS").exit_code == 0
    paper_workspace.engine(TARGET, "meter-fp16").file(Verdict).unlink()
    result = CliRunner().invoke(commands, ["report", "--exit-zero"])
    assert result.exit_code == 2
    assert "meter-fp32 │" in result.stdout
    assert "meter-fp16" not in result.stdout
    assert "but meter-fp16 has none yet. Run `dvc repro engines/targets/" in result.stderr


def test_an_invalid_report_ends_with_the_commands_that_measure_again(
    paper_workspace: Workspace,
) -> None:
    told = report(paper_workspace, "INVALID").stderr.splitlines()[-2:]
    assert told == [f"  rm engines/targets/{TARGET}/out/meter-fp16/benchmark.json", "  dvc repro"]
    named = CliRunner().invoke(commands, ["report", "--target", TARGET]).stderr.splitlines()
    assert named[-1] == f"  dvc repro engines/targets/{TARGET}/dvc.yaml"


@pytest.mark.parametrize("exit_zero", [[], ["--exit-zero"]])
@pytest.mark.parametrize("name", paper.EDITS)
def test_files_that_were_changed_after_the_gate(
    paper_workspace: Workspace, name: str, exit_zero: list[str]
) -> None:
    verdict, edit, file = paper.EDITS[name]
    report(paper_workspace, verdict)
    folder = paper_workspace.engine(TARGET, "meter-fp16")
    edit(folder)
    result = CliRunner().invoke(commands, ["report", *exit_zero])
    assert result.exit_code == 5, result.output
    assert f"error: {folder.path / file} " in result.stderr
    assert "Traceback" not in result.output


def test_budgets_that_were_changed_after_the_gate(paper_workspace: Workspace) -> None:
    assert report(paper_workspace, "PASS").exit_code == 0
    params = paper_workspace.target(TARGET) / "params.yaml"
    params.write_text(params.read_text().replace("frame_p99_ms: 30", "frame_p99_ms: 5"))
    result = CliRunner().invoke(commands, ["report"])
    assert result.exit_code == 2
    assert "judged by other budgets" in result.stderr


def test_summary_of_another_time(paper_workspace: Workspace) -> None:
    assert report(paper_workspace, "PASS").exit_code == 0
    path = paper_workspace.engine(TARGET, "meter-fp16").summary
    paper.edit(path, lambda one: one.update(frame_p99_ms=9.0))
    result = CliRunner().invoke(commands, ["report"])
    assert result.exit_code == 2
    assert f"Expected {path} to hold the figures" in result.stderr


def test_without_the_times(paper_workspace: Workspace) -> None:
    assert report(paper_workspace, "PASS").exit_code == 0
    path = paper_workspace.engine(TARGET, "meter-fp16").latency_table
    path.unlink()
    result = CliRunner().invoke(commands, ["report"])
    assert result.exit_code == 2
    writes = f"`pipeline benchmark meter-fp16 --target {TARGET}` writes"
    assert f"Expected {path}, which {writes}, but it is not there. Bring it" in result.stderr


def test_the_report_says_which_budgets_were_not_measured() -> None:
    verdict = judge(manifest(), benchmark(), evaluation(), BUDGETS)
    rows = [(summarise(manifest(), benchmark(), evaluation(), verdict), verdict)]

    def printed(source: BudgetSource) -> str:
        console = Console(width=80, file=io.StringIO())
        print_report("t", rows, {"m-fp16": source}, console=console)
        return str(console.file.getvalue())  # type: ignore[attr-defined]

    assert "m-fp16: budget: derived, not measured\n" in printed("derived")
    assert "m-fp16: budget: the article's, not measured\n" in printed("article")
    assert "m-fp16: budget: what cameras need, not measured\n" in printed("required")
    assert "budget" not in printed("measured")


def test_a_row_says_where_its_budgets_are_from(tmp_path: Path) -> None:
    workspace = Workspace(root=tmp_path)
    for name in ("x86-openvino", "jetson-orin-nx", "jetson-thor"):
        workspace.target(name).mkdir(parents=True)
        shutil.copy(TARGETS / name / "params.yaml", workspace.target(name))
    assert set(budget_sources(workspace, "x86-openvino").values()) == {"required"}
    assert set(budget_sources(workspace, "jetson-orin-nx").values()) == {"article"}
    assert set(budget_sources(workspace, "jetson-thor").values()) == {"derived"}


def test_figures_of_the_weights_of_before_are_told_as_that(paper_workspace: Workspace) -> None:
    told = "of the weights of version 1.0; models/meter has others by now, of version 1.1"
    assert told not in report(paper_workspace, "PASS").stdout
    path = paper_workspace.model("meter") / "model.yaml"
    text = path.read_text().replace('"1.0"', '"1.1"')
    path.write_text(re.sub("sha256: [0-9a-f]{64}", f"sha256: {'d' * 64}", text))
    said = report(paper_workspace, "PASS").stdout
    assert said.count(told) == 2  # an engine each


def test_figures_of_the_size_of_before_are_told_as_that(paper_workspace: Workspace) -> None:
    path = paper_workspace.model("meter") / "model.yaml"
    path.write_text(path.read_text().replace("[320, 320]", "[320, 640]"))
    said = report(paper_workspace, "PASS").stdout
    assert said.count("takes pictures of 320 x 320; models/meter is of 320 x 640 by now") == 2
