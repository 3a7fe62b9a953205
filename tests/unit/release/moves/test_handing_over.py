"""`release write --push`: what was published goes to the branch, and nobody's move is undone."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.gitlab import Server
from factories.gitops import RINGS_YAML, GitOpsRepository, git
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from release.cli import commands
from release.records import Candidate, Candidates, Publication, candidates_path, publication_path
from release.steps.take_records import take_records
from tests.unit.release.publications import PUBLICATION, TARGET, another

ONE = f"release/fleet/meter/{TARGET}"
CANARY = f"{ONE}/canary/release.yaml"
TAG = PUBLICATION.release
TWO, THREE = another("2.0", "b"), another("3.0", "c")

Run = Callable[..., Result]


def test_what_is_quarantined_leaves_a_file_that_nobody_can_read_as_it_is(
    repository: GitOpsRepository, job: Workspace, run: Run
) -> None:
    """The clone's was emptied, which the next `git commit --all` brought to the branch."""
    TWO.write(publication_path(repository.workspace, TWO.release))
    assert run("quarantine", TWO.release, "--why", "no boxes").exit_code == 0
    git(repository.root, "pull", "--quiet", "origin", "main")
    merged = "<<<<<<< HEAD\nimage: {tag: a}\n=======\n"
    (repository.root / CANARY).write_text(merged)
    repository.push("A merge that went wrong")
    result = write(job.root, "--push")
    assert result.exit_code == 0, result.output
    assert f"{TWO.release} is quarantined on" in result.stdout
    assert (job.root / CANARY).read_text() == merged


def publish(workspace: Workspace, one: Publication) -> None:
    """The records that `release publish` leaves, with it as the candidate."""
    one.write(publication_path(workspace, one.release))
    chosen = Candidate(release=one.release, engine=one.engine, reason="the fastest")
    Candidates(target=TARGET, policy="fastest", candidates={"meter": chosen}, skipped={}).write(
        candidates_path(workspace, TARGET)
    )


def write(folder: Path, *more: str) -> Result:
    """As a job does, in its own clone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return CliRunner().invoke(commands, ["write", "--target", TARGET, *more])


def done_as_told(folder: Path, said: str) -> None:
    """Runs what brings the clone to the branch; each command must succeed."""
    for command in re.findall(r"`((?:git (?!diff)|rm )[^`]*)`", said):
        subprocess.run(command, shell=True, cwd=folder, check=True)


@pytest.fixture
def job(repository: GitOpsRepository, tmp_path: Path) -> Workspace:
    """A clone at a detached commit, as a GitLab job has, where a newer release was published."""
    workspace = repository.clone(tmp_path / "job")
    git(workspace.root, "checkout", "--quiet", "--detach")
    publish(workspace, TWO)
    return workspace


def test_the_ring_and_the_records_are_one_commit(
    repository: GitOpsRepository, job: Workspace
) -> None:
    (job.root / "dvc.yaml").write_text("stages: {mine: 1}\n")
    result = write(job.root, "--push")
    assert result.exit_code == 0, result.output
    assert f"canary of meter on {TARGET}, which had {TAG}: {TWO.release}\n" in result.stdout
    yet = "No site will run it yet, and what the ring runs goes on: "
    assert f"{yet}no registry is known to have its image; `release push {TWO.release}`" in (
        result.stdout
    )
    assert f"{yet}it is not signed: " in result.stdout
    assert repository.subjects() == [
        f"Release meter on {TARGET} to canary: {TWO.release}",
        "Start",
    ]
    changed = git(repository.bare, "diff", "--name-only", "main~", "main").splitlines()
    assert changed == [
        CANARY,
        f"release/records/candidates/{TARGET}.json",
        f"release/records/{TWO.release}/publication.json",
    ]
    trailers = git(repository.bare, "log", "-1", "--format=%(trailers:only,unfold)", "main")
    assert trailers.splitlines() == [f"Release: {TWO.release}", "To: canary", f"Replaces: {TAG}"]
    again = write(job.root, "--push")
    assert again.exit_code == 0
    assert f"{TARGET}: the branch has all of it\n" in again.stdout
    assert len(repository.subjects()) == 2


def test_of_two_models_the_one_that_is_new_takes_the_records_along(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    """Those of the target's first model went ahead, in a commit (or merge request) of their own."""
    named = {"model": "gauge", "engine": "gauge-fp16"}
    gauge = another("1.0", "d").model_copy(update=named)
    shutil.copytree(repository.root / ONE, repository.root / ONE.replace("meter", "gauge"))
    gauge.write(publication_path(repository.workspace, gauge.release))
    repository.put(gauge, "canary")
    repository.push("Gauge")
    both = repository.clone(tmp_path / "both")
    publish(both, TWO)
    path = candidates_path(both, TARGET)
    chosen = Candidates.read(path)
    kept = Candidate(release=gauge.release, engine=gauge.engine, reason="the fastest")
    chosen.model_copy(update={"candidates": {**chosen.candidates, "gauge": kept}}).write(path)
    result = write(both.root, "--push")
    assert result.exit_code == 0, result.output
    assert repository.subjects() == [
        f"Release meter on {TARGET} to canary: {TWO.release}",
        "Gauge",
        "Start",
    ]
    assert "the branch has all of it" not in result.stdout


