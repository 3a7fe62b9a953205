"""kill -9 while a base is built: bases.yaml names the image before or the new one, whole. And two
builds at once: each has its own."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest
from factories.bases import lay_out_bases
from factories.containers import Podman
from factories.killed import Killed

from engines.config.workspace import Workspace
from engines.files import sha256_file
from release.image import base_build
from release.image.bases import load_bases
from release.image.layout import Layout
from release.steps.base import build_base, sbom_path

pytestmark = pytest.mark.integration

KILLS = 20
MOMENTS = 6 * 4 - 3
"""At which it writes: oci-layout, index.json twice, manifest, config, layer, SBOM and bases.yaml; a
blob that is taken over and bases.yaml are not written by `write_bytes`."""
CONTAINERFILE = "ARG FROM\nFROM scratch\nCOPY site /opt/jetrail\nUSER 1000:1000\n"


def quiet(_: str) -> None:
    pass


@pytest.fixture
def workspace(tools: Podman, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """Its base x86 is one file on nothing, built by the real buildah."""
    for name, value in tools.settings.items():
        monkeypatch.setenv(name, value)

    def install(_: object, __: object, site: Path) -> None:
        site.mkdir()
        (site / "one.py").write_text("x = 1\n")

    monkeypatch.setattr(base_build, "_install", install)
    monkeypatch.setattr(base_build, "PACKAGES", ())
    workspace = lay_out_bases(tmp_path / "clone")
    (workspace.root / "release" / "bases" / "x86" / "Containerfile").write_text(CONTAINERFILE)
    return workspace


def check_sane(workspace: Workspace) -> None:
    digest = load_bases(workspace).row("x86").digest
    layout = Layout(workspace.images)
    for path in (workspace.images / "blobs" / "sha256").glob("[0-9a-f]*"):
        assert path.name == sha256_file(path)
    if digest is not None:  # what is named is there, whole
        layout.check_layers(layout.image(digest))


def test_two_clones_build_at_once(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One between what the other builds and what it takes of it."""
    other = lay_out_bases(tmp_path / "another clone")
    containerfile = Path("release", "bases", "x86", "Containerfile")
    (other.root / containerfile).write_text(f"{CONTAINERFILE}LABEL whose=theirs\n")
    real = base_build._run

    def run(*words: str, **options: Path | None) -> None:
        real(*words, **options)
        if words[1] == "build":
            monkeypatch.setattr(base_build, "_run", real)
            build(other)

    monkeypatch.setattr(base_build, "_run", run)
    build(workspace)
    labels = [
        json.loads(Layout(one.images).image("base-x86").config_bytes)["config"].get("Labels") or {}
        for one in (workspace, other)
    ]
    assert [one.get("whose") for one in labels] == [None, "theirs"]


def build(workspace: Workspace) -> None:
    build_base(workspace, "x86", (), quiet)


def images(tools: Podman) -> set[str]:
    form = "{{.Repository}}:{{.Tag}}"
    return set(tools.run("podman", "images", "--format", form).stdout.split())


def test_killed_twenty_times(workspace: Workspace, tools: Podman) -> None:
    draw = random.Random(7)
    for number, moment in enumerate(draw.sample(range(1, MOMENTS + 1), KILLS)):
        process = Killed(lambda: build(workspace), at_moment=0 if number % 2 else moment)
        ended = process.kill_after(draw.random() * 2) if number % 2 else process.wait()
        assert ended in (-signal.SIGKILL, 0), moment
        check_sane(workspace)
    build(workspace)
    check_sane(workspace)
    digest = load_bases(workspace).row("x86").digest
    found = Layout(workspace.images).images()
    assert {name: one.digest for name, one in found.items()} == {"base-x86": digest}
    document = json.loads(sbom_path(workspace, "x86").read_text())
    assert document["metadata"]["component"]["version"] == digest
    assert not [one for one in images(tools) if "jetrail-base" in one]
    assert not list(workspace.images.rglob(".jetrail-*"))
