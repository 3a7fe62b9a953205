"""The rule `lint`: the ring's folder on the branch is looked at with the release in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from factories.gitops import GitOpsRepository, git
from factories.paper import row_yaml
from typer.testing import Result

from release.rollout.release_yaml import dump, release_file, values_of
from tests.unit.release.publications import PUBLICATION, TARGET

Run = Callable[..., Result]
RINGS = "schema: 1\nrings: [{name: canary}, {name: pilot, rules: [{rule: lint}]}]\n"
PROMOTE = ("promote", "meter", "--target", TARGET, "--to", "pilot")
FLEET = """\
defaultNamespace: inference
helm:
  releaseName: meter-x86
  chart: oci://registry.example.com/charts/inference
  version: 0.1.0
  valuesFiles: [release.yaml]
  values: {image: {repository: registry.example.com/meter}}
overrideTargets:
  - name: pilot
    clusterSelector: {matchLabels: {device: x86-openvino, ring: pilot}}
"""


@pytest.fixture
def fleet(repository: GitOpsRepository) -> Path:
    """Pilot's fleet.yaml, one that lint has nothing against."""
    repository.workspace.rings_file.write_text(RINGS)
    canary = release_file(repository.workspace, "meter", TARGET, "canary")
    canary.write_text(dump(values_of(PUBLICATION, f"sha256:{'d' * 64}")))
    path = repository.workspace.ring("meter", TARGET, "pilot") / "fleet.yaml"
    path.write_text(FLEET)
    repository.push("Rules")
    return path


def test_nothing_found(repository: GitOpsRepository, run: Run, fleet: Path) -> None:
    result = run(*PROMOTE)
    assert result.exit_code == 0, result.output
    assert f"lint       holds: no error in release/fleet/meter/{TARGET}/pilot" in result.stdout


def test_an_error(repository: GitOpsRepository, run: Run, fleet: Path) -> None:
    fleet.write_text(FLEET.replace("oci://registry.example.com/charts/inference", "../../chart"))
    # In a clone it is of no account: what is pushed counts.
    assert run(*PROMOTE, "--dry-run").exit_code == 0
    repository.push("Another chart")
    result = run(*PROMOTE)
    assert result.exit_code == 3
    assert f"lint: release/fleet/meter/{TARGET}/pilot/fleet.yaml:4 chart-" in result.stderr
    assert repository.subjects()[0] == "Another chart"


def label_clusters(repository: GitOpsRepository, label: str) -> Path:
    """Let the target's row name another label than its own name; gives the row."""
    row = repository.workspace.target(TARGET) / "params.yaml"
    row.parent.mkdir(parents=True, exist_ok=True)
    row.write_text(row_yaml().replace(f"fleet_label: {TARGET}", f"fleet_label: {label}") + "  {}\n")
    return row


def test_clusters_are_labelled_as_the_row_on_the_branch_says(
    repository: GitOpsRepository, run: Run, fleet: Path
) -> None:
    row = label_clusters(repository, "line-4")
    fleet.write_text(FLEET.replace(f"device: {TARGET}", "device: line-4"))
    repository.push("The label line-4")
    row.write_text(row.read_text().replace("fleet_label: line-4", "fleet_label: line-5"))
    result = run(*PROMOTE)
    assert result.exit_code == 0, result.output


def test_in_a_repository_of_fleets_own_the_row_is_the_clones(
    repository: GitOpsRepository, run: Run, fleet: Path, tmp_path: Path
) -> None:
    fleet.write_text(FLEET.replace(f"device: {TARGET}", "device: line-4"))
    repository.push("The label line-4")
    bare = tmp_path / "fleet.git"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository.bare), str(bare))
    own = git(bare, "commit-tree", "main^{tree}", "-m", "Own")
    git(bare, "update-ref", "refs/heads/main", own)
    rings = f"gitops: {{url: '{bare}'}}\n"
    repository.workspace.rings_file.write_text(RINGS + rings)
    label_clusters(repository, "line-4")
    assert run(*PROMOTE, "--dry-run").exit_code == 0
