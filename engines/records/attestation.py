"""`attestation.json`: who says that the files of a release may run, and which files those are.

A DSSE envelope (https://github.com/secure-systems-lab/dsse/blob/master/protocol.md) around an
in-toto statement (https://github.com/in-toto/attestation/tree/main/spec/v1): every file under
`/models` by its sha256, and what is known of the engine. `release sign` writes it; a pod and
`release verify` check it here.

A key's dates are held against the day on which the statement says it was signed, for which the
key's owner signs: a pod may wake in 1970 or ten years ahead, and must start in both. Who decides
with a clock that is right (`release verify`) gives `now` too: the key must count today as well.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, NamedTuple, TypeVar

from pydantic import AwareDatetime, Field, ValidationError

from engines.errors import WrongEngine
from engines.records.explain import explain
from engines.records.fingerprint import Fingerprint
from engines.records.record import Part, Precision, Sha256, VerdictName
from engines.records.trusted_key import TrustedKey, load_public_key

FILE = "attestation.json"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:jetrail:engine-release:v1"
MAX_BYTES = 1 << 20
"""Of the file: a statement has a few kilobytes."""
CLOCK_SLACK = timedelta(minutes=10)
"""By so much the clocks of the machine that signs and of the one that verifies may differ."""

AnyPart = TypeVar("AnyPart", bound=Part)
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class Digest(Part):
    sha256: Sha256


class Subject(Part):
    """One file that the statement speaks of."""

    name: FileName
    digest: Digest


class MlflowVersion(Part):
    """Where MLflow has the engine."""

    registered_model: str
    version: int = Field(ge=1)
    run_id: str


class Predicate(Part):
    """What is known of a release, from its checkpoint to the gate's word."""

    release: str
    """The image tag without a digest."""
    engine: str
    model: str
    model_version: str
    target: str
    precision: Precision
    engine_sha256: Sha256
    backend: str
    backend_package: str
    backend_version: str
    device: Fingerprint
    """Of the device that the engine was built on and is tied to, its JetPack among the rest."""
    weights_sha256: Sha256
    """Of the checkpoint."""
    onnx_sha256: Sha256
    data_sets: dict[str, str]
    """Data set (calibration, tuning, evaluation) to the hash by which DVC finds it again,
    `md5:<32 hex>.dir`; one that DVC does not know is not there."""
    evidence: dict[str, Sha256]
    """File to its sha256: the verdict, and all that it was judged by."""
    verdict: VerdictName
    mlflow: MlflowVersion
    git_commit: str
    """That the engine was built from; empty without git."""
    signed_at: AwareDatetime


class Statement(Part):
    """An in-toto statement, version 1."""

    type_: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT_TYPE, alias="_type")
    subject: Annotated[tuple[Subject, ...], Field(min_length=1, max_length=64)]
    predicate_type: Literal["urn:jetrail:engine-release:v1"] = Field(
        default=PREDICATE_TYPE, alias="predicateType"
    )
    predicate: Predicate

    @property
    def files(self) -> dict[str, str]:
        """Name under `/models` to the sha256 that was signed."""
        return {one.name: one.digest.sha256 for one in self.subject}


class Signature(Part):
    keyid: Sha256
    sig: str
    """ECDSA over SHA-256 in DER, in base64."""


class Envelope(Part):
    """DSSE: a payload, and who signed it."""

    payload_type: Literal["application/vnd.in-toto+json"] = Field(
        default=PAYLOAD_TYPE, alias="payloadType"
    )
    payload: str
    """The statement's JSON, in base64."""
    signatures: Annotated[tuple[Signature, ...], Field(min_length=1, max_length=1)]

    def to_bytes(self) -> bytes:
        """The one way in which an envelope is written: another is not accepted."""
        return (self.model_dump_json(indent=2, by_alias=True) + "\n").encode()


class Verified(NamedTuple):
    """A statement that a trusted key signed."""

    statement: Statement
    key: TrustedKey


