"""Moves through a real bare repository while others push, servers refuse and processes die."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from factories.gitops import RINGS, RINGS_YAML, GitOpsRepository, environment, git, make_repository
from factories.killed import Killed

import release.gitops.git
from engines.config.workspace import Workspace
from engines.errors import Conflict, InputError, JetrailError, ServiceError
from release.gitops.branch import GitOps
from release.gitops.git import GitFailed
from release.moves.place import Place
from release.moves.promotion import Wish
from release.records import (
    Candidate,
    Candidates,
    Publication,
    candidates_path,
    publication_path,
)
from release.registry.mlflow import open_store
from release.rollout.release_yaml import dump, values_of
from release.steps.hand_over import hand_over
from release.steps.promote import promote
from release.steps.quarantine import quarantine
from release.steps.rollback import rollback
from release.steps.status import repair, status
from release.steps.write import write
from tests.unit.release.publications import PUBLICATION, TARGET, another, publication_of

pytestmark = pytest.mark.integration

TAG = PUBLICATION.release
TWO, THREE = another("2.0", "b"), another("3.0", "c")
CLONES = 20


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in environment().items():
        if key.startswith("GIT_"):
            monkeypatch.setenv(key, value)
    for key in ("MLFLOW_TRACKING_URI", "GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL"):
        monkeypatch.delenv(key, raising=False)


@pytest.fixture
def repository(tmp_path: Path) -> GitOpsRepository:
    """One model on one target; canary runs the second release, pilot and production the first."""
    made = make_repository(tmp_path, [PUBLICATION])
    TWO.write(publication_path(made.workspace, TWO.release))
    for ring in RINGS[1:]:
        made.put(PUBLICATION, ring)
    made.push("The first everywhere")
    made.put(TWO, "canary")
    made.push("The second in canary")
    return made


def ring_file(ring: str, target: str = TARGET) -> str:
    return f"release/fleet/meter/{target}/{ring}/release.yaml"


def _nothing(_: object) -> None:
    pass


def to_pilot(workspace: Workspace, target: str = TARGET, ring: str = "pilot") -> None:
    wish = Wish(model="meter", target=target, to=ring)
    promote(workspace, wish, dry_run=False, show=_nothing, say=_nothing)


def back(workspace: Workspace, ring: str = "pilot") -> None:
    place = Place(model="meter", target=TARGET, ring=ring)
    rollback(workspace, place, to=None, why=None, dry_run=False, show=_nothing, say=_nothing)


def ban(workspace: Workspace) -> None:
    quarantine(
        workspace, TWO.release, "no boxes", lift=False, dry_run=False, show=_nothing, say=_nothing
    )


def publish(workspace: Workspace, one: Publication) -> None:
    """The records that `release publish` leaves, with it as the candidate."""
    one.write(publication_path(workspace, one.release))
    candidates(workspace, one)


def candidates(workspace: Workspace, *published: Publication) -> None:
    """The record of a target's candidates."""
    chosen = {
        one.model: Candidate(release=one.release, engine=one.engine, reason="the fastest")
        for one in published
    }
    target = published[0].target
    Candidates(target=target, policy="fastest", candidates=chosen, skipped={}).write(
        candidates_path(workspace, target)
    )


def to_first_ring(workspace: Workspace) -> None:
    hand_over(workspace, None, write(workspace, None, _nothing), say=_nothing)


# --- others --------------------------------------------------------------------------------------


def test_twenty_at_once(tmp_path: Path) -> None:
    """From twenty clones, of twenty targets: one after the other, and none is lost."""
    targets = [f"line-{number}" for number in range(CLONES)]
    repository = make_repository(tmp_path, [publication_of(one) for one in targets])
    clones = [repository.clone(tmp_path / one) for one in targets]
    with ThreadPoolExecutor(CLONES) as pool:
        list(pool.map(to_pilot, clones, targets))
    assert len(repository.subjects()) == CLONES + 1
    # A straight line: nobody merged, nobody forced.
    assert not git(repository.bare, "rev-list", "--merges", "main")
    for one in targets:
        assert repository.at(ring_file("pilot", one)) == repository.at(ring_file("canary", one))
        assert sum(one in subject.split() for subject in repository.subjects()) == 1
    assert git(repository.bare, "fsck", "--strict", "--no-dangling") == ""


