"""`<name>.json` in a folder of trusted keys: whose signature counts, and from when until when.

`release keygen` writes it into `release/trust/keys`, people keep it there; a pod has them from a
ConfigMap.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import AwareDatetime, Field

from engines.errors import InputError
from engines.files import listed
from engines.records.record import Record, Sha256

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

KeyName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class TrustedKey(Record):
    """A public key, and when it counts."""

    written_by: ClassVar[str] = "release keygen"

    name: KeyName
    keyid: Sha256
    """SHA-256 of the public key in DER (SubjectPublicKeyInfo)."""
    public_key: str
    """PEM, of an ECDSA key on P-256."""
    valid_from: AwareDatetime
    valid_until: AwareDatetime | None = None
    """At this moment it does no longer; None: until somebody writes a date here."""

    def counts(self, moment: datetime) -> bool:
        """Whether it counts at that moment."""
        return self.valid_from <= moment and not (self.valid_until and moment >= self.valid_until)


def read_keys(folder: Path) -> tuple[TrustedKey, ...]:
    """The trusted keys of a folder (`release/trust/keys`, a pod's mounted ConfigMap), by name.

    Raises InputError where there is none, or one is not what `release keygen` writes.
    """
    keys = [TrustedKey.read(path) for path in listed(folder, "*.json")]
    if not keys:
        raise InputError(
            f"Expected the public keys that may sign releases in {folder}, got none. In a pod they "
            "come from the ConfigMap `jetrail-keys`, as docs/runtime.md says; elsewhere give the "
            "folder that has them with --keys. Make one with `release keygen NAME` if there is "
            "none yet."
        )
    for key in keys:
        load_public_key(key)
    if len({key.keyid for key in keys}) != len(keys):
        raise InputError(
            f"Expected each key once in {folder}, got one under two names: it could have two "
            "periods in which it counts. Remove one of the files."
        )
    return tuple(keys)


def load_public_key(key: TrustedKey) -> EllipticCurvePublicKey:
    """The key as `cryptography` has it. Raises InputError where it is not on P-256, or is not the
    one that its `keyid` names."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(key.public_key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InputError(
            f"Expected a public key in PEM in the trusted key {key.name!r}, got something else: "
            f"{error}. Write it again with `release keygen`."
        ) from error
    if not (isinstance(public, ec.EllipticCurvePublicKey) and public.curve.name == "secp256r1"):
        raise InputError(
            f"Expected an ECDSA key on P-256 in the trusted key {key.name!r}, got another kind. "
            "Make one with `release keygen NAME`."
        )
    if keyid_of(public) != key.keyid:
        raise InputError(
            f"Expected keyid {keyid_of(public)} in the trusted key {key.name!r}, the SHA-256 of "
            f"its public_key in DER, got {key.keyid}. One of the two was edited: bring the file "
            "back from git."
        )
    return public


def keyid_of(public: EllipticCurvePublicKey) -> str:
    """SHA-256 of the public key in DER, as `openssl pkey -pubin -outform DER | sha256sum` says."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()
