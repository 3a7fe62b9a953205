"""Packing is killed, and the disk is full: the layout is old and whole, or new and whole."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from factories import paper
from factories.killed import Killed
from factories.paper import TARGET

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from release.image.layout import Layout
from release.packed import image_path, read_image
from release.steps.pack import pack
from release.steps.sign import sign_release
from tests.unit.release.publications import publish_on_paper, record

pytestmark = pytest.mark.integration

KILLS = 20
MOMENTS = 3 + 6 * 4
"""At which packing writes: the layer is no `write_bytes`; config, manifest, oci-layout, index.json
twice and image.json are."""


def quiet(_: str) -> None:
    pass


def lay_out(root: Path) -> tuple[Workspace, str]:
    """A repository with a signed release."""
    workspace = Workspace(root=root)
    root.mkdir(exist_ok=True)
    paper.lay_out(workspace)
    paper.add_engine(workspace, "fp16")
    publication = publish_on_paper(workspace, "meter-fp16")
    record(workspace, publication)
    sign_release(workspace, publication.release, None, None, quiet)
    return workspace, publication.release


def check_sane(workspace: Workspace, release: str) -> None:
    """No half blob has a name, and no name leads to what is not there."""
    layout = Layout(workspace.images)
    for path in (workspace.images / "blobs" / "sha256").glob("[0-9a-f]*"):
        assert path.name == sha256_file(path)
    if (workspace.images / "index.json").is_file():
        for name in layout.images():
            layout.check_layers(layout.image(name))
    image = read_image(workspace, release)
    if image is not None:
        assert layout.image(release).digest == image.digest


def test_killed_twenty_times(tmp_path: Path) -> None:
    workspace, release = lay_out(tmp_path / "clone")
    draw = random.Random(7)
    for number, moment in enumerate(draw.sample(range(1, MOMENTS + 1), KILLS)):
        if number % 3 == 0:  # from the beginning again
            shutil.rmtree(workspace.images, ignore_errors=True)
            image_path(workspace, release).unlink(missing_ok=True)
        by_time = number % 5 == 4
        process = Killed(
            lambda: pack(workspace, None, TARGET, quiet), at_moment=0 if by_time else moment
        )
        process.kill_after(draw.random() / 20) if by_time else process.wait()
        check_sane(workspace, release)
    (packed,) = pack(workspace, release, None, quiet)
    check_sane(workspace, release)
    assert {name: one.digest for name, one in Layout(workspace.images).images().items()} == {
        release: packed.digest
    }
    left = [path for path in workspace.images.rglob("*") if path.is_file()]
    assert len(left) == 5  # oci-layout, index.json, layer, config and manifest
    assert not list(workspace.images.rglob(".jetrail-*"))


def test_the_kills_hit(tmp_path: Path) -> None:
    """That the last moment is one, and there is none behind it."""
    workspace, release = lay_out(tmp_path / "clone")
    for moment, ended in ((MOMENTS, -signal.SIGKILL), (MOMENTS + 1, 0)):
        shutil.rmtree(workspace.images, ignore_errors=True)
        image_path(workspace, release).unlink(missing_ok=True)
        process = Killed(lambda: pack(workspace, release, None, quiet), at_moment=moment)
        assert process.wait() == ended


@pytest.mark.parametrize("free_kb", [0, 24])
def test_the_disk_is_full(tmp_path: Path, free_kb: int) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk; run this test as root")
    try:
        workspace, release = lay_out(disk / "clone")
        pack(workspace, release, None, quiet)
        shutil.rmtree(workspace.images)
        image_path(workspace, release).unlink()
        room = shutil.disk_usage(disk).free
        (disk / "fill").write_bytes(bytes(room - free_kb * 1024))
        with pytest.raises(InputError, match="No space left on device"):
            pack(workspace, release, None, quiet)
        assert read_image(workspace, release) is None
        (disk / "fill").unlink()
        pack(workspace, release, None, quiet)
        check_sane(workspace, release)
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
