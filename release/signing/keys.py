"""Key pairs: the private half in a file that its owner alone can read, the public half a record.

    release/trust/keys/<name>.json      TrustedKey: people's, in git; whose signature counts
    release/trust/private/<name>.pem    the private half, outside git (a file anywhere else will do)
    release/trust/trying/               a key of this clone for trying, outside git, both halves

Nothing here is ever overwritten: a key that is gone cannot be had back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import atomic_path, listed
from engines.records.trusted_key import TrustedKey, keyid_of, load_public_key, read_keys

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PASSPHRASE = "JETRAIL_KEY_PASSPHRASE"
"""Environment variable with the passphrase of a key's file, or the PIN of a token."""
TRYING = "for-trying"
"""Name of the key that a clone makes for itself."""


@dataclass(frozen=True, kw_only=True)
class KeyValidity:
    """From when until when a key counts; None: until somebody writes a date into its record."""

    begin: datetime
    end: datetime | None = None


def today() -> datetime:
    """The last midnight (UTC): clocks may differ by minutes."""
    now = datetime.now(timezone.utc)
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def trusted_keys(workspace: Workspace) -> tuple[TrustedKey, ...]:
    """The keys that people keep in release/trust/keys; none at first."""
    folder = workspace.trusted_keys
    return read_keys(folder) if listed(folder, "*.json") else ()


def trying_key(workspace: Workspace) -> TrustedKey | None:
    """The key for trying of this clone, if it has one."""
    folder = workspace.trust / "trying" / "keys"
    return read_keys(folder)[0] if listed(folder, "*.json") else None


def counting_here(workspace: Workspace) -> tuple[TrustedKey, ...]:
    """Those whose signature counts in this clone: the trusted ones, and its own for trying."""
    trying = trying_key(workspace)
    return (*trusted_keys(workspace), *([trying] if trying else ()))


def make_trying_key(workspace: Workspace) -> Path:
    """The private half of this clone's key for trying, which is made the first time. It has no
    passphrase: nobody but this clone trusts it."""
    folder = workspace.trust / "trying"
    private = folder / f"{TRYING}.pem"
    if trying_key(workspace) is None or not private.is_file():
        record = folder / "keys" / f"{TRYING}.json"
        folder.mkdir(parents=True, exist_ok=True)  # open to others: they read the public half in it
        make_pair(TRYING, private, record, KeyValidity(begin=today()), passphrase=None)
    return private


def private_file(workspace: Workspace, name: str) -> Path:
    """Where the private half of a key lies unless its owner keeps it elsewhere."""
    return workspace.trust / "private" / f"{name}.pem"


def record_file(workspace: Workspace, name: str) -> Path:
    return workspace.trusted_keys / f"{name}.json"


def make_pair(
    name: str, private: Path, record: Path, validity: KeyValidity, passphrase: bytes | None
) -> TrustedKey:
    """A new key pair on P-256: `private` with mode 0600, then `record`.

    Where only `private` is there, a command before this one was cut off: its key is taken. Raises
    InputError where `record` is there already, or the key in `private` cannot be read.
    """
    _refuse_existing(record)
    if private.exists():
        key = read_private(private, passphrase)
    else:
        key = _generate()
        _write_private(private, key, passphrase)
    return _write_record(name, key.public_key(), record, validity)


def record_public(name: str, pem: Path, record: Path, validity: KeyValidity) -> TrustedKey:
    """Write the record of a key whose private half is on a token or at a cloud, from the public
    half in PEM. Raises InputError where it is no key on P-256, or the record is there already."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    _refuse_existing(record)
    try:
        public = load_pem_public_key(pem.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"Expected a public key in PEM in {pem}, but it is not there.") from error
    except ValueError as error:
        raise InputError(
            f"Expected a public key in PEM in {pem}, got something else. Export it from the token "
            "or the cloud; for a key in DER: `openssl pkey -pubin -inform DER -in FILE`."
        ) from error
    if not isinstance(public, EllipticCurvePublicKey) or public.curve.name != "secp256r1":
        raise InputError(f"Expected an ECDSA key on P-256 in {pem}, got one of another kind.")
    return _write_record(name, public, record, validity)


def read_private(path: Path, passphrase: bytes | None) -> EllipticCurvePrivateKey:
    """The private key in a PEM file. Raises InputError where it is none on P-256, or the passphrase
    does not open it."""
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    data = _read(path)
    try:
        key = load_pem_private_key(data, passphrase if b"ENCRYPTED" in data else None)
    except TypeError as error:
        raise InputError(
            f"Expected the passphrase of {path} in the environment variable {PASSPHRASE}, which is "
            "not set."
        ) from error
    except ValueError as error:
        raise InputError(
            f"Expected a private key in PEM in {path} that the passphrase in {PASSPHRASE} opens, "
            "got another file or another passphrase."
        ) from error
    if not isinstance(key, EllipticCurvePrivateKey) or key.curve.name != "secp256r1":
        raise InputError(
            f"Expected an ECDSA key on P-256 in {path}, got one of another kind. Make one with "
            "`release keygen NAME`."
        )
    return key


def passphrase_given() -> bytes | None:
    """The passphrase or PIN in the environment; None where there is none."""
    return os.environ.get(PASSPHRASE, "").encode() or None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(
            f"Expected a private key in {path}, but it is not there. Make one with `release keygen "
            "NAME`, or give its file or URI with --key."
        ) from error


def _generate() -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _write_private(path: Path, key: EllipticCurvePrivateKey, passphrase: bytes | None) -> None:
    from cryptography.hazmat.primitives import serialization as pem

    locked = pem.BestAvailableEncryption(passphrase) if passphrase else pem.NoEncryption()
    data = key.private_bytes(pem.Encoding.PEM, pem.PrivateFormat.PKCS8, locked)
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
    with atomic_path(path) as temporary:
        temporary.touch(mode=0o600)
        temporary.write_bytes(data)


def _write_record(
    name: str, public: EllipticCurvePublicKey, path: Path, validity: KeyValidity
) -> TrustedKey:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    record = TrustedKey(
        name=name,
        keyid=keyid_of(public),
        public_key=public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        valid_from=validity.begin,
        valid_until=validity.end,
    )
    load_public_key(record)
    record.write(path)
    return record


def _refuse_existing(record: Path) -> None:
    if record.exists():
        raise InputError(
            f"Expected a name for the key that is not taken, but {record} is there and keys are "
            "never overwritten. Give another name."
        )
