"""Files of the branch that people edited by hand: release.yaml, which is the machine's, and
rings.yaml."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import pytest
from factories.gitops import GitOpsRepository, git
from typer.testing import Result

from release.moves.aliases import Answer
from release.moves.place import Place
from release.packed import image_path
from release.records import publication_path
from release.rollout.release_yaml import dump, values_of
from tests.unit.release.publications import IMAGE, PUBLICATION, TARGET, another, record

Run = Callable[..., Result]
PILOT = f"release/fleet/meter/{TARGET}/pilot/release.yaml"
BACK = ("rollback", "meter", "--target", TARGET, "--ring", "pilot")
ONE, TWO, THREE = PUBLICATION, another("2.0", "b"), another("3.0", "c")
OTHERS = another("3.0", "c").model_copy(update={"model": "counter", "engine": "counter-fp16"})
BROKEN = another("4.0", "d").model_copy(update={"engine": "meter-int8"})


@pytest.fixture
def pilot(repository: GitOpsRepository) -> Callable[[str], None]:
    """Pilot had ONE and has TWO; pushes what it is called with as its release.yaml."""
    record(repository.workspace, ONE)
    for release in (ONE, TWO):
        release.write(publication_path(repository.workspace, release.release))
        repository.put(release, "pilot")
        repository.push(f"Pilot gets {release.release}")

    def push(text: str) -> None:
        (repository.root / PILOT).write_text(text)
        repository.push("By hand")

    return push


@pytest.fixture
def aliases(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], dict[str, object]]:
    """What MLflow's aliases are looked at (`ask`) or put right (`point`) for, by ring."""
    wanted: dict[str, dict[Place, object]] = {}

    def noting(name: str) -> Callable[..., Answer]:
        def note(_: object, found: dict[Place, object], *__: object) -> Answer:
            wanted[name] = found
            return Answer((), {})

        return note

    for name in ("ask", "point"):
        monkeypatch.setattr(f"release.steps.status.{name}", noting(name))
    return lambda name: {place.ring: one for place, one in wanted[name].items()}


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text + "# held by Bob until Monday\n",
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("engine.blob", "engine.plan"),
    ],
    ids=["comment", "line ends", "path"],
)
def test_an_edit_is_no_step_back(
    repository: GitOpsRepository,
    run: Run,
    pilot: Callable[[str], None],
    edit: Callable[[str], str],
) -> None:
    """It counted as one, so that the rollback said that there is nothing to do, with exit 0."""
    pilot(edit(dump(values_of(TWO))))
    result = run(*BACK)
    assert result.exit_code == 0, result.output
    assert (ONE.release in repository.at(PILOT)) == ("engine.plan" not in edit("engine.blob"))
    assert "nothing to do" not in result.stdout


