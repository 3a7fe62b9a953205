"""The loop closes: a release that sites cannot run is taken back without anybody."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from factories.fleet_reports import cluster, deployment, write_report
from factories.gitlab import Server
from factories.gitops import GitOpsRepository, git
from typer.testing import Result

from engines.errors import InputError, ServiceError
from release.moves.rollback import NothingBefore
from release.moves.undo import Telling
from release.records import publication_path
from release.steps import watch as step
from tests.unit.release.publications import PUBLICATION, TARGET, another

Run = Callable[..., Result]
Reporter = Callable[..., str]
GOOD, BAD = PUBLICATION, another("2.0", "b")
CANARY = f"jetrail-release-fleet-meter-{TARGET}-canary"
FILE = f"release/fleet/meter/{TARGET}/canary/release.yaml"
RINGS = """\
schema: 1
rings:
  - {name: canary, watch: {clusters: 2, minutes: 10, hours: 24, report_minutes: 15}}
  - {name: pilot}
"""
WATCHED = "watch: {clusters: 2, minutes: 10, hours: 24, report_minutes: 15}"
CRASHING = {"ready": False, "message": "deployment.apps inference/meter [progressing] 0 of 1"}


def ago(minutes: float) -> str:
    at = datetime.now(timezone.utc) - timedelta(minutes=minutes)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.fixture
def bad_since(repository: GitOpsRepository) -> Callable[[float], None]:
    """Canary gets a bad release so many minutes ago; it had a good one before."""

    def push(minutes: float) -> None:
        repository.workspace.rings_file.write_text(RINGS)
        BAD.write(publication_path(repository.workspace, BAD.release))
        repository.put(BAD, "canary")
        repository.push("Canary gets another", at=ago(minutes))

    return push


@pytest.fixture
def reporter(repository: GitOpsRepository, tmp_path: Path) -> Reporter:
    def write(clusters: dict[str, dict[str, Any]], *more: dict[str, Any]) -> str:
        commit = git(repository.bare, "rev-parse", "main")
        rows = [deployment(CANARY, one, commit, **how) for one, how in clusters.items()]
        return write_report(tmp_path / "sites.json", [*rows, *more])

    return write


def watch(*reports: str, more: tuple[str, ...] = ()) -> list[str]:
    given = [word for one in reports for word in ("--report", one)]
    return ["watch", *given, "--once", *more]


def test_a_bad_release_is_taken_back(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    bad_since: Callable[[float], None],
) -> None:
    bad_since(30)
    crashing = CRASHING | {"since": ago(20)}
    path = reporter({"a": crashing, "b": crashing, "c": {}})
    result = run(*watch(path))
    assert result.exit_code == 0, result.output
    assert GOOD.release in repository.at(FILE)
    back, banned = repository.subjects()[:2]
    assert back == f"Roll meter on {TARGET} in canary back to {GOOD.release}"
    assert banned == f"Quarantine {BAD.release}"
    kept = json.loads(repository.at(f"release/records/{BAD.release}/quarantine.json"))
    said = "watch: 2 of 3 clusters of canary are not ready with it for up to 20 min: a, b"
    assert kept["why"] == f"{said} ({CRASHING['message']})"
    assert f"Why: {kept['why']}" in git(repository.bare, "log", "-1", "--format=%B", "main")
    # The sites have not heard of it yet: the same report moves nothing else.
    count = len(repository.subjects())
    assert run(*watch(path)).exit_code == 0
    assert len(repository.subjects()) == count


@pytest.mark.parametrize(
    ("since", "clusters"),
    [
        (30, {"a": CRASHING | {"since": "20"}, "b": {}}),
        (30, {"a": CRASHING | {"since": "20"}, "b": CRASHING | {"since": "5"}}),
        (5, {"a": CRASHING | {"since": "20"}, "b": CRASHING | {"since": "20"}}),
        (25 * 60, {"a": CRASHING | {"since": "20"}, "b": CRASHING | {"since": "20"}}),
        (30, {"a": {"applied": False, "since": "20"}, "b": {"given": False, "since": "20"}}),
        (30, {"a": CRASHING | {"commit": "0" * 40}, "b": CRASHING | {"commit": "0" * 40}}),
    ],
    ids=["one cluster", "not long", "just got it", "a day later", "offline", "another's report"],
)
def test_what_is_no_ground(
    repository: GitOpsRepository,
    run: Run,
    tmp_path: Path,
    bad_since: Callable[[float], None],
    since: float,
    clusters: dict[str, dict[str, Any]],
) -> None:
    bad_since(since)
    commit = git(repository.bare, "rev-parse", "main")
    rows = []
    for name, how in clusters.items():
        how = {"commit": commit} | how
        how |= {"since": ago(float(how["since"]))} if "since" in how else {}
        rows.append(deployment(CANARY, name, **how))
    before = repository.subjects()
    result = run(*watch(write_report(tmp_path / "sites.json", rows)))
    assert result.exit_code == 0, result.output
    assert repository.subjects() == before


def test_an_old_report_is_no_ground(
    repository: GitOpsRepository, run: Run, reporter: Reporter, bad_since: Callable[[float], None]
) -> None:
    bad_since(60)
    path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(50)}))
    at = time.time() - 16 * 60
    os.utime(path, (at, at))
    before = repository.subjects()
    assert "which is no ground for anything" in run(*watch(path)).stdout
    assert repository.subjects() == before


def test_a_crash_loop_whose_message_changes(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    bad_since: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Fleet's time begins anew with each message; watch remembers."""
    bad_since(30)
    before = repository.subjects()
    for minutes in (0, 6, 12):
        path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(0)}))
        memory = repository.root / ".jetrail-watch.json"
        if memory.is_file():  # as if so much time had passed since the look before
            content = json.loads(memory.read_text())
            content["failing"] = {
                key: (datetime.fromisoformat(at.replace("Z", "+00:00"))
                      - timedelta(minutes=6)).isoformat()
                for key, at in content["failing"].items()
            }  # fmt: skip
            memory.write_text(json.dumps(content))
        assert run(*watch(path)).exit_code == 0
        assert (repository.subjects() == before) == (minutes < 12)


