"""What signs: a file, or whatever a URI leads to, whose public half must be a trusted key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from factories.paper import edit
from factories.unreadable import make_unreadable
from securesystemslib.signer import SIGNER_FOR_URI_SCHEME, Signature

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from engines.records.trusted_key import TrustedKey, load_public_key
from release.signing.keys import (
    KeyValidity,
    make_pair,
    private_file,
    record_file,
    record_public,
    today,
)
from release.signing.signer import open_key


def make(workspace: Workspace, name: str = "ours") -> Path:
    private = private_file(workspace, name)
    make_pair(name, private, record_file(workspace, name), KeyValidity(begin=today()), None)
    return private


def verifies(record: TrustedKey, data: bytes, signature: bytes) -> None:
    load_public_key(record).verify(signature, data, ec.ECDSA(hashes.SHA256()))


def test_without_a_key_one_for_trying(workspace: Workspace) -> None:
    key = open_key(workspace, None)
    assert key.trying
    verifies(key.record, b"data", key.sign(b"data"))
    assert open_key(workspace, None).record == key.record


def test_the_only_private_key_of_this_clone(workspace: Workspace) -> None:
    make(workspace)
    key = open_key(workspace, None)
    assert (key.record.name, key.trying) == ("ours", False)
    assert not (workspace.trust / "trying").exists()


def test_a_colleague_s_private_keys(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several people use one clone the folder is that of whoever came first."""
    make_unreadable(monkeypatch, make(workspace).parent)
    with pytest.raises(PermissionError, match="private"):
        open_key(workspace, None)
    assert not (workspace.trust / "trying").exists()


def test_two_private_keys(workspace: Workspace) -> None:
    make(workspace)
    private = make(workspace, "second")
    with pytest.raises(InputError, match="here are ours, second: give one"):
        open_key(workspace, None)
    assert open_key(workspace, str(private)).record.name == "second"


def test_two_private_keys_of_which_one_counts(workspace: Workspace) -> None:
    """As after a key was replaced."""
    make(workspace)
    make(workspace, "second")
    edit(record_file(workspace, "ours"), lambda one: one.update(valid_from="2020-01-01T00:00:00Z"))
    edit(record_file(workspace, "ours"), lambda one: one.update(valid_until="2021-01-01T00:00:00Z"))
    assert open_key(workspace, None).record.name == "second"


@pytest.mark.parametrize("scheme", ["", "file:", "file2:"])
def test_a_file(workspace: Workspace, tmp_path: Path, scheme: str) -> None:
    private = make(workspace)
    elsewhere = tmp_path / "elsewhere.pem"
    private.rename(elsewhere)
    key = open_key(workspace, f"{scheme}{elsewhere}")
    verifies(key.record, b"data", key.sign(b"data"))


def test_a_key_that_nobody_trusts(workspace: Workspace) -> None:
    private = make(workspace)
    record_file(workspace, "ours").unlink()
    with pytest.raises(InputError, match="nobody could check its signatures"):
        open_key(workspace, str(private))


def test_a_passphrase_from_the_environment(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = private_file(workspace, "ours")
    make_pair(
        "ours", private, record_file(workspace, "ours"), KeyValidity(begin=today()), b"open sesame"
    )
    with pytest.raises(InputError, match="JETRAIL_KEY_PASSPHRASE, which is not set"):
        open_key(workspace, str(private))
    monkeypatch.setenv("JETRAIL_KEY_PASSPHRASE", "open sesame")
    assert open_key(workspace, str(private)).record.name == "ours"


class Cloud:
    """A KMS as securesystemslib would see it: it has a private key, and fails when told to."""

    def __init__(self, private: ec.EllipticCurvePrivateKey) -> None:
        self.private = private
        self.down = False

    def from_priv_key_uri(self, uri: str, public: Any, secrets: Any = None) -> Cloud:
        if not uri.removeprefix("awskms:"):
            raise ValueError("no key id")
        self.public = public
        return self

    def sign(self, payload: bytes) -> Signature:
        if self.down:
            raise ConnectionError("no route to host")
        signed = self.private.sign(payload, ec.ECDSA(hashes.SHA256()))
        return Signature(self.public.keyid, signed.hex())


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cloud = Cloud(ec.generate_private_key(ec.SECP256R1()))
    monkeypatch.setitem(SIGNER_FOR_URI_SCHEME, "awskms", cloud)
    return cloud


def trust(workspace: Workspace, cloud: Cloud, name: str) -> TrustedKey:
    pem = workspace.root / "cloud.pem"
    public = cloud.private.public_key()
    pem.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return record_public(name, pem, record_file(workspace, name), KeyValidity(begin=today()))


def test_a_cloud_s_key_is_found_among_the_trusted(workspace: Workspace, cloud: Cloud) -> None:
    make(workspace, "first")
    record = trust(workspace, cloud, "second")
    key = open_key(workspace, "awskms:1234")
    assert (key.record, key.trying) == (record, False)
    verifies(record, b"data", key.sign(b"data"))


def test_a_cloud_s_key_that_nobody_trusts(workspace: Workspace, cloud: Cloud) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match="the public half of awskms:1234"):
            open_key(workspace, "awskms:1234")
        if not record_file(workspace, "first").exists():
            make(workspace, "first")


def test_a_cloud_that_is_down(workspace: Workspace, cloud: Cloud) -> None:
    trust(workspace, cloud, "ours")
    cloud.down = True
    with pytest.raises(ServiceError, match="no route to host"):
        open_key(workspace, "awskms:1234")


def test_a_uri_that_is_none(workspace: Workspace, cloud: Cloud) -> None:
    trust(workspace, cloud, "ours")
    with pytest.raises(InputError, match="no key id"):
        open_key(workspace, "awskms:")


@pytest.mark.parametrize("scheme", ["awskms", "gcpkms", "azurekms"])
def test_a_cloud_s_package_that_is_not_there(workspace: Workspace, scheme: str) -> None:
    make(workspace)
    with pytest.raises(InputError, match=rf"pip install 'securesystemslib\[{scheme}\]'"):
        open_key(workspace, f"{scheme}:1234")
