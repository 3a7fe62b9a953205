"""What `release push` signs in a real registry, and what `release verify` says of it there."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import paper
from standins.registry import Registry, need, running_registry

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError, WrongEngine
from engines.records.attestation import PREDICATE_TYPE
from release.image import retry
from release.image.distribution import Client, parse_repository
from release.image.oci import INDEX, MANIFEST, digest_of
from release.packed import read_image
from release.records import attestation_path
from release.signing.claims import CYCLONEDX, PROVENANCE
from release.signing.cosign import SIGNED
from release.signing.keys import private_file, record_file
from release.steps import keygen, pack, push, sign, verify
from tests.unit.release.publications import publish_on_paper

pytestmark = pytest.mark.integration


def say(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    need("skopeo")
    with running_registry(tmp_path_factory.mktemp("registry")) as one:
        yield one


@pytest.fixture(autouse=True)
def _quick_and_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_SECONDS", 0.05)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))


class Clone:
    """A repository with a release that is packed, and its place in the registry."""

    def __init__(self, root: Path, host: str) -> None:
        self.workspace = Workspace(root=root)
        paper.lay_out(self.workspace)
        paper.add_engine(self.workspace, "fp16")
        self.release = publish_on_paper(self.workspace, "meter-fp16").release
        keygen.keygen(self.workspace, "ours")
        sign.sign_release(self.workspace, self.release, None, None, say)
        pack.pack(self.workspace, self.release, None, say)
        self.path = f"{host}/{root.parent.name.lower().strip('_')}"

    def push(self, key: str | None = None) -> list[str]:
        said: list[str] = []
        push.push(self.workspace, self.release, self.path, said.append, key)
        return said

    @property
    def digest(self) -> str:
        image = read_image(self.workspace, self.release)
        assert image is not None
        return image.digest

    @property
    def reference(self) -> str:
        return f"{self.path}/meter@{self.digest}"

    @property
    def client(self) -> Client:
        return Client(repository=parse_repository(f"{self.path}/meter"), credentials=None, say=say)

    def tag(self, ending: str) -> str:
        return self.digest.replace(":", "-") + ending

    def manifest(self, reference: str) -> dict[str, Any]:
        data = self.client.manifest(reference)
        assert data is not None
        return dict(json.loads(data))

    def verify(self) -> verify.Checked:
        (checked,) = verify.verify(self.workspace, self.reference, None, say)
        return checked


@pytest.fixture
def clone(tmp_path: Path, registry: Registry) -> Clone:
    return Clone(tmp_path / "clone", registry.host)


def test_both_formats_are_there(clone: Clone) -> None:
    clone.push()
    (layer,) = clone.manifest(clone.tag(".sig"))["layers"]
    payload = json.loads(clone.client.blob(layer["digest"]))
    assert payload["critical"]["image"]["docker-manifest-digest"] == clone.digest
    wanted = {PROVENANCE, PREDICATE_TYPE, CYCLONEDX}
    attached = clone.manifest(clone.tag(".att"))["layers"]
    assert {one["annotations"]["predicateType"] for one in attached} == wanted
    assert predicates(clone, attached) == wanted
    # Debian's registry keeps no list of referrers, so the fallback tag has it.
    index = clone.manifest(clone.tag(""))
    assert index["mediaType"] == INDEX
    found = {one["annotations"]["dev.sigstore.bundle.predicateType"] for one in index["manifests"]}
    assert found == {SIGNED, *wanted}
    for one in index["manifests"]:
        manifest = clone.manifest(one["digest"])
        assert manifest["subject"]["digest"] == clone.digest
        assert manifest["subject"]["size"] == len(clone.client.manifest(clone.digest) or b"")
        assert one["mediaType"] == manifest["mediaType"] == MANIFEST


def predicates(clone: Clone, layers: list[dict[str, Any]]) -> set[str]:
    statements = (
        json.loads(base64.b64decode(json.loads(clone.client.blob(one["digest"]))["payload"]))
        for one in layers
    )
    return {one["predicateType"] for one in statements}


def test_signed_once(clone: Clone) -> None:
    clone.push()
    before = clone.client.manifest(clone.tag(".sig"))
    assert clone.push()[-1] == f"{clone.release}: the image is signed already, by ours"
    assert clone.client.manifest(clone.tag(".sig")) == before
    assert len(clone.manifest(clone.tag(""))["manifests"]) == 4


def test_signed_before_by_a_key_that_is_not_here(clone: Clone) -> None:
    clone.push()
    private_file(clone.workspace, "ours").unlink()
    assert clone.push()[-1] == f"{clone.release}: the image is signed already, by ours"


def test_verified(clone: Clone) -> None:
    clone.push()
    checked = clone.verify()
    assert checked.statement.predicate.release == clone.release
    assert (checked.digest, checked.key.name) == (clone.digest, "ours")
    assert checked.image_key == checked.key


def test_without_the_image_s_signature(clone: Clone) -> None:
    """Pushed by a machine that has the files' statement and not the key."""
    private_file(clone.workspace, "ours").unlink()
    assert "the image is not signed, since the key ours" in clone.push()[-1]
    with pytest.raises(WrongEngine, match="Expected a signature of .* beside it, got none"):
        clone.verify()


