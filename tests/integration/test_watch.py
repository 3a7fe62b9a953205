"""The loop closes: a bad image in a real pod, what is seen of it, and the release taken back.

Git says what runs, podman runs it as the chart renders it, and what Fleet would say of the pod is
made out of the pod's real state: a stand-in for `kubectl get bundledeployments -o json`, since no
cluster is here. `release watch` then decides as at a site.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pytest
from factories.fleet_reports import deployment, write_report
from factories.gitlab import Handler, Server
from factories.gitops import GitOpsRepository, environment, git, make_repository
from factories.pods import PATIENCE_S, Played, Pods
from factories.signed import Signer
from ruamel.yaml import YAML
from typer.testing import CliRunner

from release.cli import commands
from release.records import Publication, publication_path
from release.rollout.release_yaml import dump, values_of
from tests.integration.test_pod import BAD as SPOILED
from tests.unit.release.publications import PUBLICATION, TARGET, another

pytestmark = pytest.mark.integration

GOOD, BAD = PUBLICATION, another("1.0", "b")
FILE = f"release/fleet/meter/{TARGET}/canary/release.yaml"
BUNDLE = f"jetrail-release-fleet-meter-{TARGET}-canary"
RINGS = """\
schema: 1
rings: [{name: canary, watch: {clusters: 1, minutes: 0.02, hours: 1, report_minutes: 15}}]
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> GitOpsRepository:
    for key, value in environment().items():
        if key.startswith("GIT_"):
            monkeypatch.setenv(key, value)
    for key in ("MLFLOW_TRACKING_URI", "GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL"):
        monkeypatch.delenv(key, raising=False)
    made = make_repository(tmp_path, [GOOD], rings=RINGS)
    BAD.write(publication_path(made.workspace, BAD.release))
    return made


@pytest.fixture
def chat() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.posted = []
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def promote(repository: GitOpsRepository, one: Publication, image: str) -> None:
    """The ring gets this image, by its digest."""
    values = dump(values_of(one, image.rpartition("@")[2]))
    (repository.root / FILE).write_text(values)
    repository.push(f"Canary gets {one.release}")


def sync(play: Pods, repository: GitOpsRepository, name: str) -> Played:
    """What Fleet does: the pod that git asks for."""
    values = YAML(typ="safe").load(repository.at(FILE))
    return play.play(
        name,
        f"{play.repository('watch')}:{values['image']['tag']}",
        **{key: str(one) for key, one in values["model"].items()},
    )


def report_of(pod: Played, commit: str, path: Path) -> str:
    """What Fleet's agent would say of the site now, out of the pod's state."""
    state = pod.inspect("{{json .State}}")
    how = {"ready": pod.healthy, "since": state["StartedAt"][:19] + "Z"}
    if not how["ready"]:
        how["message"] = pod.said().strip().splitlines()[-1]
    return write_report(path, [deployment(BUNDLE, "dock-7", commit, **how)])


def watch(repository: GitOpsRepository, report: str, chat: Server) -> str:
    words = ["watch", "--report", report, "--once", "--webhook", chat.address]
    with pytest.MonkeyPatch.context() as there:
        there.chdir(repository.root)
        result = CliRunner().invoke(commands, words)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_bad_image_is_taken_back(
    play: Pods,
    models: Path,
    signer: Signer,
    repository: GitOpsRepository,
    chat: Server,
    tmp_path: Path,
) -> None:
    """It is signed, it loads, and it finds other boxes than when it was judged."""
    report = tmp_path / "sites.json"
    promote(repository, GOOD, play.image("watch", models, GOOD.release))
    old = sync(play, repository, "watch-old")
    old.wait_until_healthy()
    before = repository.at(FILE)
    commit = git(repository.bare, "rev-parse", "main")
    assert "1 of 1 clusters ready with it" in watch(
        repository, report_of(old, commit, report), chat
    )

    spoil, said = SPOILED["otherboxes"]
    folder = Path(shutil.copytree(models, tmp_path / "bad"))
    spoil(folder, signer)
    promote(repository, BAD, play.image("watch", folder, BAD.release))
    commit, count = git(repository.bare, "rev-parse", "main"), len(repository.subjects())
    new = sync(play, repository, "watch-new")
    new.wait_until_it_said(said)
    # It crashes and starts again, and Fleet's time with it: watch remembers since when.
    end = time.monotonic() + PATIENCE_S
    while "Quarantined" not in (told := watch(repository, report_of(new, commit, report), chat)):
        assert time.monotonic() < end, told
        time.sleep(0.2)
    assert f"Quarantined {BAD.release}." in told
    # The very bytes, so the very image: it runs still, and nothing has to be started.
    assert repository.at(FILE) == before
    assert old.healthy
    assert len(repository.subjects()) == count + 2
    kept = json.loads(repository.at(f"release/records/{BAD.release}/quarantine.json"))
    assert "1 of 1 clusters of canary are not ready with it" in kept["why"]
    assert said in kept["why"]
    ((_, message),) = chat.posted
    assert message["text"].startswith(f"{BAD.release} was taken out of canary.")
    # And what git asks for now starts, at a site that never had it too.
    sync(play, repository, "watch-again").wait_until_healthy()
