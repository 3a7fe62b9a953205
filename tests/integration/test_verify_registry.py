"""release verify of an image in a real registry, through skopeo."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from factories.paper import add_engine, lay_out

from engines.config.workspace import Workspace
from engines.errors import ServiceError, WrongEngine
from release.image.layout import Layout
from release.steps import keygen, pack, sign, verify
from tests.unit.release.publications import publish_on_paper

pytestmark = pytest.mark.integration


class Pushed(NamedTuple):
    workspace: Workspace
    release: str
    address: str
    """Of the registry."""
    storage: Path
    """What the registry keeps."""

    @property
    def digest(self) -> str:
        return Layout(self.workspace.images).image(self.release).digest

    @property
    def reference(self) -> str:
        return f"{self.address}/jetrail/meter@{self.digest}"


@pytest.fixture
def pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pushed]:
    """A release in a registry on loopback, which has no TLS and says so in registries.conf."""
    for program in ("docker-registry", "skopeo"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: `apt-get install {program}`")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    storage = tmp_path / "registry"
    (tmp_path / "registry.yml").write_text(
        f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {storage}}}}}\n"
        f"http: {{addr: {address}}}\nlog: {{level: error}}\n"
    )
    insecure = tmp_path / "home" / ".config" / "containers" / "registries.conf"
    insecure.parent.mkdir(parents=True)
    insecure.write_text(
        "".join(
            f'[[registry]]\nlocation = "{one}"\ninsecure = true\n'
            for one in (address, "127.0.0.1:9")
        )
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    server = subprocess.Popen(
        ["docker-registry", "serve", str(tmp_path / "registry.yml")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait(address)
        yield _push(Workspace(root=tmp_path / "clone"), address, storage)
    finally:
        server.terminate()
        server.wait()


def _wait(address: str) -> None:
    host, port = address.split(":")
    for _ in range(300):
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the registry did not start")


def _push(workspace: Workspace, address: str, storage: Path) -> Pushed:
    lay_out(workspace)
    add_engine(workspace, "fp16")
    release = publish_on_paper(workspace, "meter-fp16").release
    keygen.keygen(workspace, "ours")
    sign.sign_release(workspace, release, None, None, lambda _: None)
    pack.pack(workspace, release, None, lambda _: None)
    source = f"oci:{workspace.images}:{release}"
    target = f"docker://{address}/jetrail/meter:{release}"
    subprocess.run(["skopeo", "copy", "--quiet", "--preserve-digests", source, target], check=True)
    return Pushed(workspace, release, address, storage)


def test_as_it_was_signed(pushed: Pushed) -> None:
    (one,) = verify.verify(pushed.workspace, pushed.reference, None)
    assert one.statement.predicate.release == pushed.release
    assert (one.digest, one.key.name) == (pushed.digest, "ours")


def test_a_key_that_is_none_of_the_trusted(pushed: Pushed, tmp_path: Path) -> None:
    keys = keygen.keygen(Workspace(root=tmp_path), "other").record_file.parent
    with pytest.raises(WrongEngine, match="none of the trusted keys"):
        verify.verify(None, pushed.reference, keys)


def test_a_registry_that_gives_something_else(pushed: Pushed) -> None:
    """Its disk was altered: skopeo holds the layer against its digest."""
    layer = Layout(pushed.workspace.images).image(pushed.release).manifest.layers[-1]
    name = layer.digest.removeprefix("sha256:")
    (blob,) = pushed.storage.rglob(f"{name}/data")
    blob.write_bytes(blob.read_bytes().replace(b"engine in fp16", b"engine in fp61"))
    with pytest.raises(ServiceError, match="skopeo says"):
        verify.verify(pushed.workspace, pushed.reference, None)


def test_a_digest_that_it_does_not_have(pushed: Pushed) -> None:
    reference = f"{pushed.address}/jetrail/meter@sha256:{'0' * 64}"
    with pytest.raises(ServiceError, match="manifest unknown"):
        verify.verify(pushed.workspace, reference, None)


def test_a_registry_that_is_down(pushed: Pushed) -> None:
    with pytest.raises(ServiceError, match="connection refused"):
        verify.verify(pushed.workspace, f"127.0.0.1:9/jetrail/meter@{pushed.digest}", None)