def test_the_image_s_signature_by_another_key(clone: Clone) -> None:
    """The files are signed by one that counts, the image by one that does not."""
    keygen.keygen(clone.workspace, "other")
    clone.push(str(private_file(clone.workspace, "other")))
    assert clone.verify().key.name == "ours"
    record_file(clone.workspace, "other").unlink()
    with pytest.raises(WrongEngine, match="by a trusted key, got none"):
        clone.verify()


def test_the_image_s_signature_of_another_image(clone: Clone) -> None:
    clone.push()
    signature = clone.client.manifest(clone.tag(".sig"))
    assert signature is not None
    changed = json.loads(signature)
    payload = clone.client.blob(changed["layers"][0]["digest"])
    other = payload.replace(clone.digest.encode(), digest_of(b"x").encode())
    changed["layers"][0]["digest"] = clone.client.put_blob(other)
    clone.client.put_manifest(clone.tag(".sig"), json.dumps(changed).encode(), MANIFEST)
    with pytest.raises(WrongEngine, match="by a trusted key, got none"):
        clone.verify()


def test_no_statement_was_packed(clone: Clone) -> None:
    path = attestation_path(clone.workspace, clone.release)
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(InputError, match="to be the statement that was packed"):
        clone.push()


def test_a_statement_that_no_trusted_key_signed(clone: Clone) -> None:
    record_file(clone.workspace, "ours").unlink()
    with pytest.raises(WrongEngine, match="none of the trusted keys"):
        clone.push()


def test_a_list_of_images(clone: Clone) -> None:
    """By its digest: what it leads to depends on who asks."""
    clone.push()
    image = {"mediaType": MANIFEST, "digest": clone.digest, "size": 1}
    document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]}
    image["size"] = len(clone.client.manifest(clone.digest) or b"")
    data = json.dumps(document).encode()
    clone.client.put_manifest(digest_of(data), data, INDEX)
    with pytest.raises(WrongEngine, match="is not an OCI manifest that can be read"):
        verify.verify(clone.workspace, f"{clone.path}/meter@{digest_of(data)}", None, say)


def test_a_digest_that_it_does_not_have(clone: Clone) -> None:
    clone.push()
    with pytest.raises(ServiceError, match="manifest unknown"):
        verify.verify(clone.workspace, f"{clone.path}/meter@sha256:{'0' * 64}", None, say)


def test_a_registry_that_is_down(clone: Clone) -> None:
    with pytest.raises(ServiceError, match="connection refused"):
        verify.verify(clone.workspace, f"127.0.0.1:9/meter@sha256:{'0' * 64}", None, say)
