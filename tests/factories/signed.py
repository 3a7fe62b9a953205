"""Keys, and files of a release signed with one; nothing of it goes through `release sign`."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from factories.records import BUDGETS, benchmark, evaluation, judge, manifest

from engines.records.attestation import (
    FILE,
    Envelope,
    MlflowVersion,
    Predicate,
    Signature,
    Statement,
    pre_authentication,
)
from engines.records.evaluation import Evaluation
from engines.records.manifest import Manifest
from engines.records.trusted_key import TrustedKey, keyid_of
from engines.records.verdict import Verdict

SIGNED_AT = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
FILES = ("engine.blob", "evaluation.json", "manifest.json", "verdict.json")
RELEASE = "v1.0-t-fp16-" + hashlib.sha256(b"an engine").hexdigest()[:12]


@dataclass(frozen=True)
class Signer:
    """A key pair of a test."""

    name: str = "ours"

    @cached_property
    def private(self) -> ec.EllipticCurvePrivateKey:
        return ec.generate_private_key(ec.SECP256R1())

    def record(self, valid_from: int = 2026, valid_until: int | None = None) -> TrustedKey:
        """The public key, which counts from the first day of one year until that of another."""
        public = self.private.public_key()
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        return TrustedKey(
            name=self.name,
            keyid=keyid_of(public),
            public_key=pem,
            valid_from=new_year(valid_from),
            valid_until=None if valid_until is None else new_year(valid_until),
        )

    def envelope(self, statement: Statement | bytes) -> bytes:
        """`attestation.json` of a statement, or of whatever bytes."""
        payload = statement if isinstance(statement, bytes) else payload_of(statement)
        signed = self.private.sign(pre_authentication(payload), ec.ECDSA(hashes.SHA256()))
        return Envelope(
            payload=base64.b64encode(payload).decode(),
            signatures=(
                Signature(keyid=self.record().keyid, sig=base64.b64encode(signed).decode()),
            ),
        ).to_bytes()


def new_year(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=timezone.utc)


def payload_of(statement: Statement) -> bytes:
    return statement.model_dump_json(by_alias=True).encode()


def write_files(folder: Path) -> dict[str, str]:
    """The files of a release without its attestation, into `folder`; gives their hashes."""
    engine = b"an engine"
    one = manifest(len(engine)).model_copy(
        update={"engine_sha256": hashlib.sha256(engine).hexdigest()}
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / one.engine_file).write_bytes(engine)
    one.write(folder / Manifest.file)
    evaluation().write(folder / Evaluation.file)
    verdict = judge(one, benchmark(), evaluation(), BUDGETS)
    verdict.write(folder / Verdict.file)
    return {path.name: _sha256(path) for path in folder.iterdir()}


def statement_of(folder: Path, **changes: Any) -> Statement:
    """What is signed of the files there, with fields of the predicate changed."""
    one = Manifest.read(folder / Manifest.file)
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir()) if path.name != FILE}
    names = ("engine", "model", "model_version", "target", "precision", "engine_sha256")
    fields = {
        **{name: getattr(one, name) for name in (*names, "device")},
        **{name: getattr(one, name) for name in ("backend", "backend_package", "backend_version")},
        "release": RELEASE,
        "weights_sha256": one.source.weights_sha256,
        "onnx_sha256": one.source.onnx_sha256,
        "data_sets": {"evaluation": f"md5:{'e' * 32}.dir"},
        "evidence": files,
        "verdict": "PASS",
        "mlflow": MlflowVersion(registered_model="m.t", version=1, run_id="0a1b"),
        "git_commit": one.source.git_commit,
        "signed_at": SIGNED_AT,
    }
    return Statement(
        subject=tuple({"name": name, "digest": {"sha256": sha}} for name, sha in files.items()),
        predicate=Predicate(**(fields | changes)),
    )


def sign_folder(folder: Path, signer: Signer, **changes: Any) -> Path:
    """Write the files of a release and their attestation into `folder`."""
    write_files(folder)
    (folder / FILE).write_bytes(signer.envelope(statement_of(folder, **changes)))
    return folder


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
