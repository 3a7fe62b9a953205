"""Quarantine, history, status and diff, by a real bare repository."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.gitops import RINGS, GitOpsRepository, day, git
from typer.testing import Result

from release.gitops.history import removed, was_ever_there
from release.records import Publication, publication_path
from tests.unit.release.publications import PUBLICATION, TARGET, another, record

Run = Callable[..., Result]
TAG = PUBLICATION.release
TWO = another("2.0", "b")
PILOT = ("--target", TARGET, "--to", "pilot")
RECORD = f"release/records/{TAG}/quarantine.json"


def publish(repository: GitOpsRepository, ring: str, name: str = "Ada") -> None:
    """Another release, pushed to a ring."""
    TWO.write(publication_path(repository.workspace, TWO.release))
    repository.put(TWO, ring)
    repository.push(f"{ring} gets another", name=name, at=f"{day(33)}T04:05:06Z")


# --- what was there ------------------------------------------------------------------------------


def test_what_a_merged_branch_added_and_took_away_was_there(repository: GitOpsRepository) -> None:
    """The first parents never had it; git leaves such commits out unless it is asked for all."""
    root, path = repository.root, f"release/records/{TWO.release}/publication.json"
    git(root, "checkout", "--quiet", "-b", "aside")
    TWO.write(publication_path(repository.workspace, TWO.release))
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message=Published")
    git(root, "revert", "--no-edit", "HEAD")
    git(root, "checkout", "--quiet", "main")
    assert removed(root, None, "release/records", "publication.json") == []
    git(root, "merge", "--quiet", "--no-ff", "--message=Merged", "aside")
    git(root, "branch", "--quiet", "-D", "aside")
    assert was_ever_there(root, path)
    git(root, "rm", "-r", "--quiet", f"release/records/{TAG}")
    git(root, "commit", "--quiet", "--message=Gone")
    found = removed(root, None, "release/records", "publication.json")
    releases = {Publication.model_validate_json(one).release for one in found}
    assert releases == {TWO.release, TAG}
    assert not was_ever_there(root, path.replace("v2.0", "v9.9"))


def test_without_git_nothing_was_removed(tmp_path: Path) -> None:
    assert removed(tmp_path, None, "release/records", "publication.json") == []


# --- quarantine ----------------------------------------------------------------------------------


def test_a_merge_request_that_is_open_is_named(repository: GitOpsRepository, run: Run) -> None:
    """The branch has no record of its release yet, and merging it asks nobody."""
    two = another("2.0", "b").release
    branch = f"jetrail/release-meter-on-{TARGET}-to-canary-{two}"
    for name in (branch, f"jetrail/quarantine-{two}", f"jetrail/promote-meter-to-pilot-{TAG}"):
        git(repository.root, "push", "--quiet", "origin", f"HEAD:refs/heads/{name}")
    result = run("quarantine", two, "--why", "no boxes")
    assert result.exit_code == 0, result.output
    assert "no boxes" in repository.at(f"release/records/{two}/quarantine.json")
    named = [one for one in result.stdout.splitlines() if "merge request" in one]
    assert named == [f"  close the merge request of {branch}: merging asks no rule"]
    lifted = run("quarantine", two, "--lift", "--why", "a wrong camera")
    assert lifted.exit_code == 0, lifted.output
    assert "merge request" not in lifted.stdout


def test_a_quarantined_release_goes_nowhere(repository: GitOpsRepository, run: Run) -> None:
    result = run("quarantine", TAG, "--why", "no boxes\nat night")
    assert result.exit_code == 0, result.output
    assert "  runs in canary: no other before it; `release write --push` brings one" in (
        result.stdout
    )
    linted = run("lint").stdout
    assert "gets one by `release write --push`, where it is the first ring" in linted
    kept = json.loads(repository.at(RECORD))
    assert (kept["why"], kept["by"]) == ("no boxes at night", "Ada <ada@example.com>")
    assert repository.subjects()[0] == f"Quarantine {TAG}"
    result = run("promote", "meter", *PILOT)
    assert result.exit_code == 3
    assert "Ada <ada@example.com> quarantined the release at" in result.stderr
    assert "no boxes at night" in result.stderr
    # Whoever answers for it can.
    assert run("promote", "meter", *PILOT, "--override", "all", "--why", "x").exit_code == 0
    assert "\nOverride: quarantine\n" in git(repository.bare, "log", "-1", "--format=%B", "main")


def test_a_rollback_is_named_where_a_ring_has_what_to_go_back_to(
    repository: GitOpsRepository, run: Run
) -> None:
    """A command that would be refused is no advice: what lies before may be quarantined too."""
    publish(repository, "canary")
    back = f"`release rollback meter --target {TARGET} --ring canary`"
    assert f"  runs in canary: {back}" in run("quarantine", TWO.release, "--why", "x").stdout
    run("quarantine", TAG, "--why", "no boxes")
    again = run("quarantine", TWO.release, "--why", "x")
    assert "  runs in canary: no other before it; `release write" in again.stdout
    refused = run("rollback", "meter", "--target", TARGET, "--ring", "canary")
    assert refused.exit_code == 2
    assert "Bring another release to it (`release write --push`)" in refused.stderr


def test_what_a_ring_went_back_from_is_named_where_nothing_else_is_left(
    repository: GitOpsRepository, run: Run
) -> None:
    """Whether that is better than what is quarantined, people know."""
    publish(repository, "canary")
    back = ("rollback", "meter", "--target", TARGET, "--ring", "canary")
    run(*back)
    file = repository.root / "release" / "fleet" / "meter" / TARGET / "canary" / "release.yaml"
    kept = file.read_text()
    for content in (kept.replace("1.0", "1.1"), kept):  # never published
        git(repository.root, "pull", "--quiet", "origin", "main")
        file.write_text(content)
        repository.push("By hand")
    run("quarantine", TAG, "--why", "no boxes")
    refused = run(*back)
    assert refused.exit_code == 2
    assert f"give it one that it went back from with --to ({TWO.release}), or" in refused.stderr
    assert run(*back, "--to", TWO.release).exit_code == 0
    run("quarantine", TWO.release, "--why", "no boxes either")
    refused = run(*back)
    assert refused.exit_code == 2
    assert "with --to" not in refused.stderr  # a rollback gives no ring what is quarantined


@pytest.mark.parametrize("content", ["rings: [\n", None])
def test_a_quarantine_asks_no_rings(
    repository: GitOpsRepository, run: Run, content: str | None
) -> None:
    """Whoever broke that file on the branch."""
    kept = repository.workspace.rings_file.read_text()
    if content is None:
        repository.workspace.rings_file.unlink()
    else:
        repository.workspace.rings_file.write_text(content)
    repository.push("Rings")
    repository.workspace.rings_file.write_text(kept)
    result = run("quarantine", TAG, "--why", "no boxes")
    assert result.exit_code == 0, result.output
    assert "no other before it; a promotion brings one" in result.stdout


def test_twice_is_once_and_lifting_ends_it(repository: GitOpsRepository, run: Run) -> None:
    run("quarantine", TAG, "--why", "no boxes")
    first = repository.at(RECORD)
    result = run("quarantine", TAG, "--why", "still none")
    assert "It is so already: nothing to do" in result.stdout
    assert repository.at(RECORD) == first
    assert run("quarantine", TAG, "--lift", "--why", "a wrong camera").exit_code == 0
    assert repository.subjects()[0] == f"Lift the quarantine of {TAG}"
    assert not git(repository.bare, "ls-tree", "main", RECORD)
    assert run("quarantine", TAG, "--lift", "--why", "again").exit_code == 0
    assert run("promote", "meter", *PILOT).exit_code == 0


def test_a_rollback_passes_over_it(repository: GitOpsRepository, run: Run) -> None:
    for one in (PUBLICATION, TWO, another("3.0", "c")):
        one.write(publication_path(repository.workspace, one.release))
        repository.put(one, "pilot")
        repository.push(f"Pilot gets {one.release}")
    run("quarantine", TWO.release, "--why", "no boxes")
    back = ("rollback", "meter", "--target", TARGET, "--ring", "pilot")
    result = run(*back, "--to", TWO.release)
    assert result.exit_code == 2
    assert f"got {TWO.release}: no boxes (said Ada <ada@example.com>)" in result.stderr
    assert run(*back).exit_code == 0
    assert TAG in repository.at(f"release/fleet/meter/{TARGET}/pilot/release.yaml")


def test_write_leaves_it_out(repository: GitOpsRepository, run: Run) -> None:
    record(repository.workspace, PUBLICATION)
    path = repository.root / f"release/fleet/meter/{TARGET}/canary/release.yaml"
    path.unlink()
    run("quarantine", TAG, "--why", "no boxes")
    result = run("write")
    assert result.exit_code == 0
    assert "(no boxes), so canary of meter on x86-openvino stays as it is" in result.stdout
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((TWO.release, "--why", "x"), "the tag of a published release"),
        (("latest", "--why", "x"), "Expected a tag as v<model version>"),
        (("../../x", "--why", "x"), "Expected a tag as v<model version>"),
        ((TAG, "--why", " "), "Expected --why TEXT"),
    ],
)
def test_bad_input(
    repository: GitOpsRepository, run: Run, arguments: tuple[str, ...], said: str
) -> None:
    result = run("quarantine", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert repository.subjects() == ["Start"]


# --- history, status, diff -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "known"),
    [
        (("metre",), "models that .* release/fleet: meter; got 'metre'"),
        (("--target", "x86"), f"targets that .* release/fleet: {TARGET}; got 'x86'"),
        (("--ring", "prod"), "rings that .*: canary, pilot, production; got 'prod'"),
    ],
)
def test_history_of_nothing_that_there_is(run: Run, arguments: tuple[str, ...], known: str) -> None:
    result = run("history", *arguments)
    assert result.exit_code == 2
    assert re.search(known, result.stderr)


def test_history(repository: GitOpsRepository, run: Run) -> None:
    run("promote", "meter", *PILOT, "--why", "soaked")
    publish(repository, "canary", name="Grace")
    lines = run("history").stdout.splitlines()
    # The commit's own time is earlier than that of the one it stands on; that one counts.
    assert lines[0].endswith(f"  meter on {TARGET}: canary")
    assert lines[1:3] == [
        f"  {TAG} -> {TWO.release}",
        f"  {git(repository.bare, 'rev-parse', '--short=12', 'main')} by "
        "Grace <grace@example.com>: canary gets another",
    ]
    assert lines[4:7] == [
        f"  - -> {TAG}",
        f"  {git(repository.bare, 'rev-parse', '--short=12', 'main~')} by "
        f"Ada <ada@example.com>: Promote meter on {TARGET} to pilot: {TAG}",
        "  why: soaked",
    ]
    assert lines[7] == f"{day(0)} 10:00 UTC  meter on {TARGET}: canary"
    none = run("history", "--ring", "production")
    assert (none.exit_code, none.stdout) == (
        0,
        "None: no ring that was asked for has got a release on the branch that Fleet reads\n",
    )
    assert run("history", "--limit", "1").stdout.splitlines() == lines[:3]


def test_what_a_ring_ran_is_told_when_its_model_is_gone(
    repository: GitOpsRepository, run: Run
) -> None:
    git(repository.root, "rm", "-r", "--quiet", "release/fleet/meter")
    git(repository.root, "commit", "--quiet", "-m", "Remove meter", name="Grace")
    git(repository.root, "push", "--quiet", "origin", "main")
    for words in ((), ("meter",)):
        lines = run("history", *words).stdout.splitlines()
        assert lines[0].endswith(f"  meter on {TARGET}: canary")
        assert lines[1] == f"  {TAG} -> -"
        assert lines[2].endswith("by Grace <grace@example.com>: Remove meter")
        assert lines[4] == f"  - -> {TAG}"


ASKED_FOR = f"Promote meter\n\nRelease: {TAG}\nOverride: age\nWhy: the line stands still"


def merge_a_promotion(repository: GitOpsRepository, *, settled: bool = False) -> None:
    """As the button of a merge request does; `settled`: to something else, in the merge itself."""
    git(repository.root, "checkout", "--quiet", "-b", "side")
    repository.put(PUBLICATION, "pilot")
    git(repository.root, "add", "--all")
    git(repository.root, "commit", "--quiet", "-m", ASKED_FOR, at=f"{day(31)}T00:00:00Z")
    git(repository.root, "checkout", "--quiet", "main")
    (repository.root / "dvc.yaml").write_text("stages: {}  # more\n")
    git(repository.root, "commit", "--quiet", "-am", "Meanwhile", at=f"{day(32)}T00:00:00Z")
    git(repository.root, "merge", "--quiet", "--no-ff", "--no-commit", "side")
    if settled:
        repository.put(TWO, "pilot")
    commit = ("commit", "--quiet", "--all", "-m", "Merge it")
    git(repository.root, *commit, name="Grace", at=f"{day(33)}T00:00:00Z")
    git(repository.root, "push", "--quiet", "origin", "main")


def test_a_merged_change_is_the_merge_s_and_says_why(
    repository: GitOpsRepository, run: Run
) -> None:
    merge_a_promotion(repository)
    lines = run("history", "--ring", "pilot").stdout.splitlines()
    assert lines[0].startswith(f"{day(33)} 00:00 UTC")
    assert "Grace <grace@example.com>: Merge it" in lines[2]
    assert lines[3:] == ["  override: age", "  why: the line stands still"]


def test_what_was_settled_in_the_merge_is_not_what_was_asked_for(
    repository: GitOpsRepository, run: Run
) -> None:
    TWO.write(publication_path(repository.workspace, TWO.release))
    merge_a_promotion(repository, settled=True)
    lines = run("history", "--ring", "pilot").stdout.splitlines()
    assert len(lines) == 3
    assert lines[1] == f"  - -> {TWO.release}"


def test_status_says_since_when_and_by_whom(repository: GitOpsRepository, run: Run) -> None:
    record(repository.workspace, PUBLICATION)
    publish(repository, "canary", name="Grace")
    repository.put(PUBLICATION, "canary")
    run("quarantine", TWO.release, "--why", "no boxes")
    lines = run("status").stdout.splitlines()
    at = lines.index(f"  canary     {TWO.release}")
    assert lines[at + 1 : at + 4] == [
        f"             since {day(33)} 04:05 UTC by Grace <grace@example.com>",
        f"             in this clone {TAG}, which origin main does not have",
        "             quarantined by Ada <ada@example.com>: no boxes",
    ]
    assert lines[at + 4] == "  pilot      -"


def test_status_without_a_network(repository: GitOpsRepository, run: Run) -> None:
    record(repository.workspace, PUBLICATION)
    repository.bare.rename(repository.bare.with_name("gone"))
    result = run("status")
    assert result.exit_code == 0
    assert f"  canary     {TAG}" in result.stdout
    assert "Rings are as in this clone; what is pushed is not known: Expected origin main to" in (
        result.stdout
    )


def test_diff(repository: GitOpsRepository, run: Run) -> None:
    repository.put(TWO, "canary")
    assert run("diff").stdout.splitlines() == [
        f"meter on {TARGET}: canary, by a push of this clone",
        f"  {TAG} -> {TWO.release}",
        f"meter on {TARGET}: pilot, by a promotion",
        f"  - -> {TAG}",
    ]
    said = "Expected one of the models that origin main has in release/fleet: meter; got 'other'."
    assert said in run("diff", "other").stderr
    for ring in RINGS:
        repository.put(TWO, ring)
    repository.push("The same everywhere")
    assert run("diff").stdout.startswith("Nothing: ")


def test_diff_says_what_is_quarantined(repository: GitOpsRepository, run: Run) -> None:
    record(repository.workspace, PUBLICATION)
    repository.push("Records")
    run("quarantine", PUBLICATION.release, "--why", "no boxes")
    said = run("diff").stdout.splitlines()
    assert said[said.index(f"  - -> {TAG}") + 1].startswith("  which is quarantined")


def test_a_clone_that_is_behind_would_change_nothing(
    repository: GitOpsRepository, run: Run, tmp_path: Path
) -> None:
    """It said that a push would take the release away that somebody else promoted since."""
    record(repository.workspace, PUBLICATION)
    repository.push("Records")
    other = GitOpsRepository(bare=repository.bare, root=repository.clone(tmp_path / "other").root)
    other.put(TWO, "pilot")
    other.push("pilot gets another")
    (repository.root / "mine").write_text("mine\n")
    git(repository.root, "add", "mine")
    git(repository.root, "commit", "--quiet", "--message=Mine")  # neither behind nor ahead only
    by_push = f"meter on {TARGET}: {{}}, by a push of this clone"
    assert by_push.format("pilot") not in run("diff").stdout
    lines = run("status").stdout.splitlines()
    assert "             in this clone -, as before; `git pull --rebase --autostash`" in lines
    repository.put(TWO, "canary")
    assert by_push.format("canary") in run("diff").stdout.splitlines()
    assert by_push.format("pilot") not in run("diff").stdout
    repository.put(PUBLICATION, "pilot")
    assert by_push.format("pilot") in run("diff").stdout.splitlines()


def test_diff_says_who(repository: GitOpsRepository, run: Run, tmp_path: Path) -> None:
    """By the selectors in fleet.yaml, as Fleet reads them."""
    fleet = repository.root / f"release/fleet/meter/{TARGET}/canary/fleet.yaml"
    fleet.write_text(
        "helm: {chart: oci://h/c, version: 1.0.0, valuesFiles: [release.yaml]}\n"
        "overrideTargets: [{name: a, clusterSelector: {matchLabels: {ring: canary}}}]\n"
    )
    repository.put(TWO, "canary")
    clusters = tmp_path / "clusters.yaml"
    clusters.write_text(
        "clusters:\n  - {name: one, labels: {ring: canary}}\n"
        "  - {name: two, labels: {ring: pilot}}\n  - {name: three, labels: {ring: canary}}\n"
    )
    lines = run("diff", "--clusters", str(clusters)).stdout.splitlines()
    assert lines[2] == "  2 clusters: one, three"
    assert lines[5] == "  0 clusters: none"
    assert run("diff", "--clusters", str(tmp_path / "gone")).exit_code == 2


def test_a_broken_file_of_another_ring(repository: GitOpsRepository, run: Run) -> None:
    """History passes over it, and a quarantine is not held up."""
    path = repository.root / f"release/fleet/meter/{TARGET}/production/release.yaml"
    for text in ("image: [\n", "image: {tag: &a x}\nmodel: *a\n", "image: 1\nimage: 2\n"):
        path.write_text(text)
        repository.push("Broken")
        assert run("quarantine", TAG, "--why", "x").exit_code == 0
        assert run("history", "--ring", "production").exit_code == 0
        result = run("promote", "meter", "--target", TARGET, "--to", "production")
        assert result.exit_code == 2


def test_crlf_is_read(repository: GitOpsRepository, run: Run) -> None:
    path = Path(repository.root / f"release/fleet/meter/{TARGET}/canary/release.yaml")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    repository.push("Windows")
    assert run("promote", "meter", *PILOT).exit_code == 0
