"""What stands beside an image in its registry: its signature, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from engines.errors import WrongEngine
from engines.records.trusted_key import TrustedKey
from release.signing.cosign import (
    INDEX,
    MANIFEST,
    Artifact,
    Claim,
    ImageReference,
    check_signature,
    payloads_of,
    referrers_index,
    sign_image,
)
from release.signing.signer import SigningKey


class Registry(Protocol):
    """A repository, as far as signatures ask of it; `release.image.distribution.Client` is one."""

    def manifest(self, reference: str) -> bytes | None:
        """At a tag or a digest; None where nothing is."""

    def blob(self, digest: str) -> bytes:
        """A small blob, held against its digest."""

    def keeps_referrers(self, digest: str) -> bool:
        """Whether it lists by itself what refers to an image."""

    def put_manifest(self, reference: str, data: bytes, media_type: str) -> None:
        """Under a tag or its digest."""

    def put_blob(self, data: bytes) -> str:
        """Gives its digest."""


def sign_beside(
    registry: Registry,
    image: ImageReference,
    key: SigningKey,
    claims: Sequence[Claim],
    now: datetime,
) -> bool:
    """Put the image's signature and the claims about it beside it, in both of cosign's formats;
    whether that was still to be done. Raises ServiceError as the registry and the key do."""
    if is_signed(registry, image, key.record):
        return False
    _put(registry, image, sign_image(image, key, claims, now))
    return True


def is_signed(registry: Registry, image: ImageReference, key: TrustedKey) -> bool:
    """Whether the image has a signature by this key beside it."""
    manifest = registry.manifest(image.tag(".sig"))
    if manifest is None:
        return False
    try:
        payloads = [registry.blob(one) for one in payloads_of(manifest)]
        check_signature(manifest, payloads, image, [key])
    except WrongEngine:
        return False
    return True


def _put(registry: Registry, image: ImageReference, artifacts: Iterable[Artifact]) -> None:
    """The tag `.sig` comes last: where it is, all the rest is."""
    parts = list(artifacts)
    referrers = [one for one in parts if one.tag is None]
    for one in sorted(parts, key=lambda one: one.tag or ""):
        if one.tag == image.tag(".sig") and not registry.keeps_referrers(image.digest):
            index = referrers_index(registry.manifest(image.tag("")), referrers)
            registry.put_manifest(image.tag(""), index, INDEX)
        for blob in one.blobs:
            registry.put_blob(blob)
        registry.put_manifest(one.tag or one.digest, one.manifest, MANIFEST)