def test_health_is_forgetting(
    repository: GitOpsRepository, run: Run, reporter: Reporter, bad_since: Callable[[float], None]
) -> None:
    bad_since(30)
    run(*watch(reporter(dict.fromkeys("ab", CRASHING | {"since": ago(0)}))))
    memory = repository.root / ".jetrail-watch.json"
    assert len(json.loads(memory.read_text())["failing"]) == 2
    run(*watch(reporter({"a": {}, "b": {}})))
    assert json.loads(memory.read_text())["failing"] == {}
    assert git(repository.root, "status", "--porcelain") == ""


def a_day_before(found: re.Match[str]) -> str:
    """As if so much time had passed since the look before."""
    return f"{datetime.strptime(found[0], '%Y-%m-%dT') - timedelta(days=1):%Y-%m-%dT}"


def test_pods_that_tell_another_version(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    bad_since: Callable[[float], None],
    tmp_path: Path,
) -> None:
    bad_since(30)
    sites = [cluster(one, ago(1), site=f"site-{one}") for one in "ab"]
    metrics = tmp_path / "metrics"
    metrics.write_text(
        "".join(
            f'model_version{{site="site-{one}",version="1.0",release="{GOOD.release}"}} 1\n'
            for one in "ab"
        )
    )
    path = reporter({"a": {}, "b": {}}, *sites)
    result = run(*watch(path, str(metrics)))
    assert "another version at site-a, site-b" in result.stdout
    memory = repository.root / ".jetrail-watch.json"
    memory.write_text(re.sub(r"\b\d{4}-\d\d-\d\dT", a_day_before, memory.read_text()))
    run(*watch(path, str(metrics)))
    assert GOOD.release in repository.at(FILE)
    kept = json.loads(repository.at(f"release/records/{BAD.release}/quarantine.json"))
    assert kept["why"].startswith("watch: 2 of 2 clusters of canary tell another version for up to")


