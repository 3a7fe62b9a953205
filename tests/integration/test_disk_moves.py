"""A full disk under every move, for real: a clone on a small tmpfs in a namespace of its own.

Each command runs with one block free, then with more, until it has room enough, so that the disk
fills up at each of its steps: in git's objects, in the files of the clone, in temporary files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from factories.fleet_reports import deployment, write_report
from factories.gitops import GitOpsRepository, day, environment, git, make_repository
from factories.paper import row_yaml

from release.records import Candidate, Candidates, candidates_path, publication_path
from tests.unit.release.publications import PUBLICATION, TARGET, another

pytestmark = pytest.mark.integration

TWO, THREE = another("2.0", "b"), another("3.0", "c")
RINGS = """\
schema: 1
rings:
  - {name: canary, watch: {clusters: 1, minutes: 1, hours: 100000}}
  - {name: pilot}
"""
BLOCK = 4096

SCRIPT = """
import json, os, pathlib, subprocess, sys, tempfile

from typer.testing import CliRunner
import engines.config.site, engines.config.target, release.registry.mlflow, release.reports.load
import release.steps.add_site, release.steps.promote, release.steps.quarantine
import release.steps.hand_over, release.steps.rollback, release.steps.watch
import release.steps.write, release.terminal
from release.cli import commands

plan = json.loads(sys.argv[1])
disk, full = pathlib.Path(plan["disk"]), pathlib.Path(plan["full"])
bare = plan["bare"]
for place in {disk, full}:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], check=True)
(disk / "tmp").mkdir()
clone = disk / "clone"
if plan["server"]:
    subprocess.run(["cp", "-r", bare, str(disk / "there.git")], check=True)
    bare = str(disk / "there.git")
subprocess.run(["git", "clone", "--quiet", bare, str(clone)], check=True)
os.environ["TMPDIR"] = plan["tmp"]
os.chdir(clone)
filler, said, free = full / "filler", [], plan["first"]

def git(*words):
    return subprocess.run(["git", *words], cwd=clone, capture_output=True, text=True).stdout

def command():
    "In a process of its own, which has all imported already."
    here, there = os.pipe()
    child = os.fork()
    if child == 0:
        tempfile.tempdir = None
        done = CliRunner().invoke(commands, plan["words"])
        told = {"code": done.exit_code, "out": done.stdout, "said": done.stderr}
        os.write(there, json.dumps(told).encode())
        os._exit(0)
    os.close(there)
    os.waitpid(child, 0)
    with open(here) as told:
        return json.load(told)

def run():
    done = command()
    filler.unlink(missing_ok=True)
    tracked = git("status", "--porcelain", "--untracked-files=all").split()
    left = [str(one) for one in disk.rglob(".jetrail-*") if one.is_dir()]
    return {
        **done, "free": free, "left": left,
        "subjects": git("-C", bare, "log", "--format=%s", "main").splitlines(),
        "changed": tracked, "fsck": git("fsck", "--strict", "--no-dangling"),
    }

while not said or said[-1]["code"]:
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    os.truncate(filler, max(filler.stat().st_size - free, 0))
    said.append(run())
    free += plan["step"]
said.append(run())
print(json.dumps(said))
"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command, and what of it is on the branch in the end, the latest first."""

    words: tuple[str, ...]
    commits: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    """Files in the clone that nobody committed."""
    changed: tuple[str, ...] = ()
    """Files that the clone may have as wished before the branch has them."""


BANNED = f"Quarantine {TWO.release}"
BACK = f"Roll meter on {TARGET} in canary back to {PUBLICATION.release}"
RING = ("meter", "--target", TARGET)
SITE = "release/fleet/sites/dock-7"
CANARY = f"release/fleet/meter/{TARGET}/canary/release.yaml"
CASES = {
    "promote": Case(
        words=("promote", *RING, "--to", "pilot"),
        commits=(f"Promote meter on {TARGET} to pilot: {TWO.release}",),
    ),
    "rollback": Case(words=("rollback", *RING, "--ring", "canary"), commits=(BACK,)),
    "write": Case(
        words=("write", "--push"),
        commits=(f"Release meter on {TARGET} to canary: {THREE.release}",),
        changed=(CANARY,),
    ),
    "quarantine": Case(words=("quarantine", TWO.release, "--why", "no boxes"), commits=(BANNED,)),
    "watch": Case(words=("watch", "--once", "--report", "{report}"), commits=(BACK, BANNED)),
    "add-site": Case(
        words=("add-site", "dock-7", "--target", TARGET, "--ring", "pilot"),
        written=(f"{SITE}/configmap.yaml", f"{SITE}/fleet.yaml"),
    ),
}