def test_the_same_ring_at_once(repository: GitOpsRepository, tmp_path: Path) -> None:
    """Of four, one does it; the others hear who did, or find it done."""
    clones = [repository.clone(tmp_path / str(number)) for number in range(4)]

    def attempt(workspace: Workspace) -> str:
        try:
            to_pilot(workspace)
        except Conflict as error:
            return str(error)
        return "done"

    with ThreadPoolExecutor(len(clones)) as pool:
        said = list(pool.map(attempt, clones))
    assert said.count("done") >= 1
    assert all("Ada <ada@example.com> changed it in" in one for one in said if one != "done")
    assert len(repository.subjects()) == 4


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], None]:
    """Lets something happen right before the first push."""

    def arrange(happens: Callable[[], None]) -> None:
        real, waiting = GitOps.push, [happens]

        def push(self: GitOps, commit: str, branch: str | None = None) -> GitFailed | None:
            if waiting:
                waiting.pop()()
            return real(self, commit, branch)

        monkeypatch.setattr(GitOps, "push", push)

    return arrange


Meanwhile = Callable[[Callable[[], None]], None]


@pytest.mark.parametrize("ring", ["canary", "pilot"])
def test_somebody_moves_one_of_the_two_rings(
    repository: GitOpsRepository, tmp_path: Path, meanwhile: Meanwhile, ring: str
) -> None:
    mine = repository.clone(tmp_path / "mine")

    def others() -> None:
        repository.put(PUBLICATION if ring == "canary" else TWO, ring)
        repository.push("By hand", name="Grace")

    meanwhile(others)
    with pytest.raises(Conflict) as caught:
        to_pilot(mine)
    commit = git(repository.bare, "rev-parse", "--short=12", "main")
    said = f"meanwhile Grace <grace@example.com> changed it in {commit} (By hand)"
    assert f"Expected {ring_file(ring)} as it was" in str(caught.value)
    assert said in str(caught.value)
    assert len(repository.subjects()) == 4


def test_the_release_is_quarantined_meanwhile(
    repository: GitOpsRepository, tmp_path: Path, meanwhile: Meanwhile
) -> None:
    meanwhile(lambda: ban(repository.workspace))
    with pytest.raises(Conflict, match=r"quarantine\.json as it was"):
        to_pilot(repository.clone(tmp_path / "mine"))


def test_somebody_changes_something_else(
    repository: GitOpsRepository, tmp_path: Path, meanwhile: Meanwhile
) -> None:
    def others() -> None:
        (repository.root / "dvc.yaml").write_text("stages: {}  # theirs\n")
        repository.put(TWO, "production")
        repository.push("Something else")

    meanwhile(others)
    to_pilot(repository.clone(tmp_path / "mine"))
    assert repository.at("dvc.yaml") == "stages: {}  # theirs"
    for ring in ("pilot", "production"):
        assert TWO.release in repository.at(ring_file(ring))


def test_a_clone_with_commits_of_its_own(repository: GitOpsRepository, tmp_path: Path) -> None:
    """What was not pushed is not pushed by a move, and stays."""
    mine = repository.clone(tmp_path / "mine")
    (mine.root / "dvc.yaml").write_text("stages: {}  # mine\n")
    git(mine.root, "commit", "--quiet", "-am", "Mine")
    head = git(mine.root, "rev-parse", "HEAD")
    to_pilot(mine)
    assert TWO.release in repository.at(ring_file("pilot"))
    assert repository.at("dvc.yaml") == "stages: {}"
    assert git(mine.root, "rev-parse", "HEAD") == head
    assert git(mine.root, "status", "--porcelain") == ""


def test_changes_in_the_way_stay(repository: GitOpsRepository) -> None:
    """The clone is brought up to date only where nothing is lost."""
    path = repository.root / ring_file("pilot")
    path.write_text("mine: 1\n")
    to_pilot(repository.workspace)
    assert TWO.release in repository.at(ring_file("pilot"))
    assert path.read_text() == "mine: 1\n"


def test_a_shallow_clone(repository: GitOpsRepository, tmp_path: Path) -> None:
    mine = repository.clone(tmp_path / "mine", "--depth=1")
    to_pilot(mine)
    again = repository.clone(tmp_path / "again", "--depth=1")
    back(again)
    assert TAG in repository.at(ring_file("pilot"))


