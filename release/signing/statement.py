"""What is said of a release, from its files and the records about it, and its envelope."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime

from engines.errors import WrongEngine
from engines.files import sha256_file
from engines.records.attestation import (
    Digest,
    Envelope,
    MlflowVersion,
    Predicate,
    Signature,
    Statement,
    Subject,
    pre_authentication,
)
from engines.records.verdict import Verdict
from release.contents import Contents
from release.signing.signer import SigningKey


def describe(contents: Contents, data_sets: Mapping[str, str], signed_at: datetime) -> Statement:
    """The statement about a release; `data_sets` are their names and hashes.

    Raises WrongEngine where a file changed after it was judged.
    """
    files = {name: sha256_file(path) for name, path in contents.files.items()}
    judged = contents.judged.verdict.judged
    for name in sorted(files.keys() & judged.keys()):
        if files[name] != judged[name]:
            raise WrongEngine(
                f"{contents.files[name]} was changed while it was being signed. Publish the "
                f"engine again: `release publish --target {contents.publication.target}`."
            )
    return Statement(
        subject=tuple(
            Subject(name=name, digest=Digest(sha256=digest)) for name, digest in files.items()
        ),
        predicate=_predicate(contents, files, data_sets, signed_at),
    )


def _predicate(
    contents: Contents, files: Mapping[str, str], data_sets: Mapping[str, str], signed_at: datetime
) -> Predicate:
    manifest, entry = contents.judged.manifest, contents.publication.mlflow
    return Predicate(
        release=contents.publication.release,
        engine=manifest.engine,
        model=manifest.model,
        model_version=manifest.model_version,
        target=manifest.target,
        precision=manifest.precision,
        engine_sha256=manifest.engine_sha256,
        backend=manifest.backend,
        backend_package=manifest.backend_package,
        backend_version=manifest.backend_version,
        device=manifest.device,
        weights_sha256=manifest.source.weights_sha256,
        onnx_sha256=manifest.source.onnx_sha256,
        data_sets=dict(data_sets),
        evidence={**contents.judged.verdict.judged, Verdict.file: files[Verdict.file]},
        verdict=contents.judged.verdict.verdict,
        mlflow=MlflowVersion(
            registered_model=entry.registered_model, version=entry.version, run_id=entry.run_id
        ),
        git_commit=manifest.source.git_commit,
        signed_at=signed_at,
    )


def seal(statement: Statement, key: SigningKey) -> bytes:
    """The bytes of attestation.json: the statement, signed. Raises ServiceError as the key does."""
    payload = statement.model_dump_json(by_alias=True).encode()
    signature = Signature(
        keyid=key.record.keyid,
        sig=base64.b64encode(key.sign(pre_authentication(payload))).decode(),
    )
    return Envelope(payload=base64.b64encode(payload).decode(), signatures=(signature,)).to_bytes()


def says_the_same(one: Statement, other: Statement) -> bool:
    """Whether two statements differ in nothing but the time of signing."""
    later = one.predicate.model_copy(update={"signed_at": other.predicate.signed_at})
    return one.model_copy(update={"predicate": later}) == other
