"""push: what there is nothing of to push is said; the rest wants a registry (integration)."""

from __future__ import annotations

from factories.paper import TARGET

from engines.config.workspace import Workspace
from release.records import Candidates, candidates_path
from release.steps.push import push_candidates


def test_without_a_candidate_it_is_said(workspace: Workspace) -> None:
    none = Candidates(target=TARGET, policy="fastest", candidates={}, skipped={})
    none.write(candidates_path(workspace, TARGET))
    said: list[str] = []
    push_candidates(workspace, TARGET, None, said.append)
    assert said == ["nothing to push, since no engine has the verdict PASS"]
