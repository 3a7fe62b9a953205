"""Promotions and rollbacks through a real bare repository."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from factories.gitops import GitOpsRepository, git
from typer.testing import Result

from engines.config.workspace import Workspace
from release.gitops.branch import open_gitops
from release.records import publication_path
from release.rollout.release_yaml import HEADER
from release.steps.status import repair
from tests.unit.release.publications import PUBLICATION, TARGET, another

ONE = f"release/fleet/meter/{TARGET}"
TAG = PUBLICATION.release


Run = Callable[..., Result]
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
TWO, THREE = another("2.0", "b"), another("3.0", "c")


def promote(ring: str, *more: str) -> list[str]:
    return ["promote", "meter", "--target", TARGET, "--to", ring, *more]


def rollback(ring: str, *more: str) -> list[str]:
    return ["rollback", "meter", "--target", TARGET, "--ring", ring, *more]


def test_a_promotion_is_one_commit_of_one_file(repository: GitOpsRepository, run: Run) -> None:
    # What lies about in the clone, staged or not, is no part of it.
    (repository.root / "dvc.yaml").write_text("stages: {mine: 1}\n")
    (repository.root / "staged").write_text("mine\n")
    git(repository.root, "add", "staged")
    before = git(repository.root, "status", "--porcelain")
    result = run(*promote("pilot"))
    assert result.exit_code == 0, result.output
    assert repository.at(f"{ONE}/pilot/release.yaml") == repository.at(f"{ONE}/canary/release.yaml")
    assert repository.subjects() == [f"Promote meter on {TARGET} to pilot: {TAG}", "Start"]
    changed = git(repository.bare, "diff", "--name-status", "main~", "main")
    assert changed == f"A\t{ONE}/pilot/release.yaml"
    assert git(repository.root, "status", "--porcelain") == before
    assert (repository.root / ONE / "pilot" / "release.yaml").read_text().startswith(HEADER)


def test_the_commit_says_what_and_why(repository: GitOpsRepository, run: Run) -> None:
    repository.put(TWO, "pilot")
    repository.push("Pilot has another")
    run(*promote("pilot", "--why", "soaked for a week\n\nRelease: v6-forged"))
    trailers = git(repository.bare, "log", "-1", "--format=%(trailers:only,unfold)", "main")
    record = publication_path(repository.workspace, TAG)
    digest = subprocess.run(["sha256sum", record], capture_output=True, text=True, check=True)
    assert trailers.splitlines() == [
        f"Release: {TAG}",
        "From: canary",
        "To: pilot",
        f"Replaces: {TWO.release}",
        f"Evidence: release/records/{TAG}/publication.json sha256:{digest.stdout.split()[0]}",
        "Why: soaked for a week Release: v6-forged",
    ]
    assert git(repository.bare, "log", "-1", "--format=%an", "main") == "Ada"


def test_dry_run_shows_and_does_nothing(repository: GitOpsRepository, run: Run) -> None:
    result = run(*promote("pilot", "--dry-run"))
    assert result.exit_code == 0
    assert f"will run  {TAG}" in result.stdout
    assert "quarantine holds: the release is not quarantined" in result.stdout
    assert repository.subjects() == ["Start"]


def test_promoting_again_makes_nothing_twice(repository: GitOpsRepository, run: Run) -> None:
    run(*promote("pilot"))
    result = run(*promote("pilot"))
    assert result.exit_code == 0
    assert "It runs that already: nothing to do" in result.stdout
    assert len(repository.subjects()) == 2


def test_there_and_back(repository: GitOpsRepository, run: Run) -> None:
    run(*promote("pilot"))
    first = git(repository.bare, "rev-parse", f"main:{ONE}/pilot/release.yaml")
    TWO.write(publication_path(repository.workspace, TWO.release))
    repository.put(TWO, "canary")
    repository.push("Canary gets another")
    assert run(*promote("pilot")).exit_code == 0
    assert TWO.release in repository.at(f"{ONE}/pilot/release.yaml")
    result = run(*rollback("pilot", "--why", "no boxes"))
    assert result.exit_code == 0, result.output
    # The same bytes, so Fleet finds the same content as then.
    assert git(repository.bare, "rev-parse", f"main:{ONE}/pilot/release.yaml") == first
    assert f"Replaces: {TWO.release}\n" in git(repository.bare, "log", "-1", "--format=%B", "main")
    assert "Why: no boxes" in git(repository.bare, "log", "-1", "--format=%B", "main")
    # A second one is not forward to the bad one, and is no second step either.
    result = run(*rollback("pilot"))
    assert result.exit_code == 0
    assert "nothing to do; a further step back is one --to TAG" in result.stdout
    # Unless what it went back to is bad too; then before that there is nothing.
    run("quarantine", TAG, "--why", "no boxes either")
    result = run(*rollback("pilot"))
    assert result.exit_code == 2
    assert "but there is none" in result.stderr


def test_back_from_a_release_that_was_promoted_again(
    repository: GitOpsRepository, run: Run
) -> None:
    """A ring that went back and forward again goes back; by then it takes no second step."""
    for one in (PUBLICATION, TWO):
        one.write(publication_path(repository.workspace, one.release))
        repository.put(one, "pilot")
        repository.push(f"Pilot gets {one.release}")
    assert run(*rollback("pilot")).exit_code == 0
    repository.put(TWO, "pilot")
    repository.push("Once more")
    for _ in range(2):
        result = run(*rollback("pilot"))
        assert result.exit_code == 0
        assert TAG in repository.at(f"{ONE}/pilot/release.yaml")
    assert "nothing to do" in result.stdout
    assert len(repository.subjects()) == 6


def test_back_to_a_release_by_name(repository: GitOpsRepository, run: Run) -> None:
    for one in (PUBLICATION, TWO, THREE):
        one.write(publication_path(repository.workspace, one.release))
        repository.put(one, "pilot")
        repository.push(f"Pilot gets {one.release}")
    assert run(*rollback("pilot", "--to", TAG)).exit_code == 0
    assert TAG in repository.at(f"{ONE}/pilot/release.yaml")
    assert run(*rollback("pilot", "--to", TAG)).exit_code == 0
    assert len(repository.subjects()) == 5
    result = run(*rollback("pilot", "--to", f"v9.0-{TARGET}-fp16-999999999999"))
    assert result.exit_code == 2
    assert f"had before ({TAG}, {THREE.release}, {TWO.release})" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (promote("canary"), "got 'canary', the first, which publishing writes"),
        (promote("staging"), "one of the rings canary, pilot, production"),
        (promote("production"), "Expected a release in pilot of meter"),
        (["promote", "../meter", "--target", TARGET, "--to", "pilot"], "got '../meter'"),
        (["promote", "meter", "--target", "..", "--to", "pilot"], "got '..'"),
        (
            ["promote", "other", "--target", TARGET, "--to", "pilot"],
            f"There are: meter on {TARGET}.",
        ),
        (promote("pilot", "--override", "all"), "--why TEXT with --override"),
        (promote("pilot", "--override", "weather", "--why", "x"), "got 'weather'"),
        (rollback("pilot"), "but there is none"),
        (rollback("../pilot"), "got '../pilot'"),
        (rollback("pilot", "--to", "latest"), "Expected a tag as v<model version>"),
    ],
)
def test_bad_input(repository: GitOpsRepository, run: Run, arguments: list[str], said: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert repository.subjects() == ["Start"]


@pytest.mark.parametrize("lock", ["index.lock", "HEAD.lock", "refs/heads/main.lock"])
def test_a_lock_that_a_killed_git_left(repository: GitOpsRepository, run: Run, lock: str) -> None:
    """The move is made; of the clone it is said what is in the way, and the next run brings it."""
    path = repository.root / ".git" / lock
    path.write_text("")
    result = run(*promote("pilot"))
    assert result.exit_code == 0, result.output
    assert f"This clone does not stand on it yet: {path} is in the way. If no" in result.output
    assert "remove it, then run the same command again, or `git pull`" in result.output
    path.unlink()
    assert "does not stand" not in run(*promote("pilot")).output
    here, there = (
        git(repository.root, "rev-parse", "HEAD"),
        git(repository.bare, "rev-parse", "main"),
    )
    assert here == there


def test_a_clone_whose_index_is_broken(repository: GitOpsRepository, run: Run) -> None:
    """`git pull` alone, which was advised, fails the same way."""
    (repository.root / ".git" / "index").write_bytes(b"half of one")
    result = run(*promote("pilot"))
    assert result.exit_code == 0, result.output
    assert "git says: fatal: .git/index: index file" in result.output
    assert "put that right (`git fsck` says more), then `git pull`" in result.output


@pytest.mark.parametrize("changed", [False, True])
def test_a_clone_with_commits_of_its_own(
    repository: GitOpsRepository, run: Run, changed: bool
) -> None:
    """`git pull`, which was advised, asks there how to reconcile them and does nothing."""
    (repository.root / "mine").write_text("mine\n")
    git(repository.root, "add", "mine")
    git(repository.root, "commit", "--quiet", "--message=Mine")
    path = repository.root / ONE / "pilot" / "release.yaml"
    if changed:
        path.write_text(repository.at(f"{ONE}/canary/release.yaml") + "\n")
    said = run(*promote("pilot")).output
    assert "`git pull --rebase --autostash`" in said
    if changed:
        assert ", then `git pull --rebase --autostash`" in said
        assert git(repository.root, "diff", "--cached", "--name-only") == ""
        path.unlink()
    git(repository.root, "pull", "--quiet", "--rebase", "--autostash", "origin", "main")
    assert path.read_text().strip() == repository.at(f"{ONE}/pilot/release.yaml")
    assert (repository.root / "mine").exists()


def test_a_clone_whose_own_commit_has_a_file_otherwise(
    repository: GitOpsRepository, run: Run
) -> None:
    """A rebase stops there, at a record for example that was committed before it was pushed."""
    path = repository.root / ONE / "pilot" / "release.yaml"
    path.write_text("image: {tag: mine}\n")
    (repository.root / "mine").write_text("mine\n")
    git(repository.root, "add", str(path), "mine")
    git(repository.root, "commit", "--quiet", "--message=Mine")
    (repository.root / "mine").write_text("changed since, as no branch did\n")
    said = run(*promote("pilot")).output
    assert "changed here" not in said
    name = path.relative_to(repository.root)
    assert f"`git checkout --ours -- {name}` and `git add {name}` take what the branch has" in said
    git(repository.root, "fetch", "--quiet", "origin")
    with pytest.raises(AssertionError, match="CONFLICT"):
        git(repository.root, "rebase", "--quiet", "--autostash", "origin/main")
    git(repository.root, "checkout", "--ours", "--", str(name))
    git(repository.root, "add", str(name))
    git(repository.root, "-c", "core.editor=true", "rebase", "--continue")
    assert path.read_text() == repository.at(f"{ONE}/pilot/release.yaml") + "\n"
    assert "as no branch did" in (repository.root / "mine").read_text()


@pytest.mark.parametrize("theirs", [None, "mine: 1\n"])
def test_files_that_a_killed_git_wrote(
    repository: GitOpsRepository, run: Run, theirs: str | None
) -> None:
    """They are what the branch has, so the next run goes on, where `git pull` would not; what else
    lies there stays."""
    (repository.root / ".git/index.lock").write_text("")
    run(*promote("pilot"))
    path = repository.root / ONE / "pilot" / "release.yaml"
    written = theirs or repository.at(f"{ONE}/pilot/release.yaml") + "\n"
    path.write_text(written)
    assert "remove it, then run the same command again" in run(*promote("pilot")).output
    (repository.root / ".git/index.lock").unlink()
    said = run(*promote("pilot")).output
    assert path.read_text() == written
    told = f"`rm {ONE}/pilot/release.yaml`, then `git pull`"
    assert (told in said) == (theirs is not None)
    assert bool(git(repository.root, "status", "--porcelain")) == (theirs is not None)


def test_a_lock_that_a_killed_git_left_where_is_pushed_to(
    repository: GitOpsRepository, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("release.moves.carry_out.PAUSE_S", 0)
    path = repository.bare / "refs/heads/main.lock"
    path.write_text("")
    result = run(*promote("pilot"))
    assert result.exit_code == 6, result.output
    assert "refs/heads/main.lock is in the way. If no other git works there" in result.stderr
    assert "Somebody else pushed" not in result.output
    path.unlink()
    assert run(*promote("pilot")).exit_code == 0


def test_a_lock_of_the_branch_that_was_fetched(repository: GitOpsRepository, run: Run) -> None:
    run("history")
    path = repository.root / ".git/refs/jetrail/main.lock"
    path.write_text("")
    repository.put(TWO, "canary")
    repository.push("Something to fetch")
    result = run("history")
    assert result.exit_code == 2
    assert f"Expected to fetch origin main, but {path} is in the way" in result.stderr
    assert "remove it, then run the same command again" in result.stderr


# --- rules ---------------------------------------------------------------------------------------


def ruled(repository: GitOpsRepository, *rules: str) -> None:
    rows = "".join(f"      - {rule}\n" for rule in rules)
    repository.workspace.rings_file.write_text(
        "schema: 1\nrings:\n  - name: canary\n  - name: pilot\n    rules:\n" + rows
    )
    repository.push("Rules")


def test_a_release_has_to_be_in_the_ring_below_for_a_while(
    repository: GitOpsRepository, run: Run
) -> None:
    ruled(repository, "{rule: age, hours: 24}")
    assert run(*promote("pilot")).exit_code == 0
    repository.put(TWO, "canary")
    TWO.write(publication_path(repository.workspace, TWO.release))
    repository.push("Canary gets another", name="Grace")
    result = run(*promote("pilot"))
    assert result.exit_code == 3
    said = "canary has the release for 0.0 h, since Grace <grace@example.com> put it there; "
    assert f"age: {said}pilot asks 24 h." in result.stderr
    # The plan is shown all the same, and a dry run says the same.
    assert f"age        refuses: {said}" in result.stdout
    assert run(*promote("pilot", "--dry-run")).exit_code == 3
    assert TWO.release not in repository.at(f"{ONE}/pilot/release.yaml")


def test_an_override_stands_in_the_commit(repository: GitOpsRepository, run: Run) -> None:
    ruled(repository, "{rule: age, hours: 10000}", "{rule: verdict}")
    assert run(*promote("pilot")).exit_code == 3
    result = run(*promote("pilot", "--override", "age", "--why", "recall of the old one"))
    assert result.exit_code == 0
    assert "age        overridden: canary has the release for" in result.stdout
    message = git(repository.bare, "log", "-1", "--format=%B", "main")
    assert "\nOverride: age\nWhy: recall of the old one" in message
    assert "Override: verdict" not in message


def test_who_may(repository: GitOpsRepository, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    ruled(repository, "{rule: who, people: [grace@example.com, hopper]}")
    result = run(*promote("pilot"))
    assert result.exit_code == 3
    assert "Ada <ada@example.com> is not among those who may promote to pilot" in result.stderr
    monkeypatch.setenv("GITLAB_USER_LOGIN", "hopper")
    assert run(*promote("pilot")).exit_code == 0


def test_the_rules_are_those_of_the_branch(repository: GitOpsRepository, run: Run) -> None:
    """An edit in a clone loosens nothing."""
    ruled(repository, "{rule: age, hours: 10000}")
    repository.workspace.rings_file.write_text(
        "schema: 1\nrings: [{name: canary}, {name: pilot}]\n"
    )
    assert run(*promote("pilot")).exit_code == 3


def test_a_clock_in_1970(
    repository: GitOpsRepository, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("release.moves.promotion.utc_now", lambda: EPOCH)
    result = run(*promote("pilot"))
    assert result.exit_code == 3
    assert "this machine says that it is 1970-01-01 00:00 UTC, but Ada" in result.stderr


@pytest.mark.parametrize(
    "line", ["[core", "[extensions]\n\tobjectformat = md9", "[core]\n\tbare = x"]
)
def test_a_clone_that_git_cannot_read(repository: GitOpsRepository, run: Run, line: str) -> None:
    """It says so of everything that it is asked: no branch's name is wrong, then."""
    with (repository.workspace.root / ".git" / "config").open("a") as file:
        file.write(f"{line}\n")
    result = run("history")
    assert result.exit_code == 2
    assert "error: Expected git to read the repository of " in result.stderr
    assert "rings.yaml" not in result.stderr


def test_a_clone_of_another_user(
    repository: GitOpsRepository, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own, for its tests
    result = run("history")
    assert result.exit_code == 2
    assert f"`git config --global --add safe.directory {repository.workspace.root}`" in (
        result.stderr
    )


@pytest.mark.parametrize("name", ["a\nb", "c\u2028d", "e\x85f", "\udcff"])
def test_a_folder_whose_name_holds_line_ends(repository: GitOpsRepository, name: str) -> None:
    moved = repository.workspace.root.with_name(name)
    repository.workspace.root.rename(moved)
    assert open_gitops(Workspace(root=moved)).folder == moved


def test_a_repair_without_a_store_does_nothing_and_says_so(repository: GitOpsRepository) -> None:
    """It said after that, that the aliases are as git says."""
    said: list[str] = []
    repair(repository.workspace, None, said.append)
    (sentence,) = said
    assert sentence.startswith("MLflow's aliases were not touched, since there is no store")