def test_pods_without_fleet_s_word(run: Run, tmp_path: Path) -> None:
    """Of them nothing would ever be found, and nobody would know."""
    (tmp_path / "metrics").write_text(f'model_version{{site="a",release="{BAD.release}"}} 1\n')
    result = run("watch", "--once", "--report", str(tmp_path / "metrics"))
    assert result.exit_code == 2
    assert "Expected Fleet's word in a report, got only that of pods" in result.stderr
    # A Prometheus that has heard of no pod, and kubectl without -A: nothing failed in them.
    (tmp_path / "metrics").write_text(
        '{"status": "success", "data": {"resultType": "vector", "result": []}}'
    )
    (tmp_path / "kubectl").write_text('{"kind": "List", "apiVersion": "v1", "items": []}')
    for name in ("metrics", "kubectl"):
        result = run("watch", "--once", "--report", str(tmp_path / name))
        assert result.exit_code == 2, name
        assert "got no word at all" in result.stderr


def test_nothing_before_it(repository: GitOpsRepository, run: Run, reporter: Reporter) -> None:
    """The first release of all: it is quarantined, and nobody can roll it back."""
    repository.workspace.rings_file.write_text(RINGS.replace("hours: 24", "hours: 100000"))
    repository.push("Rules")
    result = run(*watch(reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))))
    assert result.exit_code == 2, result.output
    assert f"canary ({GOOD.release}) had nothing to go back to and runs it still" in result.stderr
    assert repository.subjects()[0] == f"Quarantine {GOOD.release}"
    assert "It could not be rolled back. Expected a release that canary of" in result.stdout


def test_people_hear_which_other_rings_run_it(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    bad_since: Callable[[float], None],
    gitlab: Server,
) -> None:
    """They are rolled back where they are judged too, and else by people."""
    repository.put(BAD, "pilot")
    bad_since(30)
    path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))
    run(*watch(path, more=("--webhook", gitlab.address)))
    ((_, chat),) = gitlab.posted
    assert f"Quarantined {BAD.release}. It runs in pilot of meter on {TARGET} too." in chat["text"]


@pytest.mark.parametrize("by_hand", [False, True])
def test_people_hear_once_that_a_ring_has_nothing_to_go_back_to(
    repository: GitOpsRepository, run: Run, reporter: Reporter, gitlab: Server, by_hand: bool
) -> None:
    """Also where somebody, or the look at another ring, had quarantined the release already."""
    repository.workspace.rings_file.write_text(RINGS.replace("hours: 24", "hours: 100000"))
    repository.push("Rules")
    if by_hand:
        run("quarantine", GOOD.release, "--why", "no boxes")
    crashing = dict.fromkeys("ab", CRASHING | {"since": ago(20)})
    more = ("--webhook", gitlab.address, "--gitlab-issue")
    gitlab.status = 500
    assert run(*watch(reporter(crashing), more=more)).exit_code == 6
    gitlab.status = 201
    for minutes_old in (0, 16, 0):  # a report of before is no sign of health
        path = reporter(crashing)
        at = time.time() - 60 * minutes_old
        os.utime(path, (at, at))
        assert run(*watch(path, more=more)).exit_code == (0 if minutes_old else 2)
    (_, chat), (_, issue) = gitlab.posted
    title = f"{GOOD.release} does harm in canary, and is there still"
    assert chat["text"].startswith(f"{title}. 2 of 2 clusters")
    assert issue["title"] == title
    assert "Bring another release to it (`release write --push`)" in issue["description"]
    # Whoever lifts the quarantine hears of the next one.
    assert run("quarantine", GOOD.release, "--lift", "--why", "it is all we have").exit_code == 0
    run(*watch(reporter(crashing), more=more))
    assert f"Quarantined {GOOD.release}. It could not" in gitlab.posted.pop()[1]["description"]
    gitlab.posted.pop()
    # Ready in between, so it begins anew.
    run(*watch(reporter({"a": {}, "b": {}}), more=more))
    run(*watch(reporter(crashing), more=more))
    assert len(gitlab.posted) == 4


