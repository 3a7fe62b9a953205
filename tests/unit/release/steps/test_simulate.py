"""simulate: what clusters run, what comes, and what is said of it. It changes nothing."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.cli import commands
from release.rollout.simulation import table
from release.rollout.simulation.result import Simulation, SimulationInput, as_json
from release.steps.simulate import simulate

GOLDEN = Path(__file__).parents[3] / "golden" / "simulation"
FOLDER = "release/fleet/meter/x86-openvino/canary"
FLEET_YAML = """helm:
  chart: oci://registry.example.com/charts/inference
  version: 0.1.0
  valuesFiles: [release.yaml]
overrideTargets:
  - name: canary
    clusterSelector: {matchLabels: {ring: canary}}
rolloutStrategy: {maxUnavailable: 1}
"""


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A clone with one bundle, whose first release is committed, and five clusters."""
    root = tmp_path / "clone"
    (root / FOLDER).mkdir(parents=True)
    (root / "models").mkdir()
    (root / "dvc.yaml").write_text("")
    (root / FOLDER / "fleet.yaml").write_text(FLEET_YAML)
    git(root, "init", "-q", "-b", "main")
    write(root, "v1", commit=True)
    rows = "".join(f"  - {{name: site-{at}, labels: {{ring: canary}}}}\n" for at in range(5))
    (tmp_path / "clusters.yaml").write_text(f"clusters:\n{rows}  - {{name: else}}\n")
    return root


def git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.com"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def write(root: Path, tag: str, *, commit: bool = False) -> None:
    (root / FOLDER / "release.yaml").write_text(f"image: {{tag: {tag}}}\n")
    if commit:
        git(root, "add", "-A")
        git(root, "commit", "-qm", tag)


def run(root: Path, **asked: object) -> Simulation:
    clusters = root.parent / "clusters.yaml"
    return simulate(Workspace(root=root), SimulationInput(clusters=clusters, **asked))  # type: ignore[arg-type]


def counts(simulation: Simulation) -> list[dict[str, int]]:
    return [one.outcome.counts for one in simulation.sync.changes if one.outcome]


def test_what_is_not_committed_comes(repository: Path) -> None:
    write(repository, "v2")
    simulation = run(repository, bad="v2")
    assert "runs HEAD" in simulation.base.replace("clusters run HEAD", "runs HEAD")
    assert counts(simulation) == [{"broken": 1, "held": 4}]
    assert simulation.reached == ["site-0"]


def test_what_is_committed_and_not_pushed_comes(repository: Path) -> None:
    git(repository, "clone", "-q", "--bare", ".", "../bare.git")
    git(repository, "remote", "add", "origin", "../bare.git")
    git(repository, "fetch", "-q", "origin")
    git(repository, "branch", "-q", "--set-upstream-to=origin/main")
    write(repository, "v2", commit=True)
    write(repository, "v3", commit=True)
    simulation = run(repository)
    assert "the upstream" in simulation.base
    assert counts(simulation) == [{"ready": 5}]


def test_else_the_latest_change(repository: Path) -> None:
    write(repository, "v2", commit=True)
    (repository / "README").write_text("x")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "other")
    simulation = run(repository, bad="v2")
    assert "the latest change" in simulation.base
    assert counts(simulation) == [{"broken": 1, "held": 4}]


def test_the_first_release_is_new_everywhere(repository: Path) -> None:
    simulation = run(repository)
    assert simulation.base == "clusters run nothing yet"
    assert simulation.sync.changes[0].added == [f"site-{at}" for at in range(5)]


def test_without_git(tmp_path: Path, repository: Path) -> None:
    (repository / ".git").rename(tmp_path / "away")
    assert counts(run(repository)) == [{"ready": 5}]


