"""kill -9 while a release is pushed: the registry has it whole or not, and a rerun ends it."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import paper
from factories.killed import Killed
from standins.registry import Proxy, need, running_registry

from engines.config.workspace import Workspace
from release.image import retry
from release.image.distribution import Client, parse_repository
from release.image.oci import digest_of
from release.packed import ImageRecord, read_image
from release.signing.cosign import ImageReference, check_signature, payloads_of
from release.signing.keys import trying_key
from release.steps.pack import pack
from release.steps.push import push
from release.steps.sign import sign_release
from tests.unit.release.publications import publish_on_paper, record

pytestmark = pytest.mark.integration

KILLS = 20
WRITES = 4
"""Moments at which image.json is written; the other kills are at requests."""


def quiet(_: str) -> None:
    pass


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    need("skopeo")
    with running_registry(tmp_path / "registry") as registry:
        proxy = Proxy(registry.host)
        yield proxy
        proxy.close()


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Workspace, str]:
    """A repository with a release that is packed."""
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.05)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    workspace = Workspace(root=tmp_path / "clone")
    workspace.root.mkdir()
    paper.lay_out(workspace)
    paper.add_engine(workspace, "fp16")
    publication = publish_on_paper(workspace, "meter-fp16")
    record(workspace, publication)
    sign_release(workspace, publication.release, None, None, quiet)
    pack(workspace, publication.release, None, quiet)
    return workspace, publication.release


def copy_of(workspace: Workspace, name: str) -> Workspace:
    """A clone that has not pushed yet."""
    return Workspace(root=Path(shutil.copytree(workspace.root, workspace.root.with_name(name))))


class Place:
    """Where one clone pushes to: a path of the registry that nobody else has."""

    def __init__(self, workspace: Workspace, release: str, proxy: Proxy) -> None:
        self.workspace, self.release = workspace, release
        self.registry = f"{proxy.host}/{workspace.root.name}"
        self.repository = f"{self.registry}/meter"
        self.client = Client(
            repository=parse_repository(self.repository), credentials=None, say=quiet
        )

    def push(self) -> None:
        push(self.workspace, self.release, self.registry, quiet)

    def image(self) -> ImageRecord:
        image = read_image(self.workspace, self.release)
        assert image is not None
        return image

    def check_sane(self) -> None:
        """Under the tag is this image or none; its record says so only where all of it is there."""
        image, found = self.image(), self.client.manifest(self.release)
        assert found is None or digest_of(found) == image.digest
        if image.repositories:
            assert found is not None
            self.check_signed()

    def check_signed(self) -> None:
        digest, size = self.image().digest, self.image().manifest_bytes
        signed = ImageReference(repository=self.repository, digest=digest, size=size)
        manifest, key = self.client.manifest(signed.tag(".sig")), trying_key(self.workspace)
        assert manifest is not None
        assert key is not None
        payloads = [self.client.blob(one) for one in payloads_of(manifest)]
        assert check_signature(manifest, payloads, signed, [key]) == key
        attached = json.loads(self.client.manifest(signed.tag(".att")) or b"{}")
        assert len(attached["layers"]) == 3
        index = json.loads(self.client.manifest(signed.tag("")) or b"{}")
        for one in index["manifests"]:
            assert self.client.manifest(one["digest"]) is not None


def kill_at_request(proxy: Proxy, process: Killed, number: int) -> None:
    """When the registry would be asked for the so-manieth time."""
    count = itertools.count(1)
    proxy.on_request = lambda _: process.kill() if next(count) == number else None


def test_killed_twenty_times(packed: tuple[Workspace, str], proxy: Proxy) -> None:
    workspace, release = packed
    asked: list[str] = []
    proxy.on_request = asked.append
    Place(copy_of(workspace, "whole"), release, proxy).push()
    moments = random.Random(7).sample(range(1, len(asked) + 1), KILLS - WRITES)
    for number, moment in enumerate([*moments, *range(1, WRITES + 1)]):
        place = Place(copy_of(workspace, f"kill{number}"), release, proxy)
        by_request = number < len(moments)
        process = Killed(place.push, at_moment=0 if by_request else moment)
        kill_at_request(proxy, process, moment if by_request else 0)
        assert process.wait() == -signal.SIGKILL, f"kill {number} at {moment}"
        proxy.on_request = lambda _: None
        place.check_sane()
        place.push()
        place.check_sane()
        assert place.image().repositories == (place.repository,)
