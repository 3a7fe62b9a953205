"""A machine whose clock is at 1970, or ten years ahead: nothing is let through that should wait,
and back is always possible."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from factories.fleet_reports import deployment, write_report
from factories.gitops import GitOpsRepository, git
from typer.testing import Result

from release.records import publication_path
from tests.unit.release.publications import PUBLICATION, TARGET, another

Run = Callable[..., Result]
TWO = another("2.0", "b")
PLACE = ("meter", "--target", TARGET)
RINGS = """\
schema: 1
rings:
  - {name: canary, watch: {clusters: 1, minutes: 10, hours: 24}}
  - {name: pilot, rules: [{rule: age, hours: 1}, {rule: ready, clusters: 1}]}
"""
CLOCKS = {
    "1970": datetime(1970, 1, 1, 0, 5, tzinfo=timezone.utc),
    "ten years ahead": datetime.now(timezone.utc) + timedelta(days=3653),
}
MODULES = (
    *("release.moves.promotion", "release.steps.watch", "release.steps.quarantine"),
    *("release.reports.load", "release.signing.keys"),
)


@pytest.fixture(params=CLOCKS)
def clock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """This machine's clock, and git's on it."""
    now = CLOCKS[request.param]

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return now.astimezone(tz)

    for name in MODULES:
        monkeypatch.setattr(importlib.import_module(name), "datetime", Wrong)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_DATE", f"@{int(now.timestamp())} +0000")
    return str(request.param)


@pytest.fixture
def report(repository: GitOpsRepository, tmp_path: Path) -> str:
    """The canary has had a second release for two hours, and its one site cannot run it."""
    at = datetime.now(timezone.utc) - timedelta(hours=2)
    repository.workspace.rings_file.write_text(RINGS)
    TWO.write(publication_path(repository.workspace, TWO.release))
    repository.put(TWO, "canary")
    repository.push("The second", at=f"{at:%Y-%m-%dT%H:%M:%SZ}")
    row = deployment(
        *(f"jetrail-release-fleet-meter-{TARGET}-canary", "dock"),
        git(repository.bare, "rev-parse", "main"),
        ready=False,
        since=f"{at:%Y-%m-%dT%H:%M:%SZ}",
    )
    return write_report(tmp_path / "sites.json", [row])


def test_promotion(repository: GitOpsRepository, run: Run, report: str, clock: str) -> None:
    """Every rule about time refuses at 1970; ten years ahead the release looks old enough, but the
    branch says that nobody committed anything for so long."""
    result = run("promote", *PLACE, "--to", "pilot", "--report", report)
    assert result.exit_code == 3, result.output
    said = result.stderr
    assert "ready: the report is of " in said
    assert "clock: this machine says that it is " in said
    assert ("more than a year after the last commit" in said) == (clock != "1970")
    assert ("age: as clock says." in said) == (clock == "1970")
    assert ("which is yet to come" in result.stdout) == (clock == "1970")
    assert "Traceback" not in said
    assert len(repository.subjects()) == 2


def test_watch(repository: GitOpsRepository, run: Run, report: str, clock: str) -> None:
    """A report of another time is no ground for anything."""
    result = run("watch", "--once", "--report", report)
    assert result.exit_code == 0, result.output
    assert "which is no ground for anything" in result.stdout
    assert len(repository.subjects()) == 2


def test_back_is_always_possible(
    repository: GitOpsRepository, run: Run, report: str, clock: str
) -> None:
    """And whoever looks later, by a right clock, finds the order that it had."""
    assert run("rollback", *PLACE, "--ring", "canary").exit_code == 0
    assert run("quarantine", TWO.release, "--why", "no boxes").exit_code == 0
    listed = run("history", "meter", "--target", TARGET)
    assert listed.exit_code == 0, listed.output
    moves = [one.split() for one in listed.stdout.splitlines() if " -> " in one]
    assert [(one[0], one[2]) for one in moves] == [
        *((TWO.release, PUBLICATION.release), (PUBLICATION.release, TWO.release)),
        ("-", PUBLICATION.release),
    ]


def test_a_commit_of_1970_is_no_older_than_what_it_stands_on(
    repository: GitOpsRepository, run: Run, report: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For how long a ring has what such a machine wrote nobody knows, so it is not old enough."""
    repository.put(PUBLICATION, "canary")
    repository.push("By a machine at 1970", at="1970-01-02T00:00:00Z")
    rings = RINGS.replace(", {rule: ready, clusters: 1}", "")
    repository.workspace.rings_file.write_text(rings)
    repository.push("Rules", at="1970-01-02T00:00:01Z")
    result = run("promote", *PLACE, "--to", "pilot")
    assert result.exit_code == 3, result.output
    assert "canary got the release at 1970-01-02 00:00 UTC, before the commit" in result.stderr


def test_a_branch_at_rest_for_most_of_a_year_is_no_clock_that_is_wrong(
    repository: GitOpsRepository, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings = RINGS.replace(", {rule: ready, clusters: 1}", "")
    repository.workspace.rings_file.write_text(rings)
    repository.push("Rules")
    later = datetime.now(timezone.utc) + timedelta(days=360)
    monkeypatch.setattr("release.moves.promotion.utc_now", lambda: later)
    assert run("promote", *PLACE, "--to", "pilot").exit_code == 0
