"""Names that try to leave their folder, or are none: of models, targets, rings, sites and tags."""

from __future__ import annotations

import csv
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories.gitops import GitOpsRepository, environment, make_repository
from typer.testing import CliRunner

from release.cli import commands
from tests.unit.release.publications import PUBLICATION, TARGET, record

ROOT = Path(__file__).parents[4]
NAMES = (
    *("", "..", "../meter", "/etc/passwd"),
    *("meter\0", "meter\n", "meter\n../x", "meter\udcff"),
    # Dots and a slash that are others in Unicode.
    *("\u2025/meter", "..\uff0fmeter"),
    "m" * 5000,
)

ON, PILOT, CANARY = f"--target={TARGET}", "--to=pilot", "--ring=canary"
WHERE: dict[str, Callable[[str], list[str]]] = {
    "promote a model": lambda name: ["promote", name, ON, PILOT],
    "promote on a target": lambda name: ["promote", "meter", f"--target={name}", PILOT],
    "promote to a ring": lambda name: ["promote", "meter", ON, f"--to={name}"],
    "roll back a model": lambda name: ["rollback", name, ON, CANARY],
    "roll back on a target": lambda name: ["rollback", "meter", f"--target={name}", CANARY],
    "roll back a ring": lambda name: ["rollback", "meter", ON, f"--ring={name}"],
    "roll back to a tag": lambda name: ["rollback", "meter", ON, CANARY, f"--to={name}"],
    "quarantine": lambda name: ["quarantine", name, "--why=x"],
    "history of a model": lambda name: ["history", name],
    "history of a ring": lambda name: ["history", f"--ring={name}"],
    "differences of a model": lambda name: ["diff", name],
    "a site": lambda name: ["add-site", name, ON, CANARY],
    "a site's target": lambda name: ["add-site", "dock", f"--target={name}", CANARY],
    "a site's ring": lambda name: ["add-site", "dock", ON, f"--ring={name}"],
    "bundle for a site": lambda name: ["bundle", f"--site={name}"],
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GitOpsRepository]:
    """One for all names, since none changes it; good ones are taken."""
    made = make_repository(tmp_path_factory.mktemp("names"), [PUBLICATION])
    record(made.workspace, PUBLICATION)
    targets = Path("engines", "targets", TARGET)
    shutil.copytree(ROOT / targets, made.root / targets)
    with pytest.MonkeyPatch.context() as patch:
        for key, value in environment().items():
            if key.startswith("GIT_"):
                patch.setenv(key, value)
        for key in ("MLFLOW_TRACKING_URI", "GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL"):
            patch.delenv(key, raising=False)
        patch.chdir(made.root)
        # `history` fetches once more, so that git has nothing left to note.
        for good in (WHERE["promote a model"]("meter"), WHERE["a site"]("gate"), ["history"]):
            done = CliRunner().invoke(commands, good)
            assert done.exit_code == 0, done.output
        yield made


def lying_about(folder: Path) -> dict[str, str]:
    """Every file with its hash, but for git's note of the last fetch."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "FETCH_HEAD"
    }


@pytest.mark.parametrize("where", WHERE)
def test_refused_and_nothing_written(repository: GitOpsRepository, where: str) -> None:
    before = lying_about(repository.root.parent)
    for name in NAMES:
        result = CliRunner().invoke(commands, WHERE[where](name))
        assert result.exit_code == 2, f"{name[:20]!r}: {result.output} {result.exception}"
        assert result.stderr.startswith(("error: ", "Usage: ")), result.stderr
    assert lying_about(repository.root.parent) == before


@pytest.mark.parametrize("column", ["site", "target", "ring"])
def test_refused_in_a_table(repository: GitOpsRepository, tmp_path: Path, column: str) -> None:
    before = lying_about(repository.root.parent)
    for name in NAMES:
        if name.strip() == "meter":
            continue  # spaces and line ends around a cell are no part of it
        path = tmp_path / "inventory.csv"
        row = {"site": "dock", "target": TARGET, "ring": "canary", column: name}
        with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            csv.writer(file).writerows([row.keys(), row.values()])
        result = CliRunner().invoke(commands, ["sites", "import", os.fspath(path)])
        assert result.exit_code == 2, f"{name[:20]!r}: {result.output} {result.exception}"
        assert result.stderr.startswith("error: "), result.stderr
    assert lying_about(repository.root.parent) == before
