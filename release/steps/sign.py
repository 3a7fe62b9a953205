"""sign: who has the key says which files a release is, and what is known of its engine.

ECDSA draws a random number for each signature, so what is signed already is left as it is: the
statement travels in the image, and another one would make another image.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import Conflict, WrongEngine
from engines.files import sha256_file, write_atomic
from engines.records.attestation import Statement, Verified, verify_envelope
from engines.records.trusted_key import TrustedKey
from release.contents import contents_of, refuse_another_statement, why_kept
from release.lineage import data_set_hashes
from release.lock import exclusive
from release.packed import NEW_VERSION, read_image
from release.records import (
    Candidates,
    Signed,
    attestation_path,
    candidates_path,
    chosen_targets,
    refuse_old_layout,
    signed_path,
)
from release.say import Say, in_utc
from release.signing.keys import counting_here, trusted_keys
from release.signing.signer import SigningKey, open_key
from release.signing.statement import describe, says_the_same, seal
from release.tags import release_of


def sign_release(
    workspace: Workspace, release: str, target: str | None, key: str | None, say: Say
) -> Path:
    """Sign one release, where its engine is; gives its attestation.json.

    `key` is a file or a URI; without one it is the only private key of this clone, or else one for
    trying. What the same key signed before, with the same content, stays as it is; without a `key`,
    what any trusted key signed does.

    Raises InputError for a release that was not published, is not of `target`, or whose engine is
    not here, WrongEngine for an engine that changed since or a key that does not count now,
    Conflict for a release that was pushed and a `key` that did not sign it, and ServiceError when a
    token or a cloud does not do its part.
    """
    refuse_old_layout(workspace)
    release = release_of(release, target)
    with exclusive(workspace):
        _refuse_another_key(workspace, release, key)
        return _sign(workspace, release, key, say)


def sign_candidates(
    workspace: Workspace, target: str, key: str | None, say: Say
) -> dict[str, Path]:
    """Sign the candidate of each model on `target`, as `sign_release` does; gives each with its
    attestation.json."""
    refuse_old_layout(workspace)
    (name,) = chosen_targets(workspace, target)
    chosen = Candidates.read(candidates_path(workspace, name)).candidates
    if not chosen:
        say(f"{name}: no engine passed, so there is nothing to sign")
    with exclusive(workspace):
        signed = {
            one.release: _sign(workspace, one.release, key, say)
            for _, one in sorted(chosen.items())
        }
        releases = {one: sha256_file(path) for one, path in signed.items()}
        Signed(target=name, releases=releases).write(signed_path(workspace, name))
        return signed


def _refuse_another_key(workspace: Workspace, release: str, key: str | None) -> None:
    """The statement is in the image, so another one would make another image of a pushed tag."""
    image, path = read_image(workspace, release), attestation_path(workspace, release)
    if key is None or image is None or not image.repositories or not path.is_file():
        return
    wanted = open_key(workspace, key).record
    if _verified(path, [wanted], None) is None:
        raise Conflict(
            f"Expected {wanted.name} to have signed the files of {release}, which was pushed to "
            f"{image.repositories[0]}, but another key did, whose signature goes on counting there "
            f"as long as its record is kept. {NEW_VERSION}"
        )


def _sign(workspace: Workspace, release: str, key: str | None, say: Say) -> Path:
    path = attestation_path(workspace, release)
    if why := why_kept(workspace, release):
        say(f"{release}: stays signed as it is, since {why}{_if_for_nobody(workspace, path)}")
        return path
    refuse_another_statement(workspace, release)
    contents = contents_of(workspace, release)
    publication = contents.publication
    data_sets = data_set_hashes(
        workspace, publication.model, publication.target, publication.engine
    )
    now = datetime.now(timezone.utc).replace(microsecond=0)
    statement = describe(contents, data_sets, now)
    signing = open_key(workspace, key)
    kept = _signed_before(workspace, path, statement, signing, given=key is not None)
    if kept is not None:
        say(f"{release}: signed before, by {kept.name}")
        return path
    data = seal(statement, signing)
    verify_envelope(data, [signing.record], now)
    write_atomic(path, data)
    for_trying = ", a key of this clone for trying only: no pod trusts it" if signing.trying else ""
    say(f"{release}: signed by {signing.record.name}{for_trying}")
    return path


def _if_for_nobody(workspace: Workspace, path: Path) -> str:
    """What to say of a signature that no ring takes: of which no key here is known any
    more, or whose key expired."""
    verified = _verified(path, counting_here(workspace), None)
    if verified is None:
        keys = workspace.relative(workspace.trust)
        return (
            f". No key that signed it counts here: `git log -- {keys}` shows whose record was "
            f"taken away; bring it back if you trust that key. {NEW_VERSION}"
        )
    end = verified.key.valid_until
    if end is not None and end <= datetime.now(timezone.utc):
        return (
            f". Its key {verified.key.name} expired on {in_utc(end)}, so the rule `signature` "
            f"refuses it. {NEW_VERSION}"
        )
    return ""


def _signed_before(
    workspace: Workspace, path: Path, statement: Statement, signing: SigningKey, *, given: bool
) -> TrustedKey | None:
    """Whose signature over the same content is there already and need not be made again."""
    ours = [signing.record] if given else [*trusted_keys(workspace), signing.record]
    verified = _verified(path, ours, statement.predicate.signed_at)
    if verified is None or not says_the_same(verified.statement, statement):
        return None
    return verified.key


def _verified(path: Path, keys: Sequence[TrustedKey], now: datetime | None) -> Verified | None:
    if not path.is_file():
        return None
    try:
        return verify_envelope(path.read_bytes(), keys, now)
    except WrongEngine:
        return None
