"""What signs: a key in a file, on a PKCS#11 token (`hsm:`), or at a cloud by its URI.

The schemes of the URIs are those of securesystemslib
(https://github.com/secure-systems-lab/securesystemslib), and each wants a package that only its
users install.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from engines.files import listed
from engines.records.trusted_key import TrustedKey, keyid_of, load_public_key
from release.signing.keys import (
    PASSPHRASE,
    make_trying_key,
    passphrase_given,
    private_file,
    read_private,
    trusted_keys,
    trying_key,
)

if TYPE_CHECKING:
    from securesystemslib.signer import Key, Signer

SCHEMES = {
    "hsm": "securesystemslib[hsm]",
    "gcpkms": "securesystemslib[gcpkms]",
    "awskms": "securesystemslib[awskms]",
    "azurekms": "securesystemslib[azurekms]",
    "hv": "securesystemslib[vault]",
}
"""Scheme of a key's URI to what pip installs for it."""
FILE_SCHEMES = ("file", "file2")
PROBE = b"jetrail: which key is this?"
"""Signed to see whose key a URI leads to; it is no statement, so the signature is worth nothing."""


@dataclass(frozen=True, kw_only=True)
class SigningKey:
    """A private key that can be used, and the record of its public half."""

    record: TrustedKey
    trying: bool
    """Whether it is this clone's own key for trying, which no pod trusts."""
    signer: Signer

    def sign(self, data: bytes) -> bytes:
        """ECDSA over SHA-256 of `data`, in DER. Raises ServiceError when the token or the cloud
        does not do its part."""
        return _sign(self.signer, data, self.record.name)


def open_key(workspace: Workspace, key: str | None) -> SigningKey:
    """The key in a file or at a URI; without one the only private key of this clone that counts
    today, or else the one for trying, which is made if need be.

    Raises InputError where there is none, it cannot be opened, or its public half is not among the
    trusted keys, and ServiceError when a token or a cloud does not do its part.
    """
    scheme, _, path = key.partition(":") if key else ("", "", "")
    if key and scheme in SCHEMES:
        return _open_uri(workspace, key, scheme)
    if key:
        return _open_file(workspace, Path(path if scheme in FILE_SCHEMES else key))
    own = listed(workspace.trust / "private", "*.pem")
    if len(own) > 1:
        now = datetime.now(timezone.utc)
        counting = {one.name for one in trusted_keys(workspace) if one.counts(now)}
        own = [one for one in own if one.stem in counting] or own
    if len(own) > 1:
        raise InputError(
            f"Expected --key (or JETRAIL_SIGNING_KEY) to say which key signs, got none, and here "
            f"are {', '.join(one.stem for one in own)}: give one, as in `--key "
            f"{workspace.relative(private_file(workspace, own[0].stem))}`."
        )
    return _open_file(workspace, own[0] if own else make_trying_key(workspace))


def _open_file(workspace: Workspace, path: Path) -> SigningKey:
    from securesystemslib.signer import CryptoSigner, SSlibKey

    private = read_private(path, passphrase_given())
    keyid = keyid_of(private.public_key())
    trying = trying_key(workspace)
    known = [*trusted_keys(workspace), *([trying] if trying else [])]
    record = next((one for one in known if one.keyid == keyid), None)
    if record is None:
        raise _unknown(workspace, str(path))
    public = SSlibKey.from_crypto(private.public_key(), keyid)
    return SigningKey(record=record, trying=record == trying, signer=CryptoSigner(private, public))


def _open_uri(workspace: Workspace, uri: str, scheme: str) -> SigningKey:
    """The key at a URI. What it signs tells which of the trusted keys it is, so that nobody has to
    say so and no cloud has to be asked for a public key."""
    from securesystemslib.signer import SSlibKey

    records = trusted_keys(workspace)
    if not records:
        raise _unknown(workspace, uri)
    public = SSlibKey.from_crypto(load_public_key(records[0]), records[0].keyid)
    signer = _load_signer(uri, scheme, public)
    signature = _sign(signer, PROBE, uri)
    record = next((one for one in records if _signed_by(one, signature)), None)
    if record is None:
        raise _unknown(workspace, uri)
    return SigningKey(record=record, trying=False, signer=signer)


def _load_signer(uri: str, scheme: str, public: Key) -> Signer:
    from securesystemslib.exceptions import UnsupportedLibraryError
    from securesystemslib.signer import Signer

    try:
        return Signer.from_priv_key_uri(uri, public, _secret)
    except UnsupportedLibraryError as error:
        raise InputError(
            f"Expected the package that keys at {scheme}: need, but {error}. Install it: `pip "
            f"install '{SCHEMES[scheme]}'`."
        ) from error
    except ValueError as error:
        raise InputError(f"Expected the URI of a key, got {uri!r}: {error}.") from error


def _sign(signer: Signer, data: bytes, name: str) -> bytes:
    try:
        return bytes.fromhex(signer.sign(data).signature)
    except InputError:
        raise
    except Exception as error:  # each token and cloud has exceptions of its own
        said = str(error) or type(error).__name__
        raise ServiceError(
            f"Expected a signature by the key {name}, but its token or service did not give one: "
            f"{said}. See that it is there, that it has this key, and that you may use it."
        ) from error


def _secret(name: str) -> str:
    secret = passphrase_given()
    if secret is None:
        raise InputError(
            f"Expected the {name} of the key in the environment variable {PASSPHRASE}, which is "
            "not set."
        )
    return secret.decode()


def _signed_by(record: TrustedKey, signature: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        load_public_key(record).verify(signature, PROBE, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _unknown(workspace: Workspace, key: str) -> InputError:
    return InputError(
        f"Expected the public half of {key} among {workspace.relative(workspace.trusted_keys)}, "
        "since nobody could check its signatures, but it is not there. Write its record with "
        "`release keygen NAME --public FILE` (the public key in PEM)."
    )
