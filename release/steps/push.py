"""push: a packed release goes to a registry, under its tag, as the image that git names.

Nothing that is there is sent again, and a tag that another image has there stays that image's. What
the registry has afterwards is read back, so that only what arrived whole is recorded.
"""

from __future__ import annotations

from datetime import datetime, timezone

from engines.config.workspace import Workspace
from engines.errors import Conflict, InputError, ServiceError, WrongEngine
from engines.records.attestation import Verified, verify_envelope
from release.contents import is_statement_of, refuse_another_statement
from release.image.chart import push_chart
from release.image.credentials import find_credentials
from release.image.distribution import Client, Repository, parse_repository
from release.image.layout import Layout
from release.image.oci import digest_of
from release.image.skopeo import push as copy
from release.lock import exclusive
from release.packed import ImageRecord, image_path, read_image
from release.records import (
    Publication,
    attestation_path,
    candidates_of,
    read_publication,
    refuse_old_layout,
)
from release.rollout.fleet_yaml import repository_of
from release.say import Say
from release.signing.beside import is_signed, sign_beside
from release.signing.claims import provenance_claim, sbom_claim, verdict_claim
from release.signing.cosign import ImageReference
from release.signing.keys import counting_here, trusted_keys
from release.signing.signer import open_key
from release.tags import parse_tag

CHART = "release/charts/inference"


def push_candidates(
    workspace: Workspace, target: str | None, registry: str | None, say: Say, key: str | None = None
) -> None:
    """`push` of the candidates of `target`, or of every target there is a record of."""
    candidates = candidates_of(workspace, target)
    if not candidates:
        say("nothing to push, since no engine has the verdict PASS")
    for release in candidates:
        push(workspace, release, registry, say, key)


def push(
    workspace: Workspace, tag: str, registry: str | None, say: Say, key: str | None = None
) -> ImageRecord:
    """Push a release to `registry` (`host[:port]/path`, to which the model's name is added), or to
    the repository from which the first ring's clusters pull, and sign it there with `key` (a file
    or a URI; default: as `release sign`).

    Raises InputError for a release that is not packed here, WrongEngine for an image that is
    altered or was signed by none of the trusted keys, or by that for trying unless the registry is
    on this machine, Conflict where the tag is another image's
    or the chart's version another chart, and ServiceError when the registry, a token or a cloud
    does not do its part.
    """
    refuse_old_layout(workspace)
    release = parse_tag(tag).name
    publication = read_publication(workspace, release)
    image = _recorded(workspace, release)
    signed = _signed(workspace, image)
    repository = _repository(workspace, publication, registry)
    if str(repository) not in image.repositories:
        _refuse_for_trying(workspace, release, repository, signed)
        _refuse_expired(workspace, image, repository)
    client = Client(repository=repository, credentials=find_credentials(str(repository)), say=say)
    # What was pushed from another machine need not lie here: a job of CI has a clone and no images.
    there = str(repository) in image.repositories and _has(client, image)
    if not there:
        _check_packed(workspace, image)
    if there or _has(client, image):
        say(f"{repository}:{release} is there already")
    else:
        say(f"{repository}:{release}: pushing {image.digest}")
        copy(workspace.images, release, repository, client.credentials, say)
        if not _has(client, image):
            raise ServiceError(
                f"Expected {repository} to have {release} after it was pushed, but it does not "
                "give it. See the registry's own log."
            )
        say(f"{repository}:{release} pushed")
    _sign(workspace, client, image, signed, key, say)
    pushed = _record(workspace, image, str(repository))
    registry = str(repository).rpartition("/")[0]
    push_chart(workspace.root / CHART, registry, client.credentials, say)
    return pushed


def _recorded(workspace: Workspace, release: str) -> ImageRecord:
    record = read_image(workspace, release)
    if record is None:
        raise InputError(
            f"Expected an image of {release}, but none is recorded. Run `release pack {release}` "
            "where the engine is."
        )
    return record


def _check_packed(workspace: Workspace, record: ImageRecord) -> None:
    """Refuse an image that does not lie here whole, as its record names it."""
    release, layout = record.release, Layout(workspace.images)
    image = layout.image(release)
    if image.digest != record.digest:
        raise InputError(
            f"Expected {release} in {workspace.relative(workspace.images)} to be the image "
            f"{record.digest}, got {image.digest}. Run `release pack {release}`, or `git pull` "
            "where the record is older."
        )
    layout.check_layers(image)


