"""What a release's attestation says before a promotion: who signed what."""

from __future__ import annotations

from datetime import datetime

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.records.attestation import Verified, verify_envelope
from release.records import Publication, attestation_path
from release.say import in_utc
from release.signing.keys import trusted_keys


def check_signature(view: Workspace, publication: Publication, now: datetime) -> Verified:
    """The statement of a release, signed by a key in `release/trust/keys`, over the very files that
    were published. Raises InputError where there is no key, and WrongEngine with the cause."""
    path = attestation_path(view, publication.release)
    if not path.is_file():
        raise WrongEngine(
            f"it is not signed: there is no {view.relative(path)}; `release sign "
            f"{publication.release}` where its engine is, and commit that file"
        )
    keys = trusted_keys(view)
    if not keys:
        raise InputError(
            "nobody's signature counts yet: no key was pushed in release/trust/keys; make one with "
            "`release keygen` unless you have one, commit and push its public part, and sign with "
            "it"
        )
    found = verify_envelope(path.read_bytes(), keys, where=view.relative(path))
    _refuse_expired(found, now)
    found = verify_envelope(path.read_bytes(), keys, now, where=view.relative(path))
    said, files = found.statement.predicate, found.statement.files
    if said.release != publication.release:
        raise WrongEngine(f"{view.relative(path)} is of another release, {said.release}")
    for name, sha256 in publication.judged.items():
        if files.get(name, sha256) != sha256 or name not in {*files, *said.evidence}:
            raise WrongEngine(f"{view.relative(path)} is over another {name} than was published")
    return found


def _refuse_expired(found: Verified, now: datetime) -> None:
    """What was pushed is never signed again, so that is no way for most that a ring has."""
    end = found.key.valid_until
    if end is not None and now >= end:
        raise WrongEngine(
            f"the key {found.key.name!r}, which signed it on "
            f"{found.statement.predicate.signed_at:%Y-%m-%d}, expired on {in_utc(end)}. A release "
            "that was pushed is never signed again: give the model a new version, which a key that "
            "counts signs, or that key's record in release/trust/keys a later `valid_until`"
        )