def test_a_repository_of_fleet_s_own(repository: GitOpsRepository, tmp_path: Path) -> None:
    """Another repository than the clone's, without records; the branch has another name."""
    own = tmp_path / "fleet.git"
    git(tmp_path, "init", "--quiet", "--bare", str(own))
    theirs = tmp_path / "theirs"
    git(tmp_path, "clone", "--quiet", str(own), str(theirs))
    shutil.copytree(repository.root / "release" / "fleet", theirs / "release" / "fleet")
    git(theirs, "add", "--all")
    git(theirs, "commit", "--quiet", "-m", "Fleet's own")
    git(theirs, "push", "--quiet", "origin", "HEAD:edge")
    rings = "".join(f"  - name: {ring}\n" for ring in RINGS)
    place = f"gitops: {{url: {own.as_uri()}, branch: edge}}\n"
    repository.workspace.rings_file.write_text(f"schema: 1\n{place}rings:\n{rings}")
    to_pilot(repository.workspace)
    assert TWO.release in git(own, "show", f"edge:{ring_file('pilot')}")
    assert len(git(own, "log", "--format=%s", "edge").splitlines()) == 2
    assert len(repository.subjects()) == 3


def test_a_repository_within_a_repository(tmp_path: Path) -> None:
    outer = tmp_path / "outer.git"
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(outer))
    root = tmp_path / "all" / "vision"
    git(tmp_path, "clone", "--quiet", str(outer), str(root.parent))
    inner = make_repository(tmp_path, [PUBLICATION])
    shutil.copytree(inner.root, root, ignore=shutil.ignore_patterns(".git"))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "Start")
    git(root, "push", "--quiet", "origin", "HEAD:main")
    to_pilot(Workspace(root=root))
    changed = git(outer, "diff", "--name-only", "main~", "main")
    assert changed == f"vision/{ring_file('pilot')}"


# --- servers -------------------------------------------------------------------------------------


def refuse(repository: GitOpsRepository, script: str) -> None:
    """A hook of the server."""
    hook = repository.bare / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def test_a_protected_branch(repository: GitOpsRepository) -> None:
    words = "GitLab: You are not allowed to push code to protected branches on this project."
    refuse(repository, f"echo '{words}' >&2; exit 1")
    with pytest.raises(ServiceError) as caught:
        to_pilot(repository.workspace)
    assert words.rstrip(".") in str(caught.value)
    assert "--merge-request" in str(caught.value)
    assert len(repository.subjects()) == 3


def test_a_branch_that_is_checked_out_where_it_is_pushed_to(
    repository: GitOpsRepository, tmp_path: Path
) -> None:
    """As in a clone of somebody's clone, such as the one that the demo ran in."""
    theirs, ours = repository.root, Workspace(root=tmp_path / "ours")
    git(tmp_path, "clone", "--quiet", str(theirs), str(ours.root))
    with pytest.raises(InputError, match=r"main to be a branch that git takes a push of"):
        to_pilot(ours)
    git(theirs, "checkout", "--quiet", "--detach")
    to_pilot(ours)
    assert git(theirs, "log", "--format=%s", "-1", "main").startswith("Promote meter")


def test_a_server_that_never_takes_it(
    repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says that somebody else was faster, and nobody was."""
    monkeypatch.setattr("release.moves.carry_out.STUCK", 2)
    monkeypatch.setattr(GitOps, "push", lambda *_: GitFailed("! [rejected] (fetch first)"))
    with pytest.raises(ServiceError, match="refused 3 times although nobody else pushed"):
        to_pilot(repository.workspace)


def test_a_server_that_is_down(repository: GitOpsRepository) -> None:
    git(repository.root, "remote", "set-url", "origin", "http://ada:secret@127.0.0.1:9/x.git")
    with pytest.raises(ServiceError) as caught:
        to_pilot(repository.workspace)
    assert "secret" not in str(caught.value)
    assert "Expected origin main to answer" in str(caught.value)


def test_the_answer_is_lost(repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server takes the commit, and the connection breaks before it says so."""
    real = release.gitops.branch.git

    def lost(folder: Path, *words: str, **how: Any) -> bytes:
        done = real(folder, *words, **how)
        if words[0] == "push":
            raise ServiceError("Connection reset by peer.")
        return done

    monkeypatch.setattr(release.gitops.branch, "git", lost)
    to_pilot(repository.workspace)
    assert len(repository.subjects()) == 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("remote", "remove", "origin"), "neither a remote of this clone nor an address"),
        (
            ("push", "--quiet", "origin", "main:other", ":main"),
            "Expected a branch 'main' in origin",
        ),
        (("config", "user.useConfigOnly", "true"), "Expected git to know who makes the commit"),
        (("config", "gpg.program", "false"), "Expected git to make the commit"),
    ],
)
def test_bad_input(
    repository: GitOpsRepository,
    monkeypatch: pytest.MonkeyPatch,
    change: tuple[str, ...],
    said: str,
) -> None:
    git(repository.bare, "config", "receive.denyDeleteCurrent", "ignore")
    git(repository.root, *change)
    if "useConfigOnly" in change[1]:
        for who in ("AUTHOR", "COMMITTER"):
            monkeypatch.delenv(f"GIT_{who}_NAME")
            monkeypatch.delenv(f"GIT_{who}_EMAIL")
    git(repository.root, "config", "commit.gpgsign", str("gpg.program" in change).lower())
    with pytest.raises(InputError) as caught:
        to_pilot(repository.workspace)
    assert said in str(caught.value)


