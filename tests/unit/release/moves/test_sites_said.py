"""What a report from the sites lets a promotion do, and what it says before a rollback."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from factories.fleet_reports import bundle, cluster, deployment, write_report
from factories.gitops import GitOpsRepository, git
from typer.testing import Result

from engines.config.site import Site
from release.gitops.branch import Snapshot, open_gitops
from release.moves.place import Place
from release.moves.seen import see
from release.records import publication_path
from release.reports.report import Report, Told
from release.sites.folder import write_site
from tests.unit.release.publications import PUBLICATION, TARGET, another, record

Run = Callable[..., Result]
Reporter = Callable[..., str]
TWO = another("2.0", "b")
CANARY = f"jetrail-release-fleet-meter-{TARGET}-canary"
PILOT = f"jetrail-release-fleet-meter-{TARGET}-pilot"
RULES = "schema: 1\nrings: [{name: canary}, {name: pilot, rules: [%s]}, {name: production}]\n"
READY = "{rule: ready, clusters: 2, report_minutes: 30}"


@pytest.fixture
def reporter(repository: GitOpsRepository, tmp_path: Path) -> Reporter:
    """Writes a report of a bundle's clusters at the commit that the branch has now."""
    repository.workspace.rings_file.write_text(RULES % READY)
    repository.push("Rules")

    def write(name: str, clusters: dict[str, dict[str, Any]], *more: dict[str, Any]) -> str:
        commit = git(repository.bare, "rev-parse", "main")
        rows = [deployment(name, one, **{"commit": commit, **how}) for one, how in clusters.items()]
        return write_report(tmp_path / "sites.json", [*rows, *more])

    return write


def promote(*reports: str) -> list[str]:
    given = [word for one in reports for word in ("--report", one)]
    return ["promote", "meter", "--target", TARGET, "--to", "pilot", *given]


def test_ready_clusters_let_it_go_on(
    repository: GitOpsRepository, run: Run, reporter: Reporter
) -> None:
    result = run(*promote(reporter(CANARY, {"one": {}, "two": {}, "three": {"ready": False}})))
    assert result.exit_code == 0, result.output
    said = "2 of 3 clusters ready with it, 1 not ready (three); pilot asks 2"
    assert f"ready      holds: of canary the report says: {said}" in result.stdout
    # And the commit keeps what the sites said.
    assert said in git(repository.bare, "log", "-1", "--format=%B", "main")


@pytest.mark.parametrize(
    ("clusters", "said"),
    [
        ({"one": {}}, "1 of 1 clusters ready with it"),
        ({}, "the report knows no cluster of it"),
        ({"one": {}, "two": {"applied": False}}, "1 waiting (two)"),
        ({"one": {}, "two": {"applied": False, "ready": False}}, "1 not ready (two)"),
        ({"one": {}, "two": {"error": "chart not found"}}, "1 not ready (two)"),
        ({"one": {}, "two": {"given": False}}, "1 held (two)"),
        ({"one": {}, "two": {"commit": "0" * 40}}, "1 of 2 clusters ready with it"),
        ({"one": {}, "two": {"commit": "--output=/tmp/x"}}, "1 of 2 clusters ready with it"),
    ],
)
def test_others_do_not(
    run: Run, reporter: Reporter, clusters: dict[str, dict[str, Any]], said: str
) -> None:
    result = run(*promote(reporter(CANARY, clusters)))
    assert result.exit_code == 3
    assert said in result.stderr


def test_another_release_is_no_evidence(
    repository: GitOpsRepository, run: Run, reporter: Reporter
) -> None:
    """The clusters are ready with what the ring had before."""
    report = reporter(CANARY, {"one": {}, "two": {}})
    TWO.write(publication_path(repository.workspace, TWO.release))
    repository.put(TWO, "canary")
    repository.push("Canary gets another")
    result = run(*promote(report))
    assert result.exit_code == 3
    assert "0 of 2 clusters ready with it" in result.stderr
    assert run(*promote(reporter(CANARY, {"one": {}, "two": {}}))).exit_code == 0


def test_another_ring_s_clusters_are_no_evidence(run: Run, reporter: Reporter) -> None:
    assert run(*promote(reporter(PILOT, {"one": {}, "two": {}}))).exit_code == 3


