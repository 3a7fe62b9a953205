"""Keys: the private half is its owner's, the public half a record; nothing is overwritten."""

from __future__ import annotations

import os
import stat
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.trusted_key import read_keys
from release.signing.keys import (
    KeyValidity,
    make_pair,
    make_trying_key,
    private_file,
    read_private,
    record_file,
    record_public,
    today,
    trusted_keys,
    trying_key,
)


def make(workspace: Workspace, name: str = "ours", passphrase: bytes | None = None) -> Path:
    private = private_file(workspace, name)
    make_pair(name, private, record_file(workspace, name), KeyValidity(begin=today()), passphrase)
    return private


def test_a_new_pair(workspace: Workspace) -> None:
    private = make(workspace)
    (record,) = trusted_keys(workspace)
    assert record.name == "ours"
    assert record.valid_from <= datetime.now(timezone.utc)
    assert record.valid_until is None
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert stat.S_IMODE(private.parent.stat().st_mode) == 0o700
    public = read_private(private, None).public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert record.public_key == pem


def test_openssl_knows_it_by_the_same_name(workspace: Workspace) -> None:
    """The keyid is what anybody can compute."""
    private = make(workspace)
    done = subprocess.run(
        f"openssl pkey -in {private} -pubout -outform DER | openssl dgst -sha256 -r",
        **{"shell": True, "capture_output": True, "text": True, "check": True},
    )
    assert done.stdout.split()[0] == trusted_keys(workspace)[0].keyid


def test_mode_whatever_the_umask(workspace: Workspace) -> None:
    before = os.umask(0)
    try:
        assert stat.S_IMODE(make(workspace).stat().st_mode) == 0o600
    finally:
        os.umask(before)


def test_passphrase(workspace: Workspace) -> None:
    private = make(workspace, passphrase=b"open sesame")
    assert b"ENCRYPTED" in private.read_bytes()
    assert read_private(private, b"open sesame")
    with pytest.raises(InputError, match="environment variable JETRAIL_KEY_PASSPHRASE"):
        read_private(private, None)
    with pytest.raises(InputError, match="another passphrase"):
        read_private(private, b"guess")


def test_a_passphrase_that_no_key_asks_for(workspace: Workspace) -> None:
    """The variable may be set for another key."""
    assert read_private(make(workspace), b"not needed")


def test_nothing_is_overwritten(workspace: Workspace) -> None:
    private = make(workspace)
    before = {path: path.read_bytes() for path in workspace.trust.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="keys are never overwritten"):
        make(workspace)
    assert all(path.read_bytes() == content for path, content in before.items())
    assert private in before


def test_cut_off_between_the_halves(workspace: Workspace) -> None:
    private = make(workspace)
    before = record_file(workspace, "ours").read_bytes()
    record_file(workspace, "ours").unlink()
    content = private.read_bytes()
    make(workspace)
    assert private.read_bytes() == content
    assert record_file(workspace, "ours").read_bytes() == before


def test_cut_off_and_another_passphrase(workspace: Workspace) -> None:
    make(workspace, passphrase=b"one")
    record_file(workspace, "ours").unlink()
    with pytest.raises(InputError, match="another passphrase"):
        make(workspace, passphrase=b"two")


def write_public(path: Path, public: object) -> Path:
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined]
    path.write_bytes(pem)
    return path


def test_a_key_that_lies_elsewhere(workspace: Workspace, tmp_path: Path) -> None:
    pem = write_public(tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1()).public_key())
    validity = KeyValidity(
        begin=datetime(2026, 1, 1, tzinfo=timezone.utc),
        end=datetime(2027, 1, 1, tzinfo=timezone.utc),
    )
    record = record_public("token", pem, record_file(workspace, "token"), validity)
    assert trusted_keys(workspace) == (record,)
    assert record.public_key == pem.read_text()
    assert (record.valid_from, record.valid_until) == (validity.begin, validity.end)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: path.write_text("no PEM"), "got something else. Export it"),
        (
            lambda path: write_public(path, ec.generate_private_key(ec.SECP384R1()).public_key()),
            "one of another kind",
        ),
        (
            lambda path: write_public(path, rsa.generate_private_key(65537, 2048).public_key()),
            "one of another kind",
        ),
        (lambda path: None, "it is not there"),
    ],
)
def test_what_is_no_public_key_of_ours(
    workspace: Workspace, tmp_path: Path, write: object, said: str
) -> None:
    write(tmp_path / "key.pem")  # type: ignore[operator]
    with pytest.raises(InputError, match=said):
        record_public(
            "x", tmp_path / "key.pem", record_file(workspace, "x"), KeyValidity(begin=today())
        )
    assert trusted_keys(workspace) == ()


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\n"])
def test_what_is_no_private_key(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(InputError, match="Expected a private key in PEM"):
        read_private(tmp_path / "key.pem", None)


def test_a_private_key_of_another_kind(tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(data)
    with pytest.raises(InputError, match="Expected an ECDSA key on P-256"):
        read_private(tmp_path / "key.pem", None)


def test_no_private_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Make one with `release keygen NAME`"):
        read_private(tmp_path / "key.pem", None)


def test_the_key_for_trying(workspace: Workspace) -> None:
    assert trying_key(workspace) is None
    private = make_trying_key(workspace)
    content = private.read_bytes()
    assert make_trying_key(workspace) == private
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    # Every command looks at the public half, as another user of the repository too.
    assert stat.S_IMODE(private.parent.stat().st_mode) == stat.S_IMODE(
        (private.parent / "keys").stat().st_mode
    )
    assert private.read_bytes() == content
    record = trying_key(workspace)
    assert record is not None
    assert trusted_keys(workspace) == ()
    assert private.is_relative_to(workspace.root / "release" / "trust" / "trying")
    assert read_keys(workspace.trust / "trying" / "keys") == (record,)


def test_git_never_sees_a_private_key() -> None:
    root = Path(__file__).parents[4]
    for path in ("private/ours.pem", "trying/for-trying.pem", "trying/keys/for-trying.json"):
        done = subprocess.run(
            ["git", "check-ignore", "-q", f"release/trust/{path}"], cwd=root, check=False
        )
        assert done.returncode == 0, path
