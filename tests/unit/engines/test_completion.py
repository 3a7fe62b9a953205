"""What a shell completes: names of the clone, of those that fit the words before."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from engines.config.workspace import Workspace
from pipeline.cli import commands as pipeline
from release.cli import commands as release
from tests.factories.paper import TARGET, lay_out, row_yaml

RINGS = "schema: 1\ngitops: {branch: main}\nrings: [{name: canary}, {name: production}]\n"
BASES = """\
schema: 1
bases:
  plain: {platform: linux/arm64, from: debian, python: "3.11", repository: r.example, digest: null}
targets: {}
"""


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    workspace = Workspace(root=tmp_path)
    lay_out(workspace)
    other = workspace.target("line-4")
    other.mkdir()
    row = row_yaml("meter-int8").replace(f"target: {TARGET}", "target: line-4")
    (other / "params.yaml").write_text(row)
    for name in ("v1.0-line-4-int8-aaaaaaaaaaaa", "v1.1-line-4-int8-bbbbbbbbbbbb"):
        (workspace.records / name).mkdir(parents=True)
        (workspace.records / name / "publication.json").write_text("{}")
    workspace.rings_file.write_text(RINGS)
    workspace.bases_file.write_text(BASES)
    (workspace.fleet / "sites" / "plant-7").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return workspace


def completed(words: str) -> list[str]:
    """What Bash is offered in place of the last word."""
    command, *rest = words.split(" ")
    app = {"pipeline": pipeline, "release": release}[command]
    variables = {
        f"_{command.upper()}_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(rest)),
    }
    done = CliRunner().invoke(app, prog_name=command, env=variables)
    assert (done.exit_code, done.stderr) == (0, ""), "a shell shows that in the midst of the line"
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("pipeline export ", ["meter"]),
        ("pipeline update-model meter --target l", ["line-4"]),
        ("pipeline gate ", ["meter-fp32", "meter-fp16"]),
        ("pipeline gate meter-fp1", ["meter-fp16"]),
        ("pipeline gate --target line-4 ", ["meter-int8"]),
        ("pipeline predict photo.jpg -e meter-fp3", ["meter-fp32"]),
        ("pipeline ci ", ["line-4", TARGET]),
        ("release history ", ["meter"]),
        ("release promote meter --target ", ["line-4", TARGET]),
        ("release promote meter --to p", ["production"]),
        ("release quarantine v1.1", ["v1.1-line-4-int8-bbbbbbbbbbbb"]),
        ("release bundle --site ", ["plant-7"]),
        ("release base build ", ["plain"]),
    ],
)
def test_names_of_the_clone(workspace: Workspace, words: str, names: list[str]) -> None:
    assert completed(words) == names


def test_nothing_where_there_is_nothing_to_read(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    (workspace.target(TARGET) / "params.yaml").write_text("schema: [\n")
    assert completed("pipeline gate ") == []
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert completed("pipeline export ") == []