@pytest.fixture
def repository(tmp_path: Path) -> GitOpsRepository:
    """One model on one target; the canary has a second release, which its one site cannot run, and
    a third one is the candidate."""
    made = make_repository(tmp_path, [PUBLICATION], rings=RINGS)
    target = made.workspace.target(TARGET)
    target.mkdir(parents=True)
    (target / "params.yaml").write_text(row_yaml("meter-fp16"))
    for one in (TWO, THREE):
        one.write(publication_path(made.workspace, one.release))
    best = Candidate(release=THREE.release, engine=THREE.engine, reason="the fastest")
    Candidates(target=TARGET, policy="fastest", candidates={"meter": best}, skipped={}).write(
        candidates_path(made.workspace, TARGET)
    )
    made.put(TWO, "canary")
    made.push("A second one", at=f"{day(1)}T10:00:00Z")
    return made


def report_of(repository: GitOpsRepository, path: Path) -> str:
    row = deployment(
        *(f"jetrail-release-fleet-meter-{TARGET}-canary", "dock"),
        git(repository.bare, "rev-parse", "main"),
        ready=False,
        since=f"{day(1)}T11:00:00Z",
    )
    return write_report(path, [row])


def sweep(
    repository: GitOpsRepository,
    folder: Path,
    case: Case,
    *,
    temporary: bool = False,
    server: bool = False,
) -> Any:
    """What the command did with ever more room, the last but one time with enough, and once more.
    With `temporary` it is the disk of temporary files that is full, else that of the clone, and
    with `server` that of the repository which it pushes to as well."""
    report = report_of(repository, folder / "sites.json")
    small = folder / "temporary" if temporary else folder / "disk"
    plan = {
        **{"disk": str(folder / "disk"), "full": str(small), "bare": str(repository.bare)},
        "server": server,
        "words": [one.format(report=report) for one in case.words],
        **{
            "tmp": str(folder if server else small if temporary else small / "tmp"),
            "step": BLOCK * 2,
            # A folder for temporary files that takes no byte is passed over for another one.
            "first": BLOCK if temporary else 0,
        },
    }
    variables = {key: one for key, one in environment().items() if not key.startswith("MLFLOW")}
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", sys.executable, "-c", SCRIPT, json.dumps(plan)],
        env={**variables, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), small


@pytest.mark.parametrize("temporary", [False, True], ids=["clone", "temporary-files"])
@pytest.mark.parametrize("name", CASES)
def test_each_move(
    repository: GitOpsRepository, tmp_path: Path, name: str, temporary: bool
) -> None:
    case, before = CASES[name], repository.subjects()
    runs, small = sweep(repository, tmp_path, case, temporary=temporary)
    *full, enough, again = runs
    for run in full:
        assert run["code"] == 2, run
        (sentence,) = [one for one in run["said"].splitlines() if one.startswith("error: ")]
        assert f"the disk at {small} has " in sentence, run
        assert "Traceback" not in run["said"]
        assert run["left"] == [], run
        assert run["fsck"] == "", run
        # What is on the branch is whole commits, the first of them first; in the clone is nothing.
        done = run["subjects"][: len(run["subjects"]) - len(before)]
        assert done == list(case.commits[len(case.commits) - len(done) :]), run
        assert set(run["changed"]) <= {"M", *case.changed}, run
    assert full or (temporary and name == "add-site"), "it was never full"
    for run in (enough, again):
        assert run["subjects"] == [*case.commits, *before], run
        assert sorted(one for one in run["changed"] if one != "??") == sorted(case.written)
    # What is done is done: a rollback, for one, takes no second step.
    assert (again["code"] == 0) == (name != "add-site"), again


@pytest.mark.parametrize("name", ["promote", "rollback", "write", "quarantine", "watch"])
def test_a_server_on_the_same_disk(repository: GitOpsRepository, tmp_path: Path, name: str) -> None:
    """The push may be done where it fails: git's last write of one is here. What the sentence says
    of the branch is so."""
    case, before = CASES[name], repository.subjects()
    runs, _ = sweep(repository, tmp_path, case, server=True)
    *full, enough, again = runs
    had, seen = 0, set()
    for run in full:
        assert run["code"] in (2, 6), run
        (sentence,) = [one for one in run["said"].splitlines() if one.startswith("error: ")]
        assert "Traceback" not in run["said"]
        done = run["subjects"][: len(run["subjects"]) - len(before)]
        assert done == list(case.commits[len(case.commits) - len(done) :]), run
        said = [
            "Nothing was moved." in sentence,
            "has the commit, but this clone" in sentence,
            "is not known" in sentence,
        ]
        # What a command says that it pushed is there, and nothing else is.
        pushed = run["out"].count("Pushed ")
        assert sum(said) == 1 or not (pushed or any(said)), run
        if not said[2]:
            assert pushed == len(done) - had, run
        if said[0]:
            assert len(done) < len(case.commits), run
        if said[1]:
            assert done, run
        had = len(done)
        seen |= {at for at, one in enumerate(said) if one}
    # What `write` gave the branch lies in the clone by then: hardly anything is left to be written.
    after = set() if name == "write" else {1}
    assert {0, *after} <= seen, "it was never full before the push, or never after it"
    for run in (enough, again):
        assert run["subjects"] == [*case.commits, *before], run