def test_a_rollback_starts_where_the_bad_image_stopped(repository: Path) -> None:
    write(repository, "v2", commit=True)
    write(repository, "v1")
    simulation = run(repository, bad="v2")
    assert counts(simulation) == [{"ready": 1, "current": 4}]
    assert simulation.sync.changes[0].started_from
    played = simulation.sync.changes[0].outcome
    assert played is not None
    assert played.played.steps[0].told == ["site-0"]


def test_a_share_is_offline_and_always_the_same(repository: Path) -> None:
    write(repository, "v2")
    simulation = run(repository, offline="40%")
    assert len(simulation.offline) == 2  # of six clusters
    assert simulation.offline == run(repository, offline="2").offline
    assert counts(simulation)[0]["silent"] >= 1


def test_clusters_that_are_no_longer_selected_lose_it(repository: Path) -> None:
    text = FLEET_YAML.replace("{ring: canary}", "{ring: pilot}")
    (repository / FOLDER / "fleet.yaml").write_text(text)
    simulation = run(repository)
    assert simulation.sync.changes[0].removed == [f"site-{at}" for at in range(5)]
    (repository / FOLDER / "fleet.yaml").unlink()
    (repository / FOLDER / "release.yaml").unlink()
    assert len(run(repository).sync.changes[0].removed) == 5


def test_a_chart_outside_the_folder_uninstalls(repository: Path) -> None:
    (repository / "chart").mkdir()
    text = FLEET_YAML.replace("oci://registry.example.com/charts/inference", "../../../../../chart")
    (repository / FOLDER / "fleet.yaml").write_text(text)
    assert len(run(repository).sync.changes[0].removed) == 5


def test_one_cluster_stops_the_bundle(repository: Path) -> None:
    (repository / FOLDER / "release.yaml").write_text("image: {tag: '${ .ClusterLabels.x }'}\n")
    simulation = run(repository)
    assert "there is no 'x' (cluster site-0)" in simulation.sync.changes[0].stops
    text = FLEET_YAML.replace("maxUnavailable: 1", "maxUnavailable: some")
    (repository / FOLDER / "fleet.yaml").write_text(text)
    write(repository, "v2")
    assert "neither a whole number" in run(repository).sync.changes[0].stops


def test_a_broken_file_stops_everything(repository: Path) -> None:
    (repository / FOLDER / "fleet.yaml").write_text("helm: [\r\n")
    with pytest.raises(InputError, match=r"fleet.yaml, line 2: .* changes nothing of any folder"):
        run(repository)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"minutes": 0}, "at least 1 minute"),
        ({"offline": "many"}, "a share as `30%`"),
        ({"offline": "130%"}, "a share as `30%`"),
        ({"offline": "1.5"}, "a share as `30%`"),
        ({"base": "nobody"}, "a commit, branch or tag"),
        ({"fleet_version": "0.9"}, "a version of Fleet"),
        ({"bad": " "}, "an image tag"),
    ],
)
def test_bad_input(repository: Path, asked: dict[str, object], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        run(repository, **asked)


def test_a_tag_that_nobody_gets_is_said(repository: Path) -> None:
    write(repository, "v2")
    assert run(repository, bad="v9").notes == ("no bundle that changes brings v9 to a cluster",)
    assert run(repository, bad="v2").notes == ()


def test_a_digest_does_not_matter_where_none_is_given(repository: Path) -> None:
    write(repository, "v2@sha256:00")
    assert run(repository, bad="v2").reached == ["site-0"]
    assert run(repository, bad="v2@sha256:00").reached == ["site-0"]
    assert run(repository, bad="v2@sha256:01").reached == []


def test_table(repository: Path) -> None:
    write(repository, "v2")
    text = "\n".join(table.lines(run(repository, bad="v2", offline="1")))
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, check=True, capture_output=True, text=True
    )
    text = text.replace(head.stdout[:10], "0123456789")
    assert text + "\n" == (GOLDEN / "table.txt").read_text()
    assert max(map(len, text.splitlines())) <= table.WIDTH


