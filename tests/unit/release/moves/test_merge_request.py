"""A move asked for in GitLab, through python-gitlab. No real GitLab confirmed it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories.gitlab import Server
from factories.gitops import GitOpsRepository, git
from typer.testing import Result

from release.gitops.branch import GitOps
from release.gitops.gitlab import open_issue
from tests.unit.release.publications import PUBLICATION, TARGET, another, record

Run = Callable[..., Result]
PROMOTE = ("promote", "meter", "--target", TARGET, "--to", "pilot", "--merge-request")
BRANCH = f"jetrail/promote-meter-on-{TARGET}-to-pilot-{PUBLICATION.release}"
PILOT = f"release/fleet/meter/{TARGET}/pilot/release.yaml"


def test_a_merge_request(repository: GitOpsRepository, run: Run, gitlab: Server) -> None:
    result = run(*PROMOTE)
    assert result.exit_code == 0, result.output
    assert f"Merge request: {gitlab.address}/7" in result.stdout
    assert repository.subjects() == ["Start"]
    assert PUBLICATION.release in repository.at(PILOT, BRANCH)
    ((path, asked),) = gitlab.posted
    assert path == "/api/v4/projects/vision%2Ffleet/merge_requests"
    assert (asked["source_branch"], asked["target_branch"]) == (BRANCH, "main")
    assert asked["title"] == f"Promote meter on {TARGET} to pilot: {PUBLICATION.release}"
    assert f"\nRelease: {PUBLICATION.release}\n" in asked["description"]
    # A second time: the branch is there, the request is open, and neither is made again.
    before = git(repository.bare, "rev-parse", BRANCH)
    assert run(*PROMOTE).exit_code == 0
    assert len(gitlab.posted) == 1
    assert git(repository.bare, "rev-parse", BRANCH) == before


def test_gitlab_does_not_answer(repository: GitOpsRepository, run: Run, gitlab: Server) -> None:
    gitlab.status = 403
    result = run(*PROMOTE)
    assert result.exit_code == 6
    assert "403" in result.stderr
    assert "glpat-secret" not in result.output
    gitlab.status = 201
    assert run(*PROMOTE).exit_code == 0
    assert len(gitlab.posted) == 1


def test_its_branch_is_refused(repository: GitOpsRepository, run: Run, gitlab: Server) -> None:
    """By a rule for names of branches, or who may push at all: the way was --merge-request."""
    hook = repository.bare / "hooks" / "update"
    hook.write_text("#!/bin/sh\necho no such names here\nexit 1\n")
    hook.chmod(0o755)
    result = run(*PROMOTE)
    assert result.exit_code == 6
    assert "no such names here" in result.stderr
    assert f"comes from the branch {BRANCH}: see that you may push one; then run" in result.stderr
    assert "--merge-request" not in result.stderr
    assert gitlab.posted == []


def test_a_token_with_a_line_end(
    repository: GitOpsRepository, run: Run, gitlab: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file has it; it was shown by what refused it, or was a traceback."""
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-secret\n")
    assert run(*PROMOTE).exit_code == 0
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-secret…")
    result = run(*PROMOTE)
    assert result.exit_code == 2
    assert "glpat" not in result.output


def test_no_token(
    repository: GitOpsRepository, run: Run, gitlab: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITLAB_TOKEN")
    result = run(*PROMOTE)
    assert result.exit_code == 2
    assert "in GITLAB_TOKEN, but it is not set" in result.stderr
    assert git(repository.bare, "branch", "--list", BRANCH) == ""


def test_the_branch_of_an_earlier_request(
    repository: GitOpsRepository, run: Run, gitlab: Server
) -> None:
    """The release was packed again since: the request would bring the image of then."""
    canary = repository.root / PILOT.replace("pilot", "canary")
    assert run(*PROMOTE).exit_code == 0
    digest = f"{PUBLICATION.release}@sha256:{64 * '1'}"
    canary.write_text(canary.read_text().replace(PUBLICATION.release, digest))
    repository.push("Another image")
    result = run(*PROMOTE)
    assert result.exit_code == 7
    assert "has another image or state" in result.stderr
    delete = f"`git push origin --delete {BRANCH}`"
    assert delete in result.stderr
    git(repository.root, "push", "--quiet", "origin", "--delete", BRANCH)
    assert run(*PROMOTE).exit_code == 0
    assert digest in repository.at(PILOT, BRANCH)


def test_an_earlier_request_from_before_another_move(
    repository: GitOpsRepository, run: Run, gitlab: Server
) -> None:
    """It was closed, or squashed and its branch kept: GitLab cannot merge that branch any more."""
    assert run(*PROMOTE).exit_code == 0
    two = another("2.0", "b")
    record(repository.workspace, two)
    repository.put(two, "pilot")
    repository.push("Pilot gets another")
    result = run(*PROMOTE)
    assert result.exit_code == 7, result.output
    assert "goes on from what is not there any more" in result.stderr
    git(repository.root, "push", "--quiet", "origin", "--delete", BRANCH)
    assert run(*PROMOTE).exit_code == 0
    assert git(repository.bare, "merge-base", BRANCH, "main") == (
        git(repository.bare, "rev-parse", "main")
    )


def test_an_earlier_request_that_overrides_less(
    repository: GitOpsRepository, run: Run, gitlab: Server
) -> None:
    """It stayed, and said nothing of the quarantine that somebody went past since."""
    record(repository.workspace, PUBLICATION)
    repository.push("Records")
    assert run(*PROMOTE).exit_code == 0
    assert run("quarantine", PUBLICATION.release, "--why", "no boxes").exit_code == 0
    past = (*PROMOTE, "--override", "quarantine", "--why", "they are back")
    result = run(*past)
    assert result.exit_code == 7, result.output
    assert "overrides less" in result.stderr
    git(repository.root, "push", "--quiet", "origin", "--delete", BRANCH)
    assert run(*past).exit_code == 0
    assert run(*past).exit_code == 0
    assert "Override: quarantine" in git(repository.bare, "log", "-1", "--format=%b", BRANCH)
    # Nor would anything but the first one's reason be kept.
    other = run(*past[:-1], "the customer insists")
    assert other.exit_code == 7, other.output
    assert "gives another reason" in other.stderr


def test_a_quarantine_that_is_asked_for_already(
    repository: GitOpsRepository, run: Run, gitlab: Server
) -> None:
    """It has the moment and the words of the first one, and is as good."""
    record(repository.workspace, PUBLICATION)
    repository.push("Records")
    gitlab.status = 502
    ask = ("quarantine", PUBLICATION.release, "--merge-request", "--why")
    assert run(*ask, "No boxes").exit_code == 6
    gitlab.status = 201
    result = run(*ask, "No boxes at three sites")
    assert result.exit_code == 0, result.output
    assert f"Merge request: {gitlab.address}/7" in result.stdout


@pytest.mark.parametrize(
    "address",
    [
        "http://ada:pw@127.0.0.1:{port}/vision/deep/fleet.git",
        "http://127.0.0.1:{port}/vision/deep/fleet",
    ],
)
def test_the_project_is_that_of_the_remote(
    repository: GitOpsRepository,
    gitlab: Server,
    monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:
    monkeypatch.delenv("CI_SERVER_URL")
    url = address.format(port=gitlab.server_port)
    gitops = GitOps(folder=repository.root, url=url, branch="main", prefix="")
    assert open_issue(gitops, "A title", "A text") == f"{gitlab.address}/7"
    assert gitlab.posted[0][0] == "/api/v4/projects/vision%2Fdeep%2Ffleet/issues"