def test_a_tag_that_nobody_published_is_nothing_to_go_back_to(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """It was typed, and another release came since: a rollback brought it back, and no pod runs."""
    typed = dump(values_of(TWO)).replace("2.0", "2.1")
    pilot(typed)
    record(repository.workspace, THREE)
    pilot(dump(values_of(THREE)))
    result = run(*BACK)
    assert result.exit_code == 0, result.output
    assert TWO.release in repository.at(PILOT)
    # Nor does a ring that was brought back to it stay there.
    git(repository.root, "pull", "--quiet", "origin", "main")
    for text in (typed, dump(values_of(THREE)), typed):
        pilot(text)
    result = run(*BACK)
    assert TWO.release in repository.at(PILOT), result.output


def test_where_no_record_tells_every_tag_counts(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """As in a repository whose records somebody took away: a second person at the same hour took a
    second step back, which a ring takes with --to alone."""
    for one in (ONE, TWO, THREE):
        record(repository.workspace, one)
    for one in (THREE, TWO):
        pilot(dump(values_of(one)))
    for path in repository.workspace.records.glob("v*/publication.json"):
        path.unlink()
    repository.push("Without records")
    result = run(*BACK)
    assert result.exit_code == 0, result.output
    assert "nothing to do" in result.stdout
    assert TWO.release in repository.at(PILOT)


def test_where_there_is_nothing_but_what_nobody_published(
    repository: GitOpsRepository, run: Run
) -> None:
    """It got that, and the rollback said that all is done."""
    (repository.root / PILOT).write_text(dump(values_of(TWO)).replace("2.0", "2.1"))
    repository.push("By hand")
    record(repository.workspace, THREE)
    repository.put(THREE, "pilot")
    repository.push("Pilot gets another")
    result = run(*BACK)
    assert result.exit_code == 2, result.output
    assert "none but what is quarantined, or of which no record tells (v2.1" in result.stderr
    assert THREE.release in repository.at(PILOT)


@pytest.mark.parametrize("where", ["branch", "clone"])
def test_a_record_tells_wherever_it_is(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None], where: str
) -> None:
    """A clone may be behind, and a repository of Fleet's own be younger than its releases."""
    record(repository.workspace, THREE)
    pilot(dump(values_of(THREE)))
    of_two = publication_path(repository.workspace, TWO.release)
    of_two.unlink()
    if where == "clone":
        repository.push("Without it")
        TWO.write(of_two)
    result = run(*BACK)
    assert result.exit_code == 0, result.output
    assert TWO.release in repository.at(PILOT)


def test_a_file_that_nobody_can_read(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """A rollback brings back what the ring had before it; status shows all the others."""
    pilot("<<<<<<< HEAD\nimage: {tag: [\n")
    result = run("status")
    assert result.exit_code == 2, result.output
    assert f"but that of pilot of meter on {TARGET} is not" in result.stderr
    assert "holds both sides of a merge that git could not finish" in result.stdout
    assert ONE.release in result.stdout
    assert f"Or `release {' '.join(BACK)}` brings back" in result.stdout
    assert run(*BACK).exit_code == 0
    assert TWO.release in repository.at(PILOT)


def test_a_file_that_nobody_can_read_gives_no_quarantined_release_back(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    assert run("quarantine", TWO.release, "--why", "no boxes").exit_code == 0
    pilot("image: {tag: [\n")
    assert run(*BACK).exit_code == 0
    assert ONE.release in repository.at(PILOT)


def test_the_alias_of_a_file_that_nobody_can_read_stays(
    run: Run, pilot: Callable[[str], None], aliases: Callable[[str], dict[str, object]]
) -> None:
    pilot("image: {tag: [\n")
    assert f"The alias pilot of meter on {TARGET} stays: " in run("status", "--repair").stdout
    for name in ("point", "ask"):
        assert aliases(name).keys() == {"candidate", "canary", "production"}


def test_the_alias_of_a_ring_that_has_another_name_goes(
    repository: GitOpsRepository,
    run: Run,
    pilot: Callable[[str], None],
    aliases: Callable[[str], dict[str, object]],
) -> None:
    rings = repository.workspace.rings_file
    rings.write_text(rings.read_text().replace("pilot", "stage"))
    folder = repository.workspace.ring("meter", TARGET, "pilot")
    git(repository.root, "mv", str(folder), str(folder.with_name("stage")))
    repository.push("pilot is called stage")
    run("status", "--repair")
    told = aliases("point")
    assert (told["pilot"], told["stage"]) == ("", TWO.release)
    told = aliases("ask")
    assert (told["pilot"], told["stage"]) == ("", TWO.release)


def test_write_puts_a_file_right_that_nobody_can_read(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    canary = PILOT.replace("pilot", "canary")
    before = repository.at(canary)
    (repository.root / canary).write_text("image: {tag: [\n")
    repository.push("By hand")
    assert run("write", "--push").exit_code == 0
    assert repository.at(canary) == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (dump(values_of(another("9.9", "9"))), "no record says that it was published"),
        (dump(values_of(ONE, f"sha256:{'e' * 64}")), f"its image is {IMAGE.digest} by its record"),
        (
            dump(values_of(TWO)).replace("engine.blob", "engine.plan"),
            "somebody edited what release.yaml says of it",
        ),
        (dump(values_of(OTHERS)), f"it is of counter on {TARGET}"),
        (dump(values_of(BROKEN)), "its record does not add up, and `release lint` says how"),
    ],
)
def test_status_says_what_no_command_wrote(
    repository: GitOpsRepository,
    run: Run,
    pilot: Callable[[str], None],
    text: str,
    said: str,
) -> None:
    IMAGE.write(image_path(repository.workspace, ONE.release))
    for one in (OTHERS, BROKEN):
        one.write(publication_path(repository.workspace, one.release))
    repository.push("Packed")
    pilot(text)
    command = f"release {' '.join(BACK)}"
    assert f"{said}; `{command}` brings back what the ring had before" in run("status").stdout
    assert run(*BACK).exit_code == 0
    assert repository.at(PILOT) == dump(values_of(TWO)).rstrip()
    assert said not in run("status").stdout


def test_status_knows_what_the_branch_knows(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """A clone that is behind did not show a quarantine."""
    head = git(repository.root, "rev-parse", "HEAD")
    assert run("quarantine", TWO.release, "--why", "no boxes").exit_code == 0
    git(repository.root, "reset", "--quiet", "--hard", head)
    assert "quarantined by Ada <ada@example.com>: no boxes" in run("status").stdout


def test_status_says_that_the_candidate_is_quarantined(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """Once no ring ran it any more, it looked like the release that comes next."""
    said = "quarantined by Ada <ada@example.com>: no boxes"
    assert said not in run("status").stdout
    assert run("quarantine", ONE.release, "--why", "no boxes").exit_code == 0
    # Pilot has another.
    assert f"  candidate  {ONE.release}\n             {said}\n" in run("status").stdout


def test_a_ring_that_was_renamed_in_rings_yaml_alone(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """Its clusters keep their label, so they run what its folder says; nobody saw that."""
    rings = repository.workspace.rings_file
    rings.write_text(rings.read_text().replace("pilot", "stage"))
    repository.push("pilot is called stage")
    shown = run("status").stdout
    assert TWO.release in shown
    assert "release/rings.yaml does not name this ring" in shown
    assert run(*BACK).exit_code == 0
    assert ONE.release in repository.at(PILOT)
    result = run("promote", "meter", "--target", TARGET, "--to", "stage")
    assert "copy the folder of another ring" in result.stderr
    run("quarantine", ONE.release, "--why", "no boxes")
    assert "name it in release/rings.yaml, then `release promote`" in run(*BACK).stderr


def test_a_new_ring_never_had_what_fleet_would_uninstall(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    rings = repository.workspace.rings_file
    rings.write_text(f"{rings.read_text()}  - name: night\n")
    repository.push("Another ring")
    shown = run("status").stdout
    assert "its folder is not on origin main: Fleet brings it nothing; `release promote`" in shown
    assert "uninstalls" not in shown


@pytest.mark.parametrize("words", [BACK, ("promote", *BACK[1:4], "--to", "pilot")])
def test_a_ring_whose_folder_somebody_took_away(
    repository: GitOpsRepository,
    run: Run,
    pilot: Callable[[str], None],
    words: tuple[str, ...],
) -> None:
    """It told to lay out a new one, while Fleet uninstalled what the clusters had."""
    folder = PILOT.rpartition("/")[0]
    git(repository.root, "rm", "-r", "--quiet", folder)
    repository.push("Tidied", name="Grace")
    git(repository.root, "commit", "--quiet", "--allow-empty", "--message=Later")
    gone = "its folder is not on origin main: Fleet brings it nothing, and uninstalls what it had"
    assert run("status").stdout.count(gone) == 1
    result = run(*words)
    assert result.exit_code == 2
    assert "Grace <grace@example.com> took it away, and Fleet uninstalls" in result.stderr
    found = re.search(r"`git (checkout [0-9a-f]{12}\^ -- \S+)`, commit and", result.stderr)
    assert found
    git(repository.root, *found[1].split())
    repository.push("Back")
    assert gone not in run("status").stdout
    assert TWO.release in repository.at(PILOT)
    assert run(*BACK).exit_code == 0
    assert ONE.release in repository.at(PILOT)


def test_a_model_that_nobody_pushed_yet_lost_no_folder(
    repository: GitOpsRepository, run: Run
) -> None:
    fleet = repository.workspace.fleet
    shutil.copytree(fleet / "meter", fleet / "counter")
    said = run("status").stdout
    assert f"counter on {TARGET}" in said
    assert "its folder is not on" not in said


def test_a_release_without_a_record(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """It named the file in a temporary folder."""
    pilot(dump(values_of(another("9.9", "9"))))
    result = run("promote", "meter", "--target", TARGET, "--to", "production")
    assert result.exit_code == 2
    name = another("9.9", "9").release
    assert f"Expected release/records/{name}/publication.json on origin main" in result.stderr
    assert f"`release {' '.join(BACK)}`" in result.stderr


def test_a_ring_that_somebody_emptied_is_told_what_it_had(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None]
) -> None:
    """What it had last may be why it was emptied: without a word it got the one before that."""
    git(repository.root, "rm", "--quiet", PILOT)
    repository.push("Nothing in pilot")
    result = run(*BACK)
    assert result.exit_code == 2, result.output
    assert f"of what it had, the latest first: {TWO.release}, {ONE.release}." in result.stderr
    assert run(*BACK, "--to", TWO.release).exit_code == 0
    assert TWO.release in repository.at(PILOT)


def test_a_branch_without_rings_has_no_rules_of_a_clone(
    repository: GitOpsRepository, run: Run
) -> None:
    """Whoever has a clone would write their own."""
    path = repository.workspace.rings_file
    rings = path.read_text()
    git(repository.root, "rm", "--quiet", "release/rings.yaml")
    repository.push("No rings")
    path.write_text(rings)
    result = run("promote", "meter", "--target", TARGET, "--to", "pilot")
    assert result.exit_code == 2, result.output
    assert "Expected release/rings.yaml on origin main, whose rules count" in result.stderr


@pytest.mark.parametrize("before", [None, f"sha256:{'e' * 64}"], ids=["not packed", "packed anew"])
def test_an_image_that_was_packed_later_is_no_step(
    repository: GitOpsRepository, run: Run, pilot: Callable[[str], None], before: str | None
) -> None:
    """A rollback gave the release that it should take back, by a tag that no registry has."""
    image = IMAGE.model_copy(update={"release": TWO.release})
    image.write(image_path(repository.workspace, TWO.release))
    pilot(dump(values_of(TWO, before)))
    pilot(dump(values_of(TWO, image.digest)))
    assert run(*BACK).exit_code == 0
    assert repository.at(PILOT) == dump(values_of(ONE)).rstrip()
    assert "nothing to do" in run(*BACK).stdout