def pre_authentication(payload: bytes) -> bytes:
    """What is signed of a payload: DSSE's encoding of its type and itself."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def verify_envelope(
    data: bytes, keys: Iterable[TrustedKey], now: datetime | None = None, *, where: str = FILE
) -> Verified:
    """The statement in an envelope, given as the bytes of the file, when a trusted key signed it.

    The key must have counted when the statement was signed; with `now` it must count today too, and
    the statement may not be of tomorrow. Raises WrongEngine with the cause, `where` named in it.
    """
    envelope = _read_envelope(data, where)
    payload = _decode(envelope.payload, where)
    signature = envelope.signatures[0]
    key = next((one for one in keys if one.keyid == signature.keyid), None)
    if key is None:
        raise WrongEngine(
            f"{where} is signed by the key {signature.keyid[:16]}…, which is none of the trusted "
            "keys. Add its record to the folder of trusted keys if you trust it, or sign the "
            "release with one that is there."
        )
    _check_signature(payload, _decode(signature.sig, where), key, where)
    statement = _read_statement(payload, where)
    _check_dates(statement.predicate.signed_at, key, now, where)
    if statement.predicate.verdict != "PASS":
        raise WrongEngine(
            f"Expected the verdict PASS in {where}, got {statement.predicate.verdict}: the engine "
            "did not pass its gate. Release one that did."
        )
    return Verified(statement, key)


def _read_envelope(data: bytes, where: str) -> Envelope:
    if len(data) > MAX_BYTES:
        raise _not_ours(where, f"it has more than {MAX_BYTES} bytes")
    envelope = _parse(Envelope, data, where)
    if envelope.to_bytes() != data:
        raise _not_ours(where, "it is written in another way than `release sign` writes it")
    return envelope


def _read_statement(payload: bytes, where: str) -> Statement:
    statement = _parse(Statement, payload, where)
    if len(statement.files) != len(statement.subject):
        raise _not_ours(where, "it names a file twice")
    if FILE in statement.files:
        raise _not_ours(where, "it names itself")
    return statement


def _parse(kind: type[AnyPart], data: bytes, where: str) -> AnyPart:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise _not_ours(where, explain(error)) from error


def _decode(text: str, where: str) -> bytes:
    """Base64 in its one canonical spelling, so that no bit of the text is without a meaning."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _not_ours(where, f"base64 in it cannot be read ({error})") from error
    if base64.b64encode(data).decode() != text:
        raise _not_ours(where, "base64 in it is not spelled canonically")
    return data


def _not_ours(where: str, problem: str) -> WrongEngine:
    return WrongEngine(
        f"{where} was altered or is no statement of `release sign`: {problem}. Take the release's "
        "image again, or sign the release again."
    )


def _check_signature(payload: bytes, signature: bytes, key: TrustedKey, where: str) -> None:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    scheme = ec.ECDSA(hashes.SHA256())
    try:
        load_public_key(key).verify(signature, pre_authentication(payload), scheme)
    except InvalidSignature as error:
        raise WrongEngine(
            f"The signature in {where} is not that of the key {key.name!r} over this statement: "
            "one of the two was altered. Take the release's image again, or sign the release again."
        ) from error


def _check_dates(signed_at: datetime, key: TrustedKey, now: datetime | None, where: str) -> None:
    if now is not None and signed_at > now + CLOCK_SLACK:
        raise WrongEngine(
            f"{where} was signed on {_day(signed_at)}, and this machine's clock says {_day(now)}. "
            "Set the clock that is wrong; if it was the signer's, sign the release again."
        )
    moments = [("when the release was signed", signed_at)]
    moments += [("today by this machine's clock", now)] if now is not None else []
    for when, moment in moments:
        if moment < key.valid_from:
            raise WrongEngine(
                f"The key {key.name!r} of {where} counts from {_day(key.valid_from)} on; "
                f"{when} it was {_day(moment)}, so it is not valid yet. Set the clock of "
                "that machine if it is behind, and sign the release again; or sign it with a key "
                "that counts."
            )
        if key.valid_until is not None and moment >= key.valid_until:
            raise WrongEngine(
                f"The key {key.name!r} of {where} expired on {_day(key.valid_until)}; {when} it "
                f"was {_day(moment)}. Sign the release again with a key that counts."
            )


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M %Z")