def test_an_alias_that_the_first_run_did_not_come_to_follows_with_the_second(
    job: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed right after the push, or MLflow was down."""
    assert write(job.root, "--push").exit_code == 0
    told: list[str] = []
    monkeypatch.setattr(
        "release.steps.hand_over.follow",
        lambda _, place, values, say: told.append(f"{place.ring}: {values.image.tag}"),
    )
    assert write(job.root, "--push").exit_code == 0
    assert told == [f"canary: {TWO.release}"]


def test_the_clone_of_whoever_does_it_by_hand_stands_on_it(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    workspace = repository.clone(tmp_path / "mine")
    publish(workspace, TWO)
    result = write(workspace.root, "--push")
    assert result.exit_code == 0, result.output
    assert "does not stand on it" not in result.stdout
    assert git(workspace.root, "status", "--porcelain") == ""
    assert git(workspace.root, "rev-parse", "HEAD") == git(repository.bare, "rev-parse", "main")


def test_what_it_pushed_itself_is_nobody_else_s_change(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    """A clone with commits of its own is not brought to the branch: its files lie there still."""
    workspace = repository.clone(tmp_path / "mine")
    (workspace.root / "mine").write_text("mine\n")
    git(workspace.root, "add", "mine")
    git(workspace.root, "commit", "--quiet", "--message=Mine")
    publish(workspace, TWO)
    said = write(workspace.root, "--push").stdout
    assert "changed here" not in said
    assert "are on the branch by now; `rm " in said
    assert f"{CANARY} " not in said.partition("does not stand")[2]
    done_as_told(workspace.root, said)
    assert git(workspace.root, "status", "--porcelain") == ""
    assert git(workspace.root, "rev-parse", "HEAD^") == git(repository.bare, "rev-parse", "main")


def test_what_somebody_changed_is_not_told_to_be_on_the_branch(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    """Beside files that are: whoever did as told would lose it unseen."""
    workspace = repository.clone(tmp_path / "mine")
    (repository.root / "notes").write_text("theirs\n")
    repository.push("Notes")
    (workspace.root / "mine").write_text("mine\n")
    git(workspace.root, "add", "mine")
    git(workspace.root, "commit", "--quiet", "--message=Mine")
    (workspace.root / "notes").write_text("mine\n")
    publish(workspace, TWO)
    said = write(workspace.root, "--push").stdout
    assert "notes" in said
    assert "changed here, and the branch changes it too. Where nobody needs that" in said
    assert "on the branch by now" not in said


@pytest.mark.parametrize("where", [["--detach"], ["-b", "trying"]])
def test_a_clone_that_stands_elsewhere_is_told_what_leads_on(
    repository: GitOpsRepository, job: Workspace, where: list[str]
) -> None:
    """What was written and pushed lies in the way of `git pull` there, and of `git checkout main`
    where that has it by then, or is not there, as in a clone of one branch."""
    git(job.root, "checkout", "--quiet", *where)
    git(job.root, "branch", "--quiet", "--delete", "main")
    done_as_told(job.root, write(job.root, "--push").stdout)
    assert git(job.root, "rev-parse", "HEAD") == git(repository.bare, "rev-parse", "main")


def test_what_others_pushed_meanwhile_stays(repository: GitOpsRepository, job: Workspace) -> None:
    (repository.root / "README").write_text("theirs\n")
    repository.push("Another file")
    assert write(job.root, "--push").exit_code == 0
    assert repository.at("README") == "theirs"
    assert TWO.release in repository.at(CANARY)


@pytest.mark.parametrize("staged", [False, True])
def test_a_ring_that_somebody_moved_meanwhile_is_a_conflict(
    repository: GitOpsRepository, job: Workspace, staged: bool
) -> None:
    git(job.root, "checkout", "--quiet", "main")
    if staged:
        write(job.root)
        git(job.root, "add", "--all")
        publish(repository.workspace, THREE)
    repository.put(THREE, "canary")
    repository.push("Canary gets another", name="Grace")
    result = write(job.root, "--push")
    assert result.exit_code == 7
    path = f"release/records/candidates/{TARGET}.json" if staged else CANARY
    assert f"Expected {path} as it was" in result.stderr
    assert "Grace <grace@example.com> changed it" in result.stderr
    # Run again in the same clone it would be the same conflict.
    assert "in GitLab a new pipeline does it." in result.stderr
    assert THREE.release in repository.at(CANARY)
    assert repository.subjects()[0] == "Canary gets another"
    # `git pull` alone refuses what lies in its way.
    done_as_told(job.root, result.stderr)
    assert git(job.root, "rev-parse", "HEAD") == git(repository.bare, "rev-parse", "main")


def test_an_older_job_does_not_take_a_newer_candidate_back(
    repository: GitOpsRepository, job: Workspace, tmp_path: Path
) -> None:
    newer = repository.clone(tmp_path / "newer")
    publish(newer, THREE)
    assert write(newer.root, "--push").exit_code == 0
    assert write(job.root, "--push").exit_code == 7
    assert THREE.release in repository.at(CANARY)


def test_a_ring_that_went_back_from_a_release_does_not_get_it_again(
    repository: GitOpsRepository, job: Workspace, run: Run, tmp_path: Path
) -> None:
    assert write(job.root, "--push").exit_code == 0
    git(repository.root, "pull", "--quiet", "origin", "main")
    back = ["rollback", "meter", "--target", TARGET, "--ring", "canary", "--why", "no boxes"]
    assert run(*back).exit_code == 0
    # The next pipeline, of a commit that changed something else.
    later = repository.clone(tmp_path / "later")
    result = write(later.root, "--push")
    assert result.exit_code == 0
    assert f"canary went back from {TWO.release}" in result.stdout
    assert f"--ring canary --to {TWO.release}\n" in result.stdout.replace("`", "")
    assert TAG in repository.at(CANARY)
    assert len(repository.subjects()) == 3
    # Nor does the clone keep it for the next `git commit --all`.
    assert git(later.root, "status", "--porcelain") == ""
    # Its next release goes its way.
    by = git(repository.bare, "rev-parse", "main")[:12]
    publish(later, THREE)
    assert write(later.root, "--push").exit_code == 0
    assert THREE.release in repository.at(CANARY)
    # And whoever asks again is told of the move that took it back, and not of the last one.
    publish(later, TWO)
    assert f"canary went back from {TWO.release} ({by}" in write(later.root, "--push").stdout


def test_a_clone_that_is_behind_says_what_the_ring_has(
    repository: GitOpsRepository, job: Workspace
) -> None:
    """It said that the canary has the release already, and that the branch has all of it."""
    git(job.root, "checkout", "--quiet", "main")
    assert write(job.root, "--push").exit_code == 0
    git(repository.root, "pull", "--quiet", "origin", "main")
    repository.put(THREE, "canary")
    repository.push("Canary gets another")
    result = write(job.root, "--push")
    assert result.exit_code == 0
    assert f"canary of meter on {TARGET} has {THREE.release} since this clone" in result.stdout
    assert THREE.release in repository.at(CANARY)


def test_a_first_release_that_was_reverted_does_not_come_back(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    """With `git revert`, since a rollback has nothing to go back to; its push starts a pipeline."""
    git(repository.root, "rm", "--quiet", CANARY)
    repository.push("Nothing yet")
    first = repository.clone(tmp_path / "first")
    publish(first, TWO)
    assert write(first.root, "--push").exit_code == 0
    git(repository.root, "pull", "--quiet", "origin", "main")
    git(repository.root, "revert", "--no-edit", "HEAD")
    git(repository.root, "push", "--quiet", "origin", "HEAD:main")
    again = write(first.root, "--push")
    # Its clone loses them too, by standing where the branch does.
    assert f"{TARGET}: somebody took the records of {TWO.release} off the branch" in again.stdout
    assert "the branch has all of it" not in again.stdout
    later = repository.clone(tmp_path / "later")
    publish(later, TWO)
    result = write(later.root, "--push")
    assert result.exit_code == 0, result.output
    assert f"canary went back from {TWO.release}" in result.stdout
    assert CANARY not in git(repository.bare, "ls-tree", "-r", "--name-only", "main")


def test_what_the_branch_has_in_quarantine_is_recorded_and_goes_nowhere(
    repository: GitOpsRepository, job: Workspace, run: Run
) -> None:
    TWO.write(publication_path(repository.workspace, TWO.release))
    assert run("quarantine", TWO.release, "--why", "no boxes").exit_code == 0
    result = write(job.root, "--push")
    assert result.exit_code == 0
    assert f"{TWO.release} is quarantined on" in result.stdout
    assert TAG in repository.at(CANARY)
    assert repository.subjects()[0] == f"Record what was published of {TARGET}: {TWO.release}"
    assert TWO.release in repository.at(f"release/records/candidates/{TARGET}.json")


def test_a_clone_that_an_earlier_ring_brought_up_to_date_says_what_the_ring_has(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    """The move of `gauge` finds the clone behind; of `meter` it was said that its own is there."""
    names = {"model": "gauge", "engine": "gauge-fp16"}
    gauge = another("5.0", "e").model_copy(update=names)
    gauge.write(publication_path(repository.workspace, gauge.release))
    shutil.copytree(repository.root / ONE, repository.root / ONE.replace("meter", "gauge"))
    repository.put(gauge, "canary")
    publish(repository.workspace, PUBLICATION)
    path = candidates_path(repository.workspace, TARGET)
    chosen = Candidates.read(path)
    more = {"gauge": Candidate(release=gauge.release, engine=gauge.engine, reason="the fastest")}
    chosen.model_copy(update={"candidates": {**more, **chosen.candidates}}).write(path)
    repository.push("Two models")
    late = repository.clone(tmp_path / "late")
    repository.put(TWO, "canary")
    repository.push("Meter gets another")
    result = write(late.root, "--push")
    assert result.exit_code == 0, result.output
    assert f"canary of meter on {TARGET} has {TWO.release} since this clone left" in result.stdout


@pytest.fixture
def fleet(repository: GitOpsRepository, tmp_path: Path) -> Path:
    """A repository of Fleet's own: no commit in common with the clones."""
    fleet, lead = tmp_path / "fleet.git", tmp_path / "lead"
    git(tmp_path, "clone", "--quiet", "--bare", str(repository.bare), str(fleet))
    git(tmp_path, "clone", "--quiet", str(fleet), str(lead))
    git(lead, "checkout", "--quiet", "--orphan", "own")
    git(lead, "commit", "--quiet", "--message=Own")
    git(lead, "push", "--quiet", "--force", "origin", "HEAD:main")
    address = f"gitops: {{url: '{fleet.as_uri()}', branch: main}}\n"
    repository.workspace.rings_file.write_text(RINGS_YAML + address)
    repository.push("Fleet reads another repository")
    return fleet


def test_of_one_commit_nothing_is_taken_back_in_a_repository_of_fleet_s_own(
    repository: GitOpsRepository, fleet: Path, tmp_path: Path
) -> None:
    """Nothing tells which of the two clones is the older one."""
    clones = {one: repository.clone(tmp_path / one, "--depth=1") for one in ("old", "new")}
    for (name, clone), one in zip(clones.items(), (TWO, THREE), strict=True):
        publish(clone, one)
        result = write(clone.root, "--push")
        assert result.exit_code == 0, name
        assert "git pull" not in result.stdout
        # What is on that branch too was taken for what a killed merge had left here, and removed.
        assert candidates_path(clone, TARGET).is_file()
    result = write(clones["old"].root, "--push")
    assert result.exit_code == 0, result.output
    assert f"canary went on from {TWO.release}" in result.stdout
    assert THREE.release in git(fleet, "show", f"main:{CANARY}")


def test_in_a_repository_of_fleet_s_own_other_rings_are_never_pushed(
    repository: GitOpsRepository, fleet: Path, run: Run
) -> None:
    """What the clone lacks for a ring was said to be taken from it by a push."""
    assert run("promote", "meter", "--target", TARGET, "--to", "pilot").exit_code == 0
    assert "by a push" not in run("diff").stdout
    assert "in this clone" not in run("status").stdout


@pytest.mark.parametrize("merged", [False, True])
def test_an_older_job_takes_nothing_back_in_a_repository_of_fleet_s_own(
    repository: GitOpsRepository, fleet: Path, tmp_path: Path, merged: bool
) -> None:
    """With a release that the ring never had; clones as shallow as GitLab makes them."""
    older = repository.clone(tmp_path / "older", "--depth=1")
    (repository.root / "dvc.yaml").write_text("stages: {new: 1}\n")
    repository.push("Later")
    newer = repository.clone(tmp_path / "newer", "--depth=1")
    publish(newer, THREE)
    assert write(newer.root, "--push").exit_code == 0
    source = git(newer.root, "rev-parse", "HEAD")
    assert f"\nSource: {source}" in git(fleet, "log", "-1", "--format=%B", "main")
    if merged:  # as by a merge request
        tree = git(fleet, "rev-parse", "main^{tree}")
        parents = ("-p", git(fleet, "rev-parse", "main^"), "-p", git(fleet, "rev-parse", "main"))
        merge = git(fleet, "commit-tree", tree, *parents, "-m", "Merge")
        git(fleet, "update-ref", "refs/heads/main", merge)
    publish(older, TWO)
    result = write(older.root, "--push")
    assert result.exit_code == 7, result.output
    assert f"to stand on commit {source[:12]} or a later one" in result.stderr
    assert "Nothing was moved. `git pull` brings it up to date" in result.stderr
    assert THREE.release in git(fleet, "show", f"main:{CANARY}")
    # A clone of a later commit has its turn, and so has the same one again.
    for clone, one in ((repository.clone(tmp_path / "later", "--depth=1"), TWO), (newer, THREE)):
        publish(clone, one)
        assert write(clone.root, "--push").exit_code == 0


def test_a_commit_that_was_never_pushed_holds_nobody_back(
    repository: GitOpsRepository, fleet: Path, tmp_path: Path
) -> None:
    by_hand, job = (repository.clone(tmp_path / one, "--depth=1") for one in ("hand", "job"))
    git(by_hand.root, "commit", "--quiet", "--allow-empty", "--message=Mine")
    for clone, one in ((by_hand, TWO), (job, THREE)):
        publish(clone, one)
        assert write(clone.root, "--push").exit_code == 0
    assert THREE.release in git(fleet, "show", f"main:{CANARY}")


def test_what_fleet_s_own_repository_has_is_gone_on_from(
    repository: GitOpsRepository, fleet: Path, tmp_path: Path
) -> None:
    first = repository.clone(tmp_path / "first", "--depth=1")
    publish(first, TWO)
    assert write(first.root, "--push").exit_code == 0
    later = repository.clone(tmp_path / "later", "--depth=1")
    said: list[str] = []
    take_records(later, TARGET, said.append)
    assert said == [f"{TARGET}: the records are those on {fleet.as_uri()} main"]
    for path in (candidates_path(later, TARGET), publication_path(later, TWO.release)):
        assert path.read_bytes() == (first.root / path.relative_to(later.root)).read_bytes()
    # A release manager looks from a clone of the repository with the models.
    manager = repository.clone(tmp_path / "manager")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(manager.root)
        result = CliRunner().invoke(commands, ["status", "--pushed"])
    assert result.exit_code == 0, result.output
    assert f"  candidate  {TWO.release}\n" in result.stdout


def test_status_takes_no_candidate_back_that_is_not_handed_over_yet(
    repository: GitOpsRepository, fleet: Path, tmp_path: Path
) -> None:
    """`release write` would have written the one before."""
    clone = repository.clone(tmp_path / "theirs", "--depth=1")
    publish(clone, TWO)
    assert write(clone.root, "--push").exit_code == 0
    publish(clone, THREE)
    before, said = candidates_path(clone, TARGET).read_bytes(), list[str]()
    take_records(clone, None, said.append)
    assert candidates_path(clone, TARGET).read_bytes() == before
    assert said[1].startswith(f"{TARGET}: the candidates stay those of this clone")
    publish(clone, TWO)
    take_records(clone, None, said.append)
    assert len(said) == 3


def test_rings_in_another_order_lead_past_no_rule(
    repository: GitOpsRepository, job: Workspace
) -> None:
    order = "schema: 1\nrings: [{name: production}, {name: canary}]\n"
    job.rings_file.write_text(order)
    result = write(job.root, "--push")
    assert result.exit_code == 2
    assert "Expected the first ring to be canary, as release/rings.yaml on" in result.stderr
    assert repository.subjects() == ["Start"]


def test_a_ring_without_a_folder_on_the_branch_is_refused(
    repository: GitOpsRepository, job: Workspace
) -> None:
    git(repository.root, "rm", "-r", "--quiet", ONE)
    repository.push("The model goes")
    result = write(job.root, "--push")
    assert result.exit_code == 2
    assert f"Expected {ONE}/canary/fleet.yaml on" in result.stderr
    assert repository.subjects()[0] == "The model goes"


def test_where_the_branch_is_protected_a_merge_request_asks_for_it(
    repository: GitOpsRepository, job: Workspace, gitlab: Server
) -> None:
    result = write(job.root, "--merge-request")
    assert result.exit_code == 0, result.output
    assert repository.subjects() == ["Start"]
    (branch,) = git(
        repository.bare, "branch", "--format=%(refname:short)", "--list", "jetrail/*"
    ).splitlines()
    assert TWO.release in repository.at(CANARY, branch)
    assert len(gitlab.posted) == 1


def test_without_push_nothing_leaves_the_clone(
    repository: GitOpsRepository, job: Workspace
) -> None:
    assert write(job.root).exit_code == 0
    assert repository.subjects() == ["Start"]
    assert TWO.release in (job.root / CANARY).read_text()