def test_killed_between_the_two(
    repository: GitOpsRepository, run: Run, reporter: Reporter, bad_since: Callable[[float], None]
) -> None:
    bad_since(30)
    run("quarantine", BAD.release, "--why", "by hand, or before a kill")
    run(*watch(reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))))
    assert GOOD.release in repository.at(FILE)


def test_dry_run(
    repository: GitOpsRepository, run: Run, reporter: Reporter, bad_since: Callable[[float], None]
) -> None:
    bad_since(30)
    path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))
    before = repository.subjects()
    result = run(*watch(path, more=("--dry-run",)))
    assert f"Would quarantine {BAD.release} and roll back: 2 of 2 clusters" in result.stdout
    assert repository.subjects() == before


# --- telling -------------------------------------------------------------------------------------


def test_a_chat_and_an_issue_are_told(
    run: Run, reporter: Reporter, bad_since: Callable[[float], None], gitlab: Server
) -> None:
    bad_since(30)
    path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))
    result = run(*watch(path, more=("--webhook", gitlab.address, "--gitlab-issue")))
    assert result.exit_code == 0, result.output
    (_, chat), (where, issue) = gitlab.posted
    assert chat["text"].startswith(f"{BAD.release} was taken out of canary. 2 of 2 clusters")
    assert chat["text"].endswith(f"Quarantined {BAD.release}. Rolled canary of meter on {TARGET} "
                                 f"back to {GOOD.release}.")  # fmt: skip
    assert where == "/api/v4/projects/vision%2Ffleet/issues"
    assert issue["title"] == f"{BAD.release} was taken out of canary"
    # Told once.
    run(*watch(path, more=("--webhook", gitlab.address, "--gitlab-issue")))
    assert len(gitlab.posted) == 2


@pytest.mark.parametrize("stuck", [False, True])
def test_where_a_look_could_do_nothing_people_hear_of_nothing_done(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    gitlab: Server,
    bad_since: Callable[[float], None],
    monkeypatch: pytest.MonkeyPatch,
    stuck: bool,
) -> None:
    """They heard that the release "was taken out of canary", which has it still."""
    bad_since(30)
    more = ("--webhook", gitlab.address)
    path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))
    if stuck:
        run("quarantine", GOOD.release, "--why", "no boxes")
        assert run(*watch(path, more=more)).exit_code == 2
        (_, chat), *_ = gitlab.posted
        assert chat["text"].startswith(f"{BAD.release} does harm in canary, and is there still")
    told = len(gitlab.posted)

    def refused(*_: object) -> None:
        raise ServiceError("Expected the branch to take the commit, but it did not.")

    with monkeypatch.context() as patch:
        patch.setattr("release.steps.watch.undo", refused)
        assert run(*watch(path, more=more)).exit_code == 6
    # The next look finds it as it was, or ready by itself.
    after = path if stuck else reporter({"a": {}, "b": {}})
    assert run(*watch(after, more=more)).exit_code == (2 if stuck else 0)
    assert BAD.release in repository.at(FILE)
    assert len(gitlab.posted) == told


def test_nobody_hears(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    bad_since: Callable[[float], None],
    gitlab: Server,
) -> None:
    """The ring is rolled back all the same, and the command says so and ends with 6."""
    gitlab.status = 500
    bad_since(30)
    path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))
    result = run(*watch(path, more=("--webhook", gitlab.address, "--gitlab-issue")))
    assert result.exit_code == 6
    assert "was done, but nobody else was told: the webhook did not take it" in result.stderr
    assert "glpat-secret" not in result.output
    assert gitlab.address not in result.stderr
    assert GOOD.release in repository.at(FILE)
    # The next look tries again, although it finds nothing to do; who was told hears it once.
    gitlab.status = 201
    again = run(*watch(path, more=("--webhook", gitlab.address, "--gitlab-issue")))
    assert again.exit_code == 0, again.output
    (_, chat), (_, issue) = gitlab.posted
    assert "Rolled canary of meter" in chat["text"]
    assert "Rolled canary of meter" in issue["description"]
    assert run(*watch(path, more=("--webhook", gitlab.address))).exit_code == 0
    assert len(gitlab.posted) == 2