def test_many_bundles_are_put_together(repository: Path) -> None:
    for number in range(25):
        folder = repository / "release/fleet/meter/x86-openvino" / f"ring-{number}"
        folder.mkdir()
        (folder / "fleet.yaml").write_text(FLEET_YAML)
        (folder / "release.yaml").write_text("image: {tag: v1}\n")
    text = "\n".join(table.lines(run(repository, bad="v1")))
    assert text.count("release/fleet/") == 20
    assert "5 bundles more change (--json has all): 25 broken" in text


def command(monkeypatch: pytest.MonkeyPatch, repository: Path, *arguments: str) -> Result:
    monkeypatch.chdir(repository)
    return CliRunner().invoke(commands, ["simulate", "-c", "../clusters.yaml", *arguments])


def test_command(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repository, "v2")
    before = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    done = command(monkeypatch, repository, "--bad", "v2", "--json")
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    assert printed == json.loads(json.dumps(as_json(run(repository, bad="v2"))))
    assert printed["bundles"][0]["partitions"][0]["stuck"] is True
    assert printed["bundles"][0]["clusters"]["site-1"]["held_by"].startswith("site-0 (not ready)")
    after = {path: path.read_bytes() for path in repository.rglob("*") if path.is_file()}
    assert after == before


def test_pictures(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(repository, "v2")
    done = command(monkeypatch, repository, "--bad", "v2", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "simulation.png").read_bytes()[:4] == b"\x89PNG"
    page = (tmp_path / "out" / "simulation.html").read_text()
    assert page.count("<svg") == 2
    assert "site-1 was never told: site-0 (not ready)" in page
    assert not any(word in page for word in ("<script", "http:", "https:", "src="))
    assert json.loads((tmp_path / "out" / "simulation.json").read_text())["reached"] == ["site-0"]


def test_a_file_in_the_place_of_the_folder_is_said(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, "v2")
    (tmp_path / "out").write_text("ours")
    done = command(monkeypatch, repository, "--out", str(tmp_path / "out"))
    assert done.exit_code == 2
    assert "to be a folder, or nothing yet" in done.stderr
    assert (tmp_path / "out").read_text() == "ours"


def test_names_are_escaped(repository: Path, tmp_path: Path) -> None:
    write(repository, "v2")
    name = "<b>../../x</b>"
    (tmp_path / "clusters.yaml").write_text(
        f"clusters: [{{name: '{name}', labels: {{ring: canary}}}}]"
    )
    from release.rollout.simulation.page import write_page

    write_page(run(repository), tmp_path / "page.html")
    assert "<b>" not in (tmp_path / "page.html").read_text()


def test_nothing_changes(repository: Path, tmp_path: Path) -> None:
    simulation = run(repository, base="HEAD")
    assert simulation.sync.changes == []
    assert "nothing changes on any cluster" in list(table.lines(simulation))
    from release.rollout.simulation.plot import draw

    draw(simulation, tmp_path / "x.png")


def test_what_is_wrong_is_said_with_exit_code_2(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = command(monkeypatch, repository, "--minutes", "0")
    assert done.exit_code == 2


def test_names_of_partitions_are_whole_or_say_that_they_are_not(repository: Path) -> None:
    path = repository / FOLDER / "fleet.yaml"
    names = ["Partition 75000 - 100000", "a name that nobody would ever give to a partition", ""]
    rows = "".join(
        f"    - {{name: '{one}', clusterSelector: {{matchLabels: {{ring: canary}}}}}}\n"
        for one in names
    )
    path.write_text(path.read_text().replace("{maxUnavailable: 1}", f"\n  partitions:\n{rows}"))
    write(repository, "v2")
    said = list(table.lines(run(repository)))
    assert any(line.startswith("  Partition 75000 - 100000 ") for line in said)
    assert any(line.startswith("  a name that nobody would eve…") for line in said)
    assert any(line.startswith("  (no name) ") for line in said)