def _signed(workspace: Workspace, image: ImageRecord) -> Verified:
    """What was signed of the image's files."""
    path = attestation_path(workspace, image.release)
    refuse_another_statement(workspace, image.release)
    if not is_statement_of(workspace, image):
        raise InputError(
            f"Expected {workspace.relative(path)} to be the statement that was packed, got another "
            f"one or none. Run `release sign {image.release}` and `release pack {image.release}`."
        )
    keys = counting_here(workspace)
    return verify_envelope(path.read_bytes(), keys, where=str(path))


def _refuse_for_trying(
    workspace: Workspace, release: str, repository: Repository, signed: Verified
) -> None:
    """Raise WrongEngine for files that no pod would load: their tag is this image's for ever. To a
    registry on this machine they may go, which is for trying too."""
    if repository.plain or signed.key in trusted_keys(workspace):
        return
    raise WrongEngine(
        f"Expected {release} to be signed by one of release/trust/keys before it goes to "
        f"{repository.host}, got {signed.key.name}, a key of this clone for trying, which no pod "
        "trusts; and what was pushed is never signed again. Make a key with `release keygen NAME` "
        f"or name yours in JETRAIL_SIGNING_KEY, run `release sign {release}`, `release pack "
        f"{release}` and `release write`, then push."
    )


def _refuse_expired(workspace: Workspace, image: ImageRecord, repository: Repository) -> None:
    """Raise WrongEngine for files whose key does not count any more, before a registry has the
    image: no ring would take it, and it could not be signed again."""
    if not repository.plain and not image.repositories:
        path, now = attestation_path(workspace, image.release), datetime.now(timezone.utc)
        verify_envelope(path.read_bytes(), trusted_keys(workspace), now, where=str(path))


def _sign(
    workspace: Workspace,
    client: Client,
    record: ImageRecord,
    signed: Verified,
    key: str | None,
    say: Say,
) -> None:
    """Put the image's signature and what is said of it beside it."""
    signing = open_key(workspace, key)
    image = ImageReference(
        repository=str(client.repository), digest=record.digest, size=record.manifest_bytes
    )
    if signing.trying and signing.record != signed.key:
        there = is_signed(client, image, signed.key)
        say(
            f"{record.release}: the image is signed already, by {signed.key.name}"
            if there
            else f"{record.release}: the image is not signed, since the key {signed.key.name} of "
            "its files is not here; push again with --key"
        )
        return
    base = f"{record.base.name}@{record.base.digest}" if record.base else None
    statement = signed.statement
    claims = [
        provenance_claim(statement, base),
        verdict_claim(statement),
        sbom_claim(statement, base),
    ]
    new = sign_beside(client, image, signing, claims, datetime.now(timezone.utc))
    how = "" if new else " already,"
    say(f"{record.release}: the image is signed{how} by {signing.record.name}")


def _repository(workspace: Workspace, publication: Publication, registry: str | None) -> Repository:
    if registry is None:
        return parse_repository(repository_of(workspace, publication))
    return parse_repository(f"{registry.rstrip('/')}/{publication.model}")


def _has(client: Client, image: ImageRecord) -> bool:
    """Whether the registry has the image under its tag. Raises Conflict where it is another's."""
    found = client.manifest(image.release)
    if found is None:
        return False
    if digest_of(found) != image.digest:
        raise Conflict(
            f"Expected {client.repository}:{image.release} to be {image.digest}, but it is "
            f"{digest_of(found)} there. A tag never moves: this release was packed before, by "
            "somebody else or with records that are gone since, as after `git revert`. Take those "
            "records (`git pull`). Where no branch has them, remove "
            f"release/records/{image.release}/attestation.json, run `release sign --target "
            f"{parse_tag(image.release).target} --pushed`, which takes the statement of a "
            f"candidate from the registry, and `release pack {image.release}`, then push again. If "
            "it is another image still, release a new version of the model."
        )
    return True


def _record(workspace: Workspace, image: ImageRecord, repository: str) -> ImageRecord:
    with exclusive(workspace):
        now = read_image(workspace, image.release)
        if now is None or now.digest != image.digest:
            raise Conflict(
                f"{image.release} was packed again while it was pushed, as another image. "
                f"{repository} has {image.digest}: bring its record back with `git checkout`."
            )
        pushed = now.model_copy(
            update={"repositories": tuple(sorted({*now.repositories, repository}))}
        )
        if pushed != now:
            pushed.write(image_path(workspace, image.release))
        return pushed
