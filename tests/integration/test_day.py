"""The release manager's day right after the demo, in the clone of `make fleet`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from factories.gitops import GitOpsRepository, environment, git, make_repository

from engines.config.workspace import Workspace
from tests.unit.release.publications import PUBLICATION, TARGET, another, record

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
FIRST, SECOND = PUBLICATION, another("1.1", "b")
PLACE = ("meter", "--target", TARGET)
WHY = ("--override", "all", "--why", "trying")


def command(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    unset = ("MLFLOW_TRACKING_URI", "GITLAB_USER_LOGIN", "GITLAB_USER_EMAIL")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ours = {key: value for key, value in environment().items() if key not in unset}
    return subprocess.run(
        words, cwd=folder, env=ours | {"PATH": path}, capture_output=True, text=True, check=False
    )


def run(folder: Path, *words: str) -> str:
    done = command(folder, *words)
    said = done.stdout + done.stderr
    assert done.returncode == 0, f"{' '.join(words)} ended with {done.returncode}: {said}"
    return said


@pytest.fixture
def demo(tmp_path: Path) -> GitOpsRepository:
    """A clone in which the demo is through: its release lies there, and nothing is committed."""
    made = make_repository(tmp_path, [FIRST], rings=(ROOT / "release/rings.yaml").read_text())
    for file in ("Makefile", ".gitignore"):
        shutil.copyfile(ROOT / file, made.root / file)
    made.push("The Makefile")
    record(made.workspace, SECOND)
    made.put(SECOND, "canary")
    # Nobody who tries may push to where the clone is from.
    (made.bare / "hooks" / "pre-receive").write_text("#!/bin/sh\nexit 1\n")
    (made.bare / "hooks" / "pre-receive").chmod(0o755)
    return made


MAKE = ("make", "--old-file=.venv/.demo", "fleet")
"""Without installing anything: the demo did."""


def test_after_the_demo(demo: GitOpsRepository) -> None:
    before = git(demo.root, "status", "--porcelain"), git(demo.root, "rev-parse", "HEAD")
    assert "release promote MODEL" in run(demo.root, *MAKE)
    assert (git(demo.root, "status", "--porcelain"), git(demo.root, "rev-parse", "HEAD")) == before
    mine = demo.root / ".fleet" / "clone"
    branch = ("git", "log", "--format=%s", "origin/main")
    assert f"canary     {SECOND.release}" in run(mine, "release", "status")

    # What a demo cannot have is asked all the same, each in a sentence, and nothing hangs.
    refused = command(mine, "release", "promote", *PLACE, "--to", "pilot")
    assert refused.returncode == 3, refused.stdout + refused.stderr
    for rule in ("signature", "image", "age", "ready"):
        assert f"{rule}: " in refused.stderr
    dry = run(mine, "release", "promote", *PLACE, "--to", "pilot", "--dry-run", *WHY)
    assert "overridden: " in dry
    assert run(mine, *branch).splitlines()[0] == "The demo's releases"

    said = run(mine, "release", "promote", *PLACE, "--to", "pilot", *WHY)
    assert "Pushed " in said
    assert "to origin main" in said
    assert "pilot" in run(mine, "release", "history", "meter", "--target", TARGET)
    said = run(mine, "release", "quarantine", SECOND.release, "--why", "no boxes at night")
    assert "Pushed " in said
    assert "release rollback meter" in said
    banned = command(mine, "release", "promote", *PLACE, "--to", "production")
    assert banned.returncode == 3
    assert "quarantine: " in banned.stderr
    said = run(mine, "release", "rollback", *PLACE, "--ring", "canary", "--why", "no boxes")
    assert f"will run  {FIRST.release}" in said
    assert len(run(mine, *branch).splitlines()) == 6
    # A second `make fleet` begins anew.
    run(demo.root, *MAKE)
    assert run(mine, *branch).splitlines()[0] == "The demo's releases"
    # As it does where what the demo made is committed already, as any change of a repository.
    git(demo.root, "add", "--all")
    git(demo.root, "commit", "--quiet", "--message=Ours")
    assert "release promote MODEL" in run(demo.root, *MAKE)
    assert run(mine, *branch).splitlines()[0] == "Ours"


def test_what_is_not_committed_counts(demo: GitOpsRepository) -> None:
    """A key that is only staged, a ring that is only changed, a folder that is removed."""
    key = demo.workspace.trusted_keys / "plant.json"
    key.parent.mkdir(parents=True)
    key.write_text("a key")
    git(demo.root, "add", "--all")
    demo.workspace.rings_file.write_text(demo.workspace.rings_file.read_text() + "# ours\n")
    gone = demo.workspace.fleet / "meter" / TARGET / "production"
    shutil.rmtree(gone)
    run(demo.root, *MAKE)
    mine = Workspace(root=demo.root / ".fleet" / "clone")
    assert (mine.trusted_keys / "plant.json").read_text() == "a key"
    assert mine.rings_file.read_text().endswith("# ours\n")
    assert not (mine.root / gone.relative_to(demo.root)).exists()
    assert git(mine.root, "status", "--porcelain") == ""
    assert not (mine.root / ".fleet").exists()


def test_before_the_demo(demo: GitOpsRepository) -> None:
    shutil.rmtree(demo.workspace.records)
    done = command(demo.root, *MAKE)
    assert done.returncode == 2
    assert "error: Nothing is released yet. Run make demo." in done.stderr
