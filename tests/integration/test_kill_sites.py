"""kill -9 in the middle of `sites import`, `bundle` and `watch`, and a full disk: nothing is half
there, and the next run does the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from factories import paper
from factories.airgapped import lay_out_site
from factories.fleet_reports import deployment, write_report
from factories.gitops import day, environment, git, make_repository
from factories.killed import Killed

from engines.config.workspace import Workspace
from engines.files import TEMPORARY_PREFIX, YOUNG_SECONDS
from release.moves.undo import Telling
from release.records import publication_path
from release.sites.folder import read_site, site_names
from release.steps import bundle, sites
from release.steps.watch import watch
from tests.integration.test_moves import killed_at
from tests.unit.release.publications import PUBLICATION, TARGET, another

pytestmark = pytest.mark.integration

SITES = 20


def say(_: str) -> None:
    pass


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    workspace = Workspace(root=tmp_path / "clone")
    paper.lay_out(workspace)
    workspace.ring("meter", TARGET, "canary").mkdir(parents=True)
    workspace.rings_file.write_text("schema: 1\nrings: [{name: canary}]\n")
    monkeypatch.chdir(workspace.root)
    return workspace


def left_over(folder: Path) -> list[str]:
    """Temporary folders; once they are old they go with the next command that writes there."""
    found = [one for one in folder.glob(f"{TEMPORARY_PREFIX}*") if one.is_dir()]
    for one in found:
        os.utime(one, (one.stat().st_atime, one.stat().st_mtime - YOUNG_SECONDS - 1))
    return [one.name for one in found]


def killed(work: Callable[[], object], moment: int) -> bool:
    status = Killed(work, at_moment=moment).wait()
    assert status in (0, -signal.SIGKILL)
    return status != 0


def test_import(workspace: Workspace) -> None:
    table = workspace.root / "inventory.csv"
    rows = (f"dock-{one},{TARGET},canary,g=rtsp://h/1\n" for one in range(SITES))
    table.write_text("site,target,ring,cameras\n" + "".join(rows))
    folder = workspace.fleet / "sites"

    def dying(moment: int) -> None:
        """Right before a folder of that number gets its name."""
        real, calls = Path.rename, 0

        def rename(self: Path, target: Path) -> Path:
            nonlocal calls
            calls += 1
            if calls == moment:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(self, target)

        Path.rename = rename  # type: ignore[assignment, method-assign]
        sites.import_sites(workspace, table, say)

    for moment in range(1, 7):
        assert Killed(partial(dying, moment)).wait() == -signal.SIGKILL
        assert len(site_names(workspace)) == sum(range(moment))
        assert sites.sites(workspace).problems == ()
        assert left_over(folder)
    sites.import_sites(workspace, table, say)
    assert sorted(one.name for one in folder.iterdir()) == site_names(workspace)
    assert len(site_names(workspace)) == SITES
    assert all(read_site(workspace, one).site == one for one in site_names(workspace))


def test_bundle(workspace: Workspace, tmp_path: Path) -> None:
    """A stick is taken to the site as it is: the file is whole, or the one before, or none."""
    lay_out_site(workspace, engine=bytes(1 << 20))
    out = tmp_path / "stick" / "dock-7.tar"
    out.parent.mkdir()
    moment = 1
    while killed(lambda: bundle.bundle(workspace, "dock-7", out, None, say), moment):
        if out.exists():
            assert bundle.verify(workspace, out).name == "plant"
        moment += 1
        left_over(out.parent)
    assert bundle.verify(workspace, out).name == "plant"
    bundle.bundle(workspace, "dock-7", out, None, say)
    assert [one.name for one in out.parent.iterdir()] == ["dock-7.tar"]
    assert moment > 2


def test_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed after each call of git: at last it is quarantined and the ring is back, once."""
    for key, value in environment().items():
        if key.startswith("GIT_"):
            monkeypatch.setenv(key, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    bad = another("2.0", "b")
    rings = "schema: 1\nrings: [{name: canary, watch: {clusters: 1, minutes: 1, hours: 100000}}]\n"
    repository = make_repository(tmp_path, [PUBLICATION], rings=rings)
    bad.write(publication_path(repository.workspace, bad.release))
    repository.put(bad, "canary")
    repository.push("A bad one", at=f"{day(1)}T10:00:00Z")
    commit = git(repository.bare, "rev-parse", "main")
    row = deployment(
        f"jetrail-release-fleet-meter-{TARGET}-canary", "dock", commit, ready=False,
        since=f"{day(1)}T11:00:00Z",
    )  # fmt: skip
    report = write_report(tmp_path / "sites.json", [row])

    def look(workspace: Workspace) -> None:
        watch(workspace, [report], Telling(), dry_run=False, say=say)

    before, moment = len(repository.subjects()), 1
    while killed_at(moment, look, repository.workspace):
        assert before <= len(repository.subjects()) <= before + 2
        moment += 1
    assert len(repository.subjects()) == before + 2
    assert repository.subjects()[0].startswith("Roll meter")
    assert repository.subjects()[1] == f"Quarantine {bad.release}"
    assert PUBLICATION.release in repository.at(f"release/fleet/meter/{TARGET}/canary/release.yaml")
    look(repository.workspace)
    assert len(repository.subjects()) == before + 2
    assert git(repository.root, "status", "--porcelain") == ""
    assert moment > 12


FULL = """
import json, os, pathlib, subprocess, sys
from factories import paper
from factories.airgapped import lay_out_site
from engines.config.workspace import Workspace

disk = pathlib.Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(disk)], check=True)
workspace = Workspace(root=disk / "clone")
paper.lay_out(workspace)
workspace.ring("meter", paper.TARGET, "canary").mkdir(parents=True)
workspace.rings_file.write_text("schema: 1\\nrings: [{name: canary}]\\n")
os.chdir(workspace.root)
lay_out_site(workspace, engine=bytes(2 << 20))
rows = "".join(f"dock-{one},{paper.TARGET},canary\\n" for one in range(500, 1000))
pathlib.Path("inventory.csv").write_text("site,target,ring\\n" + rows)

def release(*words):
    done = subprocess.run(["release", *words], capture_output=True, text=True)
    places = (disk, workspace.fleet / "sites")
    left = [one.name for place in places for one in place.glob(".jetrail-*")]
    return [done.returncode, done.stderr, left]

said = []
for words in json.loads(sys.argv[2]):
    filler = disk / "filler"
    try:
        with filler.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
    except OSError:
        pass
    os.truncate(filler, filler.stat().st_size - 200_000)
    said.append(release(*words))
    filler.unlink()
    said.append(release(*words))
print(json.dumps(said))
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """For real, on a small tmpfs in a namespace of its own."""
    root = Path(__file__).parents[2]
    words = [["bundle", "--site", "dock-7"], ["sites", "import", "inventory.csv"]]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    child = [sys.executable, "-c", FULL, str(tmp_path), json.dumps(words)]
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", *child],
        env={**os.environ, "PATH": path, "PYTHONPATH": f"{root}:{root / 'tests'}"},
        capture_output=True,
        text=True,
        check=True,
    )
    for full, again in zip(*[iter(json.loads(done.stdout.splitlines()[-1]))] * 2, strict=True):
        assert full[0] == 2, full
        assert full[1].startswith("error: Cannot write "), full
        assert "No space left on device" in full[1]
        assert full[2] == []
        assert again == [0, "", []]
