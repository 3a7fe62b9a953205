"""`release smoke`: the real image of a release in a real container, taken by its digest."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from factories import served
from factories.bases import RealBase
from factories.containers import Podman
from factories.docker import running_docker
from factories.images import add_image
from factories.killed import Killed
from factories.paper import TARGET, edit, lay_out
from factories.processes import until
from factories.signed import Signer

from engines.config.workspace import Workspace
from engines.errors import GateFailed, InputError, WrongEngine
from engines.files import sha256_file
from engines.records.attestation import FILE
from engines.records.manifest import Manifest
from release.image.layer import LayerFile
from release.image.layout import Layout
from release.packed import Base, ImageRecord, image_path
from release.records import Publication, attestation_path, publication_path
from release.smoke.record import Smoke, read_smoke, smoke_path
from release.steps.smoke import smoke
from release.tags import make_tag
from tests.unit.release.publications import PUBLICATION

pytestmark = pytest.mark.integration

BASE = "base-x86"
KILLS = 20
WRITES = 4
"""Moments at which smoke.json is written; the other kills are at random."""


@pytest.fixture(scope="module")
def base_layout(x86_base: RealBase, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with the runtime image, as `release base build` leaves it in release/images/."""
    folder = tmp_path_factory.mktemp("base") / "images"
    shutil.copytree(x86_base.workspace.images, folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("smoke") / "models"
    served.build(folder)
    return folder


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release that was published, signed and packed, on paper but for its image."""

    workspace: Workspace
    signer: Signer
    layout: Layout
    folder: Path
    """Its /models."""

    @property
    def name(self) -> str:
        """As the engine that lies in the folder now makes it."""
        return make_tag(Manifest.read(self.folder / Manifest.file)).name

    def pack(self, *, on_base: bool = False, limit_p99_ms: float = 60_000) -> ImageRecord:
        """Sign what lies in the folder, make the image of it, and write the records."""
        served.sign(self.folder, self.signer, release=self.name)
        publication = _publication(self.folder, limit_p99_ms)
        path = publication_path(self.workspace, self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        publication.write(path)
        shutil.copyfile(self.folder / FILE, attestation_path(self.workspace, self.name))
        files = {one.name: LayerFile(one, sha256_file(one)) for one in self.folder.iterdir()}
        base = self.layout.image(BASE) if on_base else None
        image = add_image(self.layout, files, name=self.name, base=base)
        record = ImageRecord(
            release=self.name,
            digest=image.digest,
            manifest_bytes=image.descriptor.size,
            platform=str(image.config.platform),
            base=Base(name="x86", digest=base.digest) if base else None,
            layers=(),
            files={name: file.sha256 for name, file in files.items()},
        )
        record.write(image_path(self.workspace, self.name))
        return record

    def smoke(self) -> Smoke:
        said: list[str] = []
        found = smoke(self.workspace, self.name, None, said.append)
        assert said[-1].startswith(f"{self.name}: PASS, p99 ")
        return found


def _publication(folder: Path, limit_p99_ms: float) -> Publication:
    manifest = Manifest.read(folder / Manifest.file)
    measured = min(15.0, limit_p99_ms / 2)
    check = PUBLICATION.checks[0].model_copy(update={"limit": limit_p99_ms, "measured": measured})
    figures = PUBLICATION.figures.model_copy(update={"frame_p99_ms": measured})
    names = (manifest.engine_file, "manifest.json", "evaluation.json", "golden.npz")
    return PUBLICATION.model_copy(
        update={
            "release": make_tag(manifest).name,
            "engine": manifest.engine,
            "model": manifest.model,
            "precision": manifest.precision,
            "engine_sha256": manifest.engine_sha256,
            "checks": (check,),
            "figures": figures,
            "judged": {name: sha256_file(folder / name) for name in names},
        }
    )


@pytest.fixture
def release(
    tools: Podman,
    base_layout: Path,
    models: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Release]:
    for name in ("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF"):
        monkeypatch.setenv(name, tools.environment[name])
    # podman 4.3 makes an image's name of a path, in which there are no capitals.
    workspace = Workspace(root=tmp_path / "Ada's Jetrail, müde")
    lay_out(workspace)
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row.read_text() + "  tiny-fp32: {model: tiny, precision: fp32}\n")
    signer = Signer("ours")
    workspace.trusted_keys.mkdir(parents=True)
    signer.record().write(workspace.trusted_keys / "ours.json")
    shutil.copytree(base_layout, workspace.images, copy_function=os.link)
    folder = served.copy(models, tmp_path / "models")
    served.judge_and_sign(folder, signer)
    before = _images(tools)
    yield Release(
        workspace=workspace, signer=signer, layout=Layout(workspace.images), folder=folder
    )
    # Of what others left there before, `test_killed_twenty_times` takes some away.
    assert not _images(tools) - before, "nothing is left in podman's storage"


def _images(tools: Podman) -> set[str]:
    """Each name of each image."""
    form = "{{.ID}} {{.Repository}}:{{.Tag}}"
    return set(tools.run("podman", "images", "--format", form).stdout.splitlines())


def test_an_image_on_a_base(release: Release) -> None:
    image = release.pack(on_base=True)
    found = release.smoke()
    assert (found.verdict, found.reasons) == ("PASS", ())
    assert (found.digest, found.runtime) == (image.digest, None)
    assert found.container_engine.startswith("podman ")
    assert found.memory_limit_mib == 1024
    assert found.device is not None
    assert found.boxes is not None
    assert (found.boxes.objects, found.boxes.missing, found.boxes.unexpected) == (3, 0, 0)
    assert found.times is not None
    assert found.times.count > 200
    assert (found.times.judged_p99_ms, found.times.limit_p99_ms) == (15.0, 60_000)
    assert read_smoke(release.workspace, release.name, image.digest) == found
    assert read_smoke(release.workspace, release.name, f"sha256:{'0' * 64}") is None
    assert json.loads(smoke_path(release.workspace, release.name).read_text())["schema"] == 1


def test_by_docker(release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, where there is no podman."""
    short = Path(tempfile.mkdtemp(dir="/tmp"))  # the path of a socket has 108 letters at most
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("docker", "skopeo"):
        (programs / name).symlink_to(shutil.which(name) or name)
    image = release.pack(on_base=True)
    with running_docker(short) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        monkeypatch.setenv("PATH", str(programs))
        found = release.smoke()
        assert found.container_engine.startswith("docker ")
        assert (found.digest, found.verdict, found.reasons) == (image.digest, "PASS", ())
        assert found.boxes is not None
        assert (found.boxes.objects, found.boxes.missing, found.boxes.unexpected) == (3, 0, 0)
        listed = subprocess.run(["docker", "images", "--quiet"], capture_output=True, text=True)
        assert listed.stdout == "", "nothing is left in docker's storage"
        release.pack()
        with pytest.raises(InputError, match="got docker, which mounts no images"):
            release.smoke()
        monkeypatch.undo()
    shutil.rmtree(short)


def test_an_image_that_is_mounted(release: Release) -> None:
    image = release.pack()
    found = release.smoke()
    assert found.digest == image.digest
    assert found.runtime == release.layout.image(BASE).digest
    assert found.verdict == "PASS"


def test_what_the_pod_refuses(release: Release) -> None:
    """Signed golden boxes of another engine."""
    golden = (release.folder / "golden.npz").read_bytes()
    shutil.rmtree(release.folder)
    served.build(release.folder, box=(2.0, 7.0, 22.0, 37.0))
    (release.folder / "golden.npz").write_bytes(golden)
    served.judge_and_sign(release.folder, release.signer)
    image = release.pack()
    with pytest.raises(WrongEngine, match="3 of them are missing and 3 others are there"):
        release.smoke()
    found = read_smoke(release.workspace, release.name, image.digest)
    assert found is not None
    assert found.verdict == "FAIL"
    assert "3 of them are missing" in found.reasons[0]


def test_what_is_too_slow(release: Release) -> None:
    release.pack(limit_p99_ms=0.0001)
    with pytest.raises(GateFailed, match=r"the p99 of a frame is .* the budget is 0.0001 ms"):
        release.smoke()
    assert Smoke.read(smoke_path(release.workspace, release.name)).verdict == "FAIL"


def test_an_image_whose_layout_was_altered(release: Release) -> None:
    image = release.pack()
    layer = release.layout.image(release.name).manifest.layers[-1]
    path = release.layout.blob(layer.digest)
    content = bytearray(path.read_bytes())
    content[2000] ^= 1
    path.unlink()
    path.write_bytes(content)
    with pytest.raises(WrongEngine, match=layer.digest):
        release.smoke()
    assert read_smoke(release.workspace, release.name, image.digest) is None


def test_another_device_s_engine_is_not_tried(release: Release) -> None:
    edit(release.folder / Manifest.file, lambda one: one["device"].update(isa=["sve2"]))
    served.judge_and_sign(release.folder, release.signer)
    release.pack()
    with pytest.raises(InputError, match="cannot be smoked here: this machine is"):
        release.smoke()


def test_what_is_missing_is_named(release: Release) -> None:
    with pytest.raises(InputError):
        smoke(release.workspace, release.name, None, lambda _: None)
    release.pack()
    with pytest.raises(InputError, match="base-y86"):
        smoke(release.workspace, release.name, "base-y86", lambda _: None)
    image_path(release.workspace, release.name).unlink()
    with pytest.raises(InputError, match="it is not packed"):
        smoke(release.workspace, release.name, None, lambda _: None)


def test_killed_twenty_times(release: Release, tools: Podman) -> None:
    """The record is old or new, and whole; the containers end, and the last run takes away what
    the killed ones left in podman's storage."""
    image = release.pack()
    release.smoke()
    path = smoke_path(release.workspace, release.name)
    draw = random.Random(7)
    for number in range(KILLS):
        moment = number + 1 if number < WRITES else 0
        process = Killed(release.smoke, at_moment=moment)
        ended = process.wait() if moment else process.kill_after(draw.random() * 0.6)
        assert ended == -signal.SIGKILL or (ended == 0 and not moment)
        found = Smoke.read(path)
        assert (found.digest, found.verdict) == (image.digest, "PASS")
    # A container goes on until its check is through.
    assert until(lambda: not tools.run("podman", "ps", "--quiet").stdout)
    tools.run("podman", "image", "prune", "--force")
    assert release.smoke().verdict == "PASS"