def test_signed_where_git_is_configured_to(repository: GitOpsRepository, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh-keygen to sign with: install openssh-client")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    public = key.with_suffix(".pub").read_text()
    (tmp_path / "signers").write_text(f"ada@example.com {public}")
    for name, value in {
        "gpg.format": "ssh",
        "user.signingKey": str(key),
        "gpg.ssh.allowedSignersFile": str(tmp_path / "signers"),
        "commit.gpgSign": "true",
    }.items():
        git(repository.root, "config", name, value)
    to_pilot(repository.workspace)
    git(repository.root, "verify-commit", "origin/main")


def test_within_a_hook(repository: GitOpsRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """There git names another repository and index."""
    monkeypatch.setenv("GIT_DIR", str(repository.bare))
    monkeypatch.setenv("GIT_INDEX_FILE", str(repository.bare / "elsewhere"))
    to_pilot(repository.workspace)
    assert not (repository.bare / "elsewhere").exists()


def test_links_lead_nowhere(repository: GitOpsRepository, tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text(dump(values_of(PUBLICATION)))
    for ring in ("canary", "pilot"):
        path = repository.root / ring_file(ring)
        content = path.read_text()
        path.unlink()
        path.symlink_to(outside)
        repository.push("A link")
        with pytest.raises(InputError, match="got a link or a submodule"):
            to_pilot(repository.workspace)
        path.unlink()
        path.write_text(content)
    assert outside.read_text() == dump(values_of(PUBLICATION))


# --- MLflow --------------------------------------------------------------------------------------


@pytest.fixture
def aliases(repository: GitOpsRepository) -> Callable[[], dict[str, str]]:
    """A store in the clone with a version for each release; gives what its aliases name."""
    from mlflow import MlflowClient

    name, root = f"meter.{TARGET}", repository.root
    with open_store(root):
        client = MlflowClient(f"sqlite:///{root}/mlflow.db")
        client.create_registered_model(name)
        for one in (PUBLICATION, TWO):
            client.create_model_version(name, "here", tags={"jetrail.tag": one.release})
        client.set_registered_model_alias(name, "production", "2")

    def read() -> dict[str, str]:
        found = client.get_registered_model(name).aliases
        return {alias: str(version) for alias, version in found.items()}

    return read


def nothing_else(workspace: Workspace) -> None:
    """A record of the target without a candidate, so that status speaks of rings only."""
    Candidates(target=TARGET, policy="fastest", candidates={}, skipped={}).write(
        candidates_path(workspace, TARGET)
    )


def test_aliases_follow_git(
    repository: GitOpsRepository,
    aliases: Callable[[], dict[str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    to_pilot(repository.workspace)
    assert aliases() == {"production": "2", "pilot": "2"}
    # The server is down: the move is in git all the same, and its alias is put right later.
    said: list[str] = []
    place = Place(model="meter", target=TARGET, ring="pilot")
    with pytest.MonkeyPatch.context() as down:
        down.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@127.0.0.1:9")
        rollback(
            *(repository.workspace, place),
            to=None, why=None, dry_run=False, show=_nothing, say=said.append,
        )  # fmt: skip
    assert TAG in repository.at(ring_file("pilot"))
    assert said[-1].endswith("so the command for what is left is `release status --repair`.")
    assert "secret" not in said[-1]
    assert aliases()["pilot"] == "2"
    repair(repository.workspace, None, said.append)
    # The canary's too, which nothing but a commit by hand put there.
    assert aliases() == {"production": "1", "pilot": "1", "canary": "2"}
    assert said[-1] == "MLflow's aliases are as origin main says"
    # A ring without a release has no alias.
    (repository.root / ring_file("pilot")).unlink()
    repository.push("Nothing in pilot")
    nothing_else(repository.workspace)
    (differ,) = status(repository.workspace, None).mlflow.differ
    assert "git's pilot is none, MLflow's alias v1.0" in differ
    repair(repository.workspace, None, said.append)
    assert aliases() == {"production": "1", "canary": "2"}
    # A model that was removed has none in any ring.
    shutil.rmtree(repository.root / "release/fleet/meter")
    repository.push("No meter any more")
    found = status(repository.workspace, None).mlflow.differ
    assert [one.partition(" is none")[0].rpartition(" ")[2] for one in found] == [
        "canary",
        "production",
    ]
    repair(repository.workspace, None, said.append)
    assert aliases() == {}
    assert status(repository.workspace, None).mlflow.differ == ()


@pytest.mark.parametrize("own", [False, True], ids=["clone", "clone-with-its-own"])
def test_a_clone_that_is_behind_takes_no_candidate_back(
    repository: GitOpsRepository, aliases: Callable[[], dict[str, str]], tmp_path: Path, own: bool
) -> None:
    """As every clone is after GitLab released: status said that git's candidate is that of before,
    and to repair it. So it was where the clone had published again meanwhile."""
    from mlflow import MlflowClient

    workspace, name = repository.workspace, f"meter.{TARGET}"
    publish(workspace, PUBLICATION)
    repository.push("Published")
    newer = repository.clone(tmp_path / "newer")
    elsewhere = TWO.mlflow.model_copy(update={"tracking_uri": "https://mlflow.example.com"})
    publish(newer, TWO.model_copy(update={"mlflow": elsewhere}))
    git(newer.root, "commit", "--quiet", "--all", "--message=Published", name="Grace")
    git(newer.root, "push", "--quiet", "origin", "HEAD:main")
    if own:
        path = candidates_path(workspace, TARGET)
        path.write_text(path.read_text().replace('"reason": "', '"reason": "stays, '))
        git(workspace.root, "commit", "--quiet", "--all", "--message=Published again")
    client = MlflowClient(f"sqlite:///{repository.root}/mlflow.db")
    client.set_registered_model_alias(name, "candidate", "2")
    (found,) = status(workspace, None).statuses
    assert found.behind
    assert not any("candidate" in one for one in status(workspace, None).mlflow.differ)
    said: list[str] = []
    repair(workspace, None, said.append)
    assert aliases()["candidate"] == "2"
    assert own == (f"{TARGET}: this clone and origin main both have candidates that" in said[0])
    assert own != (said[-1] == "MLflow's aliases are as origin main says")
    # The same came by another commit, as after a merge request that was squashed.
    git(workspace.root, "checkout", "--quiet", "origin/main", "--", "release/records")
    git(workspace.root, "commit", "--quiet", "--message=Squashed")
    overview = status(workspace, None)
    assert not overview.statuses[0].behind
    (entry,) = overview.mlflow.entries.values()
    assert (entry.version, entry.tracking_uri) == (2, "sqlite:///mlflow.db")
    # Nobody has a newer one than who published just now.
    git(workspace.root, "reset", "--quiet", "--hard", "origin/main")
    publish(workspace, PUBLICATION)
    (found,) = status(workspace, None).statuses
    assert not found.behind


def test_an_alias_of_another_repository_stays_there(
    repository: GitOpsRepository, aliases: Callable[[], dict[str, str]]
) -> None:
    """One MLflow, two repositories with a model of one name: `--repair` took the other's ring
    aliases, and with them what its people load by name."""
    from mlflow import MlflowClient

    name, theirs = f"meter.{TARGET}", f"v7.0-{TARGET}-fp16-777777777777"
    client = MlflowClient(f"sqlite:///{repository.root}/mlflow.db")
    client.create_model_version(name, "there", tags={"jetrail.tag": theirs})
    for ring in ("canary", "pilot"):
        client.set_registered_model_alias(name, ring, "3")
    nothing_else(repository.workspace)
    said: list[str] = []
    repair(repository.workspace, None, said.append)
    assert aliases() == {"production": "1", "canary": "3", "pilot": "3"}
    assert f"MLflow's alias pilot of {name} names {theirs}, of which nothing is known" in said[1]
    assert not any("aliases are as" in one for one in said)
    canary, _ = status(repository.workspace, None).mlflow.differ
    assert canary.startswith(f"MLflow's alias canary of {name} names {theirs}")
    assert f"Here it is {TWO.release}. If a colleague" in canary
    # A release that was reverted, and its record with it, was one of this repository.
    path = publication_path(repository.workspace, theirs)
    path.parent.mkdir()
    path.write_text("{}")
    repository.push("Published")
    path.unlink()
    repository.push("Reverted")
    repair(repository.workspace, None, said.append)
    assert aliases() == {"production": "1", "pilot": "1", "canary": "2"}


COUNTER = another("1.0", "d").model_copy(update={"model": "counter", "engine": "counter-fp16"})


@pytest.mark.parametrize("pulled", [True, False], ids=["pulled", "behind"])
@pytest.mark.parametrize(
    "before",
    [[], [COUNTER], [publication_of("line-4")]],
    ids=["nothing", "another model", "another target"],
)
def test_git_revert_of_a_first_release(
    tmp_path: Path, before: list[Publication], pulled: bool
) -> None:
    """Its commit has the only records of the model: status ended with 2 and named `release
    publish`, or spoke of `git pull` alone, and MLflow's candidate named it for ever."""
    from mlflow import MlflowClient

    repository = make_repository(tmp_path, before)
    workspace, name = repository.workspace, f"meter.{TARGET}"
    for one in before:
        candidates(workspace, one)
    for ring in RINGS:
        folder = workspace.ring("meter", TARGET, ring)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fleet.yaml").write_text("helm: {}\n")
    repository.push("Laid out")
    PUBLICATION.write(publication_path(workspace, TAG))
    candidates(workspace, PUBLICATION, *(one for one in before if one.target == TARGET))
    repository.put(PUBLICATION, "canary")
    repository.push("Released")
    with open_store(repository.root):
        client = MlflowClient(f"sqlite:///{repository.root}/mlflow.db")
        client.create_registered_model(name)
        client.create_model_version(name, "here", tags={"jetrail.tag": TAG})
        for alias in ("candidate", "canary"):
            client.set_registered_model_alias(name, alias, "1")
    colleague = repository.clone(tmp_path / "colleague")
    git(colleague.root, "revert", "--no-edit", "HEAD", name="Grace")
    git(colleague.root, "push", "--quiet", "origin", "HEAD:main")
    if pulled:
        git(repository.root, "pull", "--quiet", "origin", "main")

    for target in (None, TARGET):
        found = status(workspace, target)
        (shown,) = (one for one in found.statuses if (one.model, one.target) == ("meter", TARGET))
        assert (shown.candidate is None, shown.behind) == (pulled, not pulled)
        assert target is None or all(f"on {TARGET}:" in one for one in found.mlflow.differ)
        differ = sorted(one for one in found.mlflow.differ if f"meter on {TARGET}" in one)
        assert [one.partition(" is none")[0].split()[-1] for one in differ] == [
            "canary",
            "candidate",
        ]
        assert all(one.endswith("Run `release status --repair`.") for one in differ)
    repair(workspace, None, _nothing)
    assert client.get_registered_model(name).aliases == {}
    assert not any(f"meter on {TARGET}" in one for one in status(workspace, None).mlflow.differ)


def test_in_a_repository_of_fleet_s_own_nobody_speaks_for_others_candidates(
    tmp_path: Path, aliases: Callable[[], dict[str, str]], repository: GitOpsRepository
) -> None:
    """Two repositories publish to one MLflow and one Fleet, which has the records of both: what the
    other one's candidate is its own clones know."""
    from mlflow import MlflowClient

    (tmp_path / "own").mkdir()
    fleet, name = make_repository(tmp_path / "own", [COUNTER, PUBLICATION]), f"counter.{TARGET}"
    for ring in RINGS:
        shutil.rmtree(fleet.workspace.ring("counter", TARGET, ring))
    fleet.push("The counter is no more")
    url = f"gitops: {{url: '{fleet.bare.as_uri()}', branch: main}}\n"
    repository.workspace.rings_file.write_text(RINGS_YAML + url)
    repository.push("Fleet reads another repository")
    client = MlflowClient(f"sqlite:///{repository.root}/mlflow.db")
    client.create_registered_model(name)
    client.create_model_version(name, "there", tags={"jetrail.tag": COUNTER.release})
    client.set_registered_model_alias(name, "candidate", "1")
    for gone in (False, True):
        if gone:
            shutil.rmtree(publication_path(fleet.workspace, COUNTER.release).parent)
            fleet.push("And neither is its record")
        found = status(repository.workspace, None)
        assert not any("counter" in one for one in found.mlflow.differ)
        repair(repository.workspace, None, _nothing)
        assert client.get_registered_model(name).aliases.keys() == {"candidate"}


def test_before_the_first_release_status_says_how_to_make_one(tmp_path: Path) -> None:
    workspace = make_repository(tmp_path, []).workspace
    with pytest.raises(InputError, match=r"there are none\. Run `release publish`"):
        status(workspace, None)
    repair(workspace, None, _nothing)


def test_a_clone_without_a_store_gets_none(repository: GitOpsRepository) -> None:
    to_pilot(repository.workspace)
    assert not (repository.root / "mlflow.db").exists()
    nothing_else(repository.workspace)
    (said,) = status(repository.workspace, None).mlflow.differ
    assert said.startswith("MLflow was not asked: this clone has no store at sqlite:///mlflow.db.")
    assert not (repository.root / "mlflow.db").exists()


def test_a_clone_of_which_nothing_was_ever_published_is_told_nothing(tmp_path: Path) -> None:
    """As after a demo of which no engine passed; where it was reverted, the store has it still."""
    repository = make_repository(tmp_path, [])
    folder = repository.workspace.ring("meter", TARGET, "canary")
    folder.mkdir(parents=True)
    (folder / "fleet.yaml").write_text("helm: {}\n")
    nothing_else(repository.workspace)
    repository.push("Nothing passed")
    assert status(repository.workspace, None).mlflow.differ == ()
    publish(repository.workspace, PUBLICATION)
    repository.push("Published")
    git(repository.root, "revert", "--no-edit", "HEAD")
    (said,) = status(repository.workspace, None).mlflow.differ
    assert said.startswith("MLflow was not asked: this clone has no store at")


@pytest.mark.parametrize("brought", ["counter/" + TARGET, "meter/line-4"])
def test_what_only_the_branch_runs_is_shown(
    repository: GitOpsRepository, tmp_path: Path, brought: str
) -> None:
    """A model or a target that a colleague brought, or that was removed here and not pushed:
    `status` spoke of none, while clusters run it."""
    workspace = repository.workspace
    nothing_else(workspace)
    behind = repository.clone(tmp_path / "behind")
    nothing_else(behind)
    folder = workspace.fleet / brought
    shutil.copytree(workspace.fleet / "meter" / TARGET, folder)
    repository.push("One more")
    shutil.rmtree(folder)
    for clone, is_behind in ((workspace, False), (behind, True)):
        found = {f"{one.model}/{one.target}": one.rings for one in status(clone, None).statuses}
        assert found.keys() == {brought, f"meter/{TARGET}"}
        canary = found[brought]["canary"]
        assert canary.pushed == found[f"meter/{TARGET}"]["canary"].pushed
        assert canary.pushed is not None
        assert (canary.here, canary.behind) == (None, is_behind)
    assert {one.target for one in status(behind, TARGET).statuses} == {TARGET}
    repository.push("One less")
    (found_now,) = status(behind, None).statuses
    assert (found_now.model, found_now.target) == ("meter", TARGET)


# --- clocks --------------------------------------------------------------------------------------


def test_a_commit_from_the_future_is_not_old_enough(repository: GitOpsRepository) -> None:
    """A machine ten years ahead made it."""
    rings = "schema: 1\nrings: [{name: canary}, {name: pilot, rules: [{rule: age, hours: 1}]}]\n"
    repository.workspace.rings_file.write_text(rings)
    year = datetime.now(timezone.utc).year + 10
    repository.put(PUBLICATION, "canary")
    repository.push("Once more", at=f"{year}-01-01T00:00:00Z")
    repository.put(TWO, "canary")
    repository.push("From the future", at=f"{year}-01-01T00:00:00Z")
    with pytest.raises(JetrailError) as caught:
        to_pilot(repository.workspace)
    assert caught.value.exit_code == 3
    assert "one of the two clocks is wrong" in str(caught.value)
    assert "age: as clock says." in str(caught.value)


# --- kill -9 -------------------------------------------------------------------------------------


def killed_at(moment: int, move: Callable[[Workspace], None], workspace: Workspace) -> bool:
    """Whether the move was killed right after its call of git of that number, in a process of its
    own; at a moment that never comes it is done."""
    child = os.fork()
    if child == 0:
        calls, real = 0, release.gitops.git.run_git

        def run(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            done = real(*arguments, **options)
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), 9)
            return done

        release.gitops.git.run_git = run
        code = 1
        try:
            move(workspace)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


@pytest.mark.parametrize("move", [to_pilot, back, ban, to_first_ring])
def test_killed_after_every_call_of_git(
    repository: GitOpsRepository, tmp_path: Path, move: Callable[[Workspace], None]
) -> None:
    """The branch has the move or has it not, and the next run ends with it, once."""
    if move is back:
        # With more than one step to go back, of which a rerun must not take two.
        repository.put(another("0.9", "9"), "pilot")
        repository.push("An older one")
        repository.put(PUBLICATION, "pilot")
        repository.push("The first once more")
        to_pilot(repository.workspace)
    if move is to_first_ring:
        publish(repository.workspace, THREE)
    before = len(repository.subjects())
    moment, killed = 0, True
    while killed:
        moment += 1
        folder = tmp_path / str(moment)
        shutil.copytree(repository.bare, folder / "gitops.git")
        shutil.copytree(repository.root, folder / "clone")
        copy = GitOpsRepository(bare=folder / "gitops.git", root=folder / "clone")
        git(copy.root, "remote", "set-url", "origin", str(copy.bare))
        killed = killed_at(moment, move, copy.workspace)
        assert len(copy.subjects()) in (before, before + 1)
        move(copy.workspace)
        assert len(copy.subjects()) == before + 1
        assert git(copy.root, "status", "--porcelain") == ""
        assert git(copy.root, "rev-parse", "HEAD") == git(copy.bare, "rev-parse", "main")
        shutil.rmtree(folder)
    assert moment > 12


ROUNDS = 3


def lift(workspace: Workspace) -> None:
    quarantine(
        workspace, TWO.release, "boxes", lift=True, dry_run=False, show=_nothing, say=_nothing
    )


def rerun(move: Callable[[Workspace], None], repository: GitOpsRepository) -> None:
    """Run a killed move again; where it says that a lock is in the way, as it says."""
    for lock in repository.bare.rglob("*.lock"):
        lock.unlink()  # a real server is not killed with its client
    try:
        move(repository.workspace)
    except InputError as error:
        if "is in the way. If no other git works here" not in str(error):
            raise
    left = [*(repository.root / ".git").rglob("*.lock")]
    for lock in left:
        lock.unlink()
    if left:
        move(repository.workspace)


def test_killed_at_any_moment(repository: GitOpsRepository) -> None:
    """With git, in the middle of what it writes: the branch has the move or has it not, the next
    run ends with it, once, and what lies about in the clone stays."""
    to_pilot(repository.workspace)
    start = time.monotonic()
    back(repository.workspace)
    longest = time.monotonic() - start
    for name in ("new", "staged", "dvc.yaml"):
        (repository.root / name).write_text(f"stages: {{}}  # {name}, mine\n")
    git(repository.root, "add", "staged")
    mine = git(repository.root, "status", "--porcelain"), git(repository.root, "diff", "HEAD")
    for move in (to_pilot, back, ban, lift) * ROUNDS:
        before = len(repository.subjects())
        killed = Killed(partial(move, repository.workspace))
        killed.kill_after(random.uniform(0, longest))
        assert len(repository.subjects()) in (before, before + 1)
        rerun(move, repository)
        assert len(repository.subjects()) == before + 1
        here = git(repository.root, "rev-parse", "HEAD")
        assert here == git(repository.bare, "rev-parse", "main")
        now = git(repository.root, "status", "--porcelain"), git(repository.root, "diff", "HEAD")
        assert now == mine
    assert git(repository.bare, "fsck", "--strict", "--no-dangling") == ""
