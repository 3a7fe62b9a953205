"""GitLab's job `release`, line by line, with a real registry, key, MLflow and git remote."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import paper
from factories.gitops import RINGS, RINGS_YAML, environment, git
from standins.registry import Registry, need, running_registry

from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from pipeline.steps.ci import TEMPLATE
from release.image.distribution import Client, parse_repository
from release.records import Candidates, candidates_path

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
INSTALLS = ("command -v skopeo", "python3 -m venv", ".venv/bin/python -m pip", "export PATH")
"""Lines of the script that make an environment; the tests' own is taken."""
OTHERS = ("CI_", "GIT_AUTHOR", "GIT_COMMITTER", "JETRAIL_")
CANARY = f"release/fleet/meter/{paper.TARGET}/canary"


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    need("skopeo")
    (tmp_path / "registry").mkdir()
    with running_registry(tmp_path / "registry") as one:
        yield one


def run(folder: Path, *lines: str, rc: int = 0, **variables: str) -> str:
    """What bash prints that runs the lines as GitLab does: the first that fails is the last."""
    done = subprocess.run(
        ["bash", "-c", "\n".join(["set -eo pipefail", *lines])],
        cwd=folder,
        env={
            **{key: value for key, value in environment().items() if not key.startswith(OTHERS)},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            **variables,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == rc, f"{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture
def bare(tmp_path: Path, registry: Registry) -> Path:
    """A repository of a model that nothing was released of, as the branch has it."""
    bare, lead = tmp_path / "origin.git", Workspace(root=tmp_path / "lead")
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", str(bare))
    git(tmp_path, "clone", "--quiet", str(bare), str(lead.root))
    paper.lay_out(lead)
    (lead.root / ".gitignore").write_text("out/\nrelease/images/\nrelease/trust/private/\n")
    (lead.root / "release").mkdir()
    lead.rings_file.write_text(RINGS_YAML)
    (lead.root / "release" / "bases.yaml").write_text("schema: 1\nbases: {}\ntargets: {}\n")
    for ring in RINGS:
        folder = lead.ring("meter", paper.TARGET, ring)
        folder.mkdir(parents=True)
        (folder / "fleet.yaml").write_text(
            "helm:\n  valuesFiles: [release.yaml]\n"
            f"  values: {{image: {{repository: {registry.host}/jetrail/meter}}}}\n"
        )
    run(lead.root, "release keygen plant")
    git(lead.root, "add", "--all")
    git(lead.root, "commit", "--quiet", "--message=Start")
    git(lead.root, "push", "--quiet", "origin", "HEAD:main")
    return bare


def play(bare: Path, folder: Path, engines: dict[str, float], rc: int = 0) -> str:
    """The job in a clone of its own, with the artifacts of a device that has these engines: their
    precision, and their time for a frame."""
    git(folder.parent, "clone", "--quiet", "--depth=1", bare.as_uri(), str(folder))
    git(folder, "checkout", "--quiet", "--detach")
    for precision, p50_ms in engines.items():
        paper.add_engine(Workspace(root=folder), precision, p50_ms)
    job: dict[str, Any] = load_yaml(ROOT / "engines" / "targets" / TEMPLATE)[".release"]
    lines = [line for line in job["script"] if not line.startswith(INSTALLS)]
    assert len(lines) == len(job["script"]) - len(INSTALLS)
    return run(
        folder,
        *lines,
        rc=rc,
        **job["variables"],
        TARGET=paper.TARGET,
        GITLAB_USER_NAME="Grace",
        GITLAB_USER_EMAIL="grace@example.com",
        JETRAIL_SIGNING_KEY=str(bare.parent / "lead/release/trust/private/plant.pem"),
        MLFLOW_TRACKING_URI=f"sqlite:///{bare.parent}/mlflow.db",
    )


def head(bare: Path) -> str:
    return git(bare, "log", "-1", "--format=%an: %s", "main")


def test_what_passed_is_published_signed_pushed_and_in_the_canary(
    bare: Path, registry: Registry, tmp_path: Path
) -> None:
    play(bare, tmp_path / "first", {"fp32": 12.0, "fp16": 10.0})
    candidate = Candidates.read(candidates_path(Workspace(root=tmp_path / "first"), paper.TARGET))
    release = candidate.candidates["meter"].release
    assert "-fp16-" in release
    assert head(bare) == (f"Grace: Release meter on {paper.TARGET} to canary: {release}")
    assert f"tag: {release}@sha256:" in git(bare, "show", f"main:{CANARY}/release.yaml")
    repository = parse_repository(f"{registry.host}/jetrail/meter")
    client = Client(repository=repository, credentials=None, say=lambda _: None)
    assert client.manifest(release) is not None
    kept = git(bare, "ls-tree", "-r", "--name-only", "main", f"release/records/{release}/")
    assert {Path(path).name for path in kept.splitlines()} == {
        "attestation.json", "image.json", "publication.json"
    }  # fmt: skip

    # The next pipeline has a clone without images, and nothing new: no commit, nothing sent again.
    said = play(bare, tmp_path / "second", {"fp32": 12.0, "fp16": 10.0})
    assert f"{release} is there already" in said
    assert "is signed already, by plant" in said
    assert f"{paper.TARGET}: the branch has all of it" in said
    assert "does not stand on it" not in said
    assert git(bare, "rev-list", "--count", "main") == "2"


def test_a_job_whose_push_was_refused_is_run_again(
    bare: Path, registry: Registry, tmp_path: Path
) -> None:
    """The registry has the image then and the branch has no record of it. ECDSA signs with a random
    number: another statement would be another image, and the tag another image's for ever."""
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho You are not allowed to push code\nexit 1\n")
    hook.chmod(0o755)
    engines = {"fp32": 12.0, "fp16": 10.0}
    said = play(bare, tmp_path / "refused", engines, rc=6)
    assert "You are not allowed to push code" in said
    hook.unlink()
    said = play(bare, tmp_path / "again", engines)
    assert "signed before, by plant" in said
    assert head(bare).startswith(f"Grace: Release meter on {paper.TARGET} to canary: ")