@pytest.mark.parametrize("minutes", [-31, 31])
def test_a_report_of_another_time(run: Run, reporter: Reporter, minutes: int) -> None:
    path = reporter(CANARY, {"one": {}, "two": {}})
    at = time.time() - minutes * 60
    os.utime(path, (at, at))
    result = run(*promote(path))
    assert result.exit_code == 3
    assert "pilot asks one of the last 30 minutes" in result.stderr


@pytest.mark.usefixtures("reporter")
def test_the_time_of_a_report_is_said_in_utc(run: Run, tmp_path: Path) -> None:
    """`fleet monitor` tells it by the clock of the machine that it runs on."""
    path = tmp_path / "monitor.json"
    path.write_text('{"timestamp": "2026-01-02T00:30:00+02:00", "bundledeployments": []}')
    assert "the report is of 2026-01-01 22:30 UTC;" in run(*promote(str(path))).stderr


def test_no_report(run: Run, reporter: Reporter) -> None:
    result = run(*promote())
    assert result.exit_code == 3
    assert "say so with --report FILE or URL" in result.stderr


def test_pods_that_tell_another_version(run: Run, reporter: Reporter, tmp_path: Path) -> None:
    """Fleet says ready, and what runs there is another release."""
    site = cluster("two", "2026-01-01T00:00:00Z", site="dock")
    path = reporter(CANARY, {"one": {}, "two": {}}, site)
    metrics = tmp_path / "metrics"
    metrics.write_text(f'model_version{{site="dock",release="{TWO.release}",version="2.0"}} 1\n')
    result = run(*promote(path, str(metrics)))
    assert result.exit_code == 3
    assert "1 of 2 clusters ready with it, 1 not ready (two), another version at dock" in (
        result.stderr
    )


def pods(path: Path, sites: dict[str, str]) -> str:
    """What pods tell: site to release."""
    rows = [f'model_version{{site="{one}",release="{sites[one]}"}} 1\n' for one in sites]
    path.write_text("".join(rows))
    return str(path)


def test_pods_without_fleet_s_word(
    repository: GitOpsRepository, run: Run, reporter: Reporter, tmp_path: Path
) -> None:
    """They name no ring: the branch has them in the canary, or they are no evidence of it."""
    for site, ring in {"dock": "canary", "gate": "canary", "hall": "pilot"}.items():
        about = {"site": site, "target": TARGET, "ring": ring}
        write_site(repository.workspace, Site.model_validate(about))
    repository.push("Sites")
    there = dict.fromkeys(("hall", "nobody-s", "../dock"), PUBLICATION.release)
    result = run(*promote(pods(tmp_path / "metrics", {"dock": TWO.release, **there})))
    assert result.exit_code == 3
    assert "0 of 1 clusters ready with it; pilot asks 2" in result.stderr
    both = dict.fromkeys(("dock", "gate"), PUBLICATION.release)
    assert run(*promote(pods(tmp_path / "metrics", both))).exit_code == 0


def test_pods_whose_ring_nobody_knows(run: Run, reporter: Reporter, tmp_path: Path) -> None:
    """Without the label that Prometheus adds, or of a site that has no folder."""
    path = pods(tmp_path / "metrics", {"nowhere": PUBLICATION.release})
    bare = f'model_version{{version="1.0",release="{PUBLICATION.release}"}} 1\n'
    for content, whose in (("", "nowhere"), (bare, "a site without a name, nowhere")):
        with Path(path).open("a") as metrics:
            metrics.write(content)
        result = run(*promote(path))
        assert result.exit_code == 3
        assert f"it has pods of {whose}, of which no folder in release/fleet/sites" in result.stderr


def test_pods_of_another_ring_are_no_strangers(
    repository: GitOpsRepository, run: Run, reporter: Reporter, tmp_path: Path
) -> None:
    write_site(repository.workspace, Site(site="one", target=TARGET, ring="pilot"))
    repository.push("Sites")
    result = run(*promote(pods(tmp_path / "metrics", {"one": PUBLICATION.release})))
    assert "the report knows no cluster of it" in result.stderr
    assert "it has pods of" not in result.stderr


