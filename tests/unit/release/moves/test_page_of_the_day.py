"""docs/releasing.md prints what is printed: its day, played, tags and moments aside."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from factories.fleet_reports import deployment, write_report
from factories.gitops import GitOpsRepository, git, make_repository
from typer.testing import Result

from release.records import Publication
from release.rollout.reading.names import bundle_name
from tests.unit.release.publications import another, record

PAGE = Path(__file__).parents[4] / "docs" / "releasing.md"
MODEL, TARGET = "meter-yolov8n", "jetson-orin-nx"
RULES = "[{rule: verdict}, {rule: age, hours: 1}, {rule: ready, clusters: 1}]"
RINGS = (
    f"schema: 1\nrings: [{{name: canary}}, {{name: pilot, rules: {RULES}}}, {{name: production}}]\n"
)


def of_the_page(version: str, digit: str) -> Publication:
    return another(version, digit).model_copy(
        update={
            "release": f"v{version}-{TARGET}-fp16-{digit * 12}",
            "model": MODEL,
            "engine": f"{MODEL}-fp16",
            "target": TARGET,
            "fleet_label": TARGET,
        }
    )


@pytest.fixture
def repository(tmp_path: Path, repository: GitOpsRepository) -> GitOpsRepository:
    """The first release in pilot for twelve days, the second in canary for thirty hours."""
    first, second = of_the_page("1.0", "3"), of_the_page("1.1", "b")
    (tmp_path / "day").mkdir()
    made = make_repository(tmp_path / "day", [first], rings=RINGS)
    record(made.workspace, first)
    record(made.workspace, second)
    for publication, ring, name, hours in (
        (first, "pilot", "Ada", 300),
        (second, "canary", "Grace", 30),
    ):
        made.put(publication, ring)
        at = datetime.now(timezone.utc) - timedelta(hours=hours)
        made.push(f"To {ring}", name=name, at=f"{at:%Y-%m-%dT%H:%M:%SZ}")
    return made


def blocks() -> dict[str, tuple[list[str], list[str]]]:
    """Of each `$ release …` of the day: its words and the lines that the page prints after it."""
    day = PAGE.read_text().partition("## The release manager's day")[2]
    found = {}
    for block in re.findall(r"(?s)```\n\$ (release .*?)```", day):
        command, _, printed = block.partition("\n")
        words = shlex.split(command)[1:]
        found[words[0]] = words, printed.splitlines()
    return found


def without_moments(line: str) -> str:
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "MOMENT", line)
    return re.sub(r"(?<= )[0-9a-f]{12}\b", "COMMIT", line)


def report(repository: GitOpsRepository, **rings: dict[str, dict[str, Any]]) -> None:
    commit = git(repository.bare, "rev-parse", "main")
    rows = [
        deployment(
            bundle_name("jetrail", Path("release/fleet", MODEL, TARGET, ring)), name, commit, **how
        )
        for ring, clusters in rings.items()
        for name, how in clusters.items()
    ]
    write_report(repository.root / "sites.json", rows)


def test_the_page_prints_what_is_printed(
    repository: GitOpsRepository, run: Callable[..., Result]
) -> None:
    page = blocks()
    assert list(page) == ["status", "promote", "rollback"]
    report(
        repository,
        canary={"lab-1": {}, "lab-2": {}},
        pilot={f"gate-{number}": {} for number in range(1, 6)},
    )
    for name, (words, printed) in page.items():
        if name == "rollback":
            report(
                repository,
                pilot={"gate-1": {"ready": False}, "gate-2": {}, "gate-3": {"given": False}},
            )
        result = run(*words)
        assert result.exit_code == 0, result.output
        # The page's clone has MLflow's address, this one has not.
        lines = [one for one in result.stdout.splitlines() if "MLflow was not asked" not in one]
        got = [without_moments(line) for line in lines]
        wanted = [without_moments(line) for line in printed]
        if "  …" in wanted:
            at = wanted.index("  …")
            rest = len(wanted) - at - 1
            assert got[:at] == wanted[:at]
            assert got[len(got) - rest :] == wanted[at + 1 :]
        else:
            assert got == wanted