def test_killed_before_anybody_was_told(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    bad_since: Callable[[float], None],
    gitlab: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad_since(30)
    path = reporter(dict.fromkeys("ab", CRASHING | {"since": ago(20)}))
    with monkeypatch.context() as killed:
        killed.setattr("release.steps.watch._tell", lambda *_: (_ for _ in ()).throw(SystemExit(9)))
        run(*watch(path, more=("--webhook", gitlab.address)))
    assert GOOD.release in repository.at(FILE)
    assert gitlab.posted == []
    run(*watch(path, more=("--webhook", gitlab.address)))
    ((_, chat),) = gitlab.posted
    assert chat["text"].startswith(f"{BAD.release} was taken out of canary. 2 of 2 clusters")


def test_a_report_that_is_not_there_at_the_first_look_ends_it(
    repository: GitOpsRepository, run: Run
) -> None:
    result = run("watch", "--report", "gone.json", "--interval", "3600")
    assert result.exit_code == 2
    assert "Expected a report in gone.json" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        (
            [None, InputError("half a report"), ServiceError("nobody answers")],
            ["error: half a report", "error: nobody answers"],
        ),
        # One that is down at the first look may come back.
        ([ServiceError("nobody answers"), None], ["error: nobody answers"]),
        # Nor is a ring that keeps what it has something that was typed wrong.
        ([NothingBefore("nothing before it"), None], ["error: nothing before it"]),
    ],
)
def test_what_fails_at_a_look_is_said_and_no_reason_to_stop(
    repository: GitOpsRepository,
    monkeypatch: pytest.MonkeyPatch,
    looks: list[Exception | None],
    expected: list[str],
) -> None:
    left = iter(looks)
    said: list[str] = []

    def look(*_: Any, **__: Any) -> None:
        if error := next(left):
            raise error

    monkeypatch.setattr(step, "watch", look)
    monkeypatch.setattr(step.time, "sleep", lambda seconds: None)
    with pytest.raises(StopIteration):
        step.watch_on(repository.workspace, [], Telling(), seconds=60, say=said.append)
    assert said == expected


def test_one_ring_that_cannot_be_moved_keeps_no_other(
    repository: GitOpsRepository,
    run: Run,
    reporter: Reporter,
    bad_since: Callable[[float], None],
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What failed is done at the next look, and told only then."""
    bad_since(30)
    repository.workspace.rings_file.write_text(RINGS.replace("pilot}", f"pilot, {WATCHED}}}"))
    worse = another("3.0", "c")
    worse.write(publication_path(repository.workspace, worse.release))
    repository.put(GOOD, "pilot")
    repository.push("Pilot gets the good one", at=ago(40))
    repository.put(worse, "pilot")
    repository.push("Pilot gets a worse one", at=ago(29))
    crashing = CRASHING | {"since": ago(20)}
    commit = git(repository.bare, "rev-parse", "main")
    pilot = [deployment(CANARY.replace("canary", "pilot"), one, commit, **crashing) for one in "de"]
    words = watch(reporter({"a": crashing, "b": crashing}, *pilot))
    real = step.undo

    def undo(workspace: Any, trouble: Any, now: datetime, say: Any) -> str:
        if trouble.place.ring == "canary":
            raise ServiceError("The line broke.")
        return real(workspace, trouble, now, say)

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(step, "undo", undo)
        result = run(*words, "--webhook", server.address)
    assert result.exit_code == 6
    assert result.stderr == "error: The line broke.\n"
    assert GOOD.release in repository.at(FILE.replace("canary", "pilot"))
    assert BAD.release in repository.at(FILE)
    assert len(server.posted) == 1
    assert run(*words, "--webhook", server.address).exit_code == 0
    assert GOOD.release in repository.at(FILE)
    assert [message["text"].split()[0] for _, message in server.posted] == [
        worse.release,
        BAD.release,
    ]