def test_a_site_s_file_is_read_once_for_all_rings(
    repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 1000 sites and 20 rings a status took minutes."""
    about = {"site": "dock", "target": TARGET, "ring": "pilot"}
    write_site(repository.workspace, Site.model_validate(about))
    repository.push("Sites")
    snapshot, read = open_gitops(repository.workspace).fetch(), Snapshot.read
    asked: list[str] = []

    def noting(of: Snapshot, path: str) -> bytes | None:
        asked.append(path)
        return read(of, path)

    monkeypatch.setattr(Snapshot, "read", noting)
    told = (Told(site="dock", version="1.0", release=PUBLICATION.release),)
    report = Report(name="metrics", at=datetime.now(timezone.utc), told=told)
    rings = [Place(model="meter", target=TARGET, ring=one) for one in ("canary", "pilot")]
    found = [see(snapshot, report, place, PUBLICATION.release).ready for place in rings]
    assert found == [(), ("dock",)]
    assert asked.count("release/fleet/sites/dock/configmap.yaml") == 1


def test_pods_of_another_model_beside_them(
    repository: GitOpsRepository, run: Run, reporter: Reporter, tmp_path: Path
) -> None:
    """A site has pods of several models, and of an old release while the new one comes."""
    other = TWO.model_copy(update={"model": "helmets"})
    record(repository.workspace, other)
    repository.push("Another model")
    sites = [cluster(one, "2026-01-01T00:00:00Z", site=one) for one in ("one", "two")]
    path = reporter(CANARY, {"one": {}, "two": {}}, *sites)
    metrics = pods(tmp_path / "a", {"one": PUBLICATION.release, "two": PUBLICATION.release})
    beside = pods(tmp_path / "b", {"one": other.release, "two": other.release})
    assert run(*promote(path, metrics, beside)).exit_code == 0


# --- before a rollback ---------------------------------------------------------------------------


@pytest.fixture
def pilot_has_two(repository: GitOpsRepository) -> None:
    for one in (PUBLICATION, TWO):
        one.write(publication_path(repository.workspace, one.release))
        repository.put(one, "pilot")
        repository.push(f"Pilot gets {one.release}")


def test_fleet_reaches_all(pilot_has_two: None, run: Run, reporter: Reporter) -> None:
    path = reporter(PILOT, {"one": {}, "two": {}})
    result = run("rollback", "meter", "--target", TARGET, "--ring", "pilot", "--report", path)
    assert result.exit_code == 0, result.output
    assert "  reach     Fleet reaches all 2 clusters of the ring\n" in result.stdout


def test_what_holds_it(pilot_has_two: None, run: Run, reporter: Reporter) -> None:
    path = reporter(
        PILOT,
        {
            "a": {"ready": False},
            "b": {"paused": True},
            "c": {"given": False},
            "d": {},
        },
        bundle(PILOT, paused=True),
        cluster("d", "2026-01-01T00:00:00Z"),
    )
    back = ("rollback", "meter", "--target", TARGET, "--ring", "pilot", "--dry-run")
    lines = run(*back, "--report", path).stdout.splitlines()
    assert [line for line in lines if line.startswith("  reach")] == [
        "  reach     The bundle is paused, so Fleet changes no cluster: set spec.paused to false",
        "  reach     Paused, and left as they are until they are not: b",
        "  reach     Offline, and reached when they are back: d; until then each holds a place "
        "among those that may be unavailable",
        "  reach     Never given the release, held by a, b, d: c; with what they have they are up "
        "to date again at once",
        "  reach     Not ready, so changed at once and first: a",
    ]
    other = reporter(CANARY, {"a": {}})
    assert "The report knows no cluster of this ring" in run(*back, "--report", other).stdout


def test_status_says_what_fleet_says(
    repository: GitOpsRepository, run: Run, reporter: Reporter
) -> None:
    record(repository.workspace, PUBLICATION)
    path = reporter(CANARY, {"one": {}, "two": {"ready": False, "message": "pods 0/1"}})
    lines = run("status", "--report", path).stdout.splitlines()
    at = lines.index(f"  canary     {PUBLICATION.release}")
    assert lines[at + 2] == "             1 of 2 clusters ready with it, 1 not ready (two)"
