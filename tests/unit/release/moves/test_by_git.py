"""What MLflow's aliases name by git."""

from __future__ import annotations

from factories.gitops import RINGS, GitOpsRepository

from release.gitops.branch import open_gitops
from release.moves.by_git import by_git, ever_published
from release.registry.policy import CANDIDATE
from tests.unit.release.publications import TARGET


def test_of_a_model_that_nobody_published_mlflow_is_not_asked(repository: GitOpsRepository) -> None:
    """It has none, and need not let everybody ask for it."""
    workspace = repository.workspace
    for ring in RINGS:
        folder = workspace.ring("counter", TARGET, ring)
        folder.mkdir(parents=True)
        (folder / "fleet.yaml").write_text("helm: {}\n")
    repository.push("A second model")
    snapshot = open_gitops(workspace).fetch()
    published = ever_published(workspace, None, snapshot)
    assert published == {("meter", TARGET)}
    found = by_git(workspace, None, snapshot, workspace, published).releases
    assert {(one.model, one.ring) for one in found} == {
        ("meter", one) for one in (*RINGS, CANDIDATE)
    }
