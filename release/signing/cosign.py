"""An image's signature and attestations as cosign stores them in a registry, in both formats.

Readers of one often cannot read the other: policy-controller takes keys only in the older one,
cosign 3 writes the newer one. So both are made:

    tag `sha256-<hex>.sig`   simple signing: a payload that names the image, its signature beside it
    tag `sha256-<hex>.att`   attestations: in-toto statements about the image in DSSE envelopes
    referrers                Sigstore bundles of the image: one that signs it, one a statement

https://github.com/sigstore/cosign/tree/main/specs (SIGNATURE_SPEC, ATTESTATION_SPEC, BUNDLE_SPEC)
and https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto. What they
leave open is as cosign 3 itself writes it. Nothing here talks to a registry, and nothing goes to a
public log: who has the public key needs none.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engines.errors import WrongEngine
from engines.records.attestation import PAYLOAD_TYPE, pre_authentication
from engines.records.trusted_key import TrustedKey, load_public_key
from release.signing.signer import SigningKey

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
DSSE = "application/vnd.dsse.envelope.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
SIGNATURE_KEY = "dev.cosignproject.cosign/signature"
SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""Predicate type of a bundle that says nothing but that the image is signed."""


@dataclass(frozen=True, kw_only=True)
class ImageReference:
    """What is signed: an image by its digest, in a repository."""

    repository: str
    """With the registry, as in `registry.example/inference`."""
    digest: str
    """`sha256:…` of the manifest."""
    size: int
    """Of the manifest, in bytes."""
    media_type: str = MANIFEST

    def tag(self, ending: str) -> str:
        """`sha256-<hex>` and `.sig` or `.att`; the fallback of the referrers API has no ending."""
        return self.digest.replace(":", "-") + ending


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of the image: an in-toto predicate."""

    predicate_type: str
    predicate: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """Something to be put into the image's repository: its blobs first, then its manifest."""

    manifest: bytes
    blobs: tuple[bytes, ...]
    tag: str | None
    """None: by its digest, as a referrer of the image."""

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)


def sign_image(
    image: ImageReference, key: SigningKey, claims: Sequence[Claim], now: datetime
) -> tuple[Artifact, ...]:
    """All that says that `key` stands behind the image, and the claims about it.

    Raises ServiceError as the key does.
    """
    envelopes = [_envelope(_statement(image, claim), key) for claim in claims]
    signed = Claim(predicate_type=SIGNED, predicate={})
    bundles = [(signed, _envelope(_statement(image, signed), key))]
    bundles += list(zip(claims, envelopes, strict=True))
    attached = [_attached(image, claims, envelopes)] if claims else []
    return (
        _simple(image, key),
        *attached,
        *(_referrer(image, claim, envelope, key, now) for claim, envelope in bundles),
    )


def check_signature(
    manifest: bytes, payloads: Iterable[bytes], image: ImageReference, keys: Iterable[TrustedKey]
) -> TrustedKey:
    """The trusted key that signed the image, by what is at its tag `.sig`: the manifest there, and
    the blobs that it names. Raises WrongEngine where none did."""
    known = list(keys)
    blobs = {digest_of(one): one for one in payloads}
    for layer in _layers(manifest):
        payload = blobs.get(str(layer.get("digest")))
        if payload is None or _claimed(payload) != image.digest:
            continue
        for key in known:
            if _signed_by(key, payload, layer.get("annotations")):
                return key
    raise WrongEngine(
        f"Expected a signature of the image {image.repository}@{image.digest} by a trusted key, "
        "got none that is. Push the release again with a key that counts."
    )


def payloads_of(manifest: bytes) -> list[str]:
    """Digests of the blobs that the manifest at a tag `.sig` names as payloads, at most eight: one
    for each key that signed the image."""
    layers = [one for one in _layers(manifest) if one.get("mediaType") == SIMPLE_SIGNING]
    digests = [str(one.get("digest")) for one in layers]
    return [one for one in digests if re.fullmatch(r"sha256:[0-9a-f]{64}", one)][:8]


def referrers_index(found: bytes | None, artifacts: Iterable[Artifact]) -> bytes:
    """The list of an image's referrers, for registries that keep none themselves: what is at its
    fallback tag (None: nothing yet), with these artifacts added.

    https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#referrers-tag-schema
    """
    before = json.loads(found).get("manifests", []) if found else []
    ours = [_described(one) for one in artifacts if one.tag is None]
    digests = {one["digest"] for one in ours}
    kept = [one for one in before if one.get("digest") not in digests]
    return _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [*kept, *ours]})


def digest_of(data: bytes) -> str:
    """`sha256:…` of a blob or manifest."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _simple(image: ImageReference, key: SigningKey) -> Artifact:
    payload = _json(
        {
            "critical": {
                "identity": {"docker-reference": image.repository},
                "image": {"docker-manifest-digest": image.digest},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
    )
    signature = base64.b64encode(key.sign(payload)).decode()
    layer = _descriptor(payload, SIMPLE_SIGNING, {SIGNATURE_KEY: signature})
    return _legacy(image.tag(".sig"), (payload,), (layer,))


def _attached(
    image: ImageReference, claims: Sequence[Claim], envelopes: Sequence[bytes]
) -> Artifact:
    layers = tuple(
        _descriptor(one, DSSE, {SIGNATURE_KEY: "", "predicateType": claim.predicate_type})
        for claim, one in zip(claims, envelopes, strict=True)
    )
    return _legacy(image.tag(".att"), tuple(envelopes), layers)


def _legacy(tag: str, blobs: tuple[bytes, ...], layers: tuple[dict[str, Any], ...]) -> Artifact:
    """An image whose layers are no layers, as the older format has it."""
    config = _json(
        {
            "architecture": "",
            "os": "",
            "created": "0001-01-01T00:00:00Z",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [one["digest"] for one in layers]},
        }
    )
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _descriptor(config, CONFIG),
        "layers": list(layers),
    }
    return Artifact(manifest=_json(manifest), blobs=(config, *blobs), tag=tag)


def _referrer(
    image: ImageReference, claim: Claim, envelope: bytes, key: SigningKey, now: datetime
) -> Artifact:
    bundle = _json(
        {
            "mediaType": BUNDLE,
            "verificationMaterial": {"publicKey": {"hint": _hint(key.record)}, "tlogEntries": []},
            "dsseEnvelope": json.loads(envelope),
        }
    )
    empty = b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": _descriptor(empty, EMPTY),
        "layers": [_descriptor(bundle, BUNDLE)],
        "subject": {"mediaType": image.media_type, "digest": image.digest, "size": image.size},
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": claim.predicate_type,
            "org.opencontainers.image.created": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
    return Artifact(manifest=_json(manifest), blobs=(empty, bundle), tag=None)


def _statement(image: ImageReference, claim: Claim) -> bytes:
    subject = {
        "name": image.repository,
        "digest": {"sha256": image.digest.removeprefix("sha256:")},
    }
    return _json(
        {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [subject],
            "predicateType": claim.predicate_type,
            "predicate": dict(claim.predicate),
        }
    )


def _envelope(statement: bytes, key: SigningKey) -> bytes:
    """Without a keyid: cosign's verifiers hold one against the fingerprint that SSH has of the key,
    and the older format has no other use for it."""
    signature = base64.b64encode(key.sign(pre_authentication(statement))).decode()
    return _json(
        {
            "payloadType": PAYLOAD_TYPE,
            "payload": base64.b64encode(statement).decode(),
            "signatures": [{"sig": signature}],
        }
    )


def _hint(record: TrustedKey) -> str:
    """By which a verifier finds the key: SHA-256 of its DER, which the keyid is too, in base64."""
    return base64.b64encode(bytes.fromhex(record.keyid)).decode()


def _described(artifact: Artifact) -> dict[str, Any]:
    manifest = json.loads(artifact.manifest)
    return {
        **_descriptor(artifact.manifest, MANIFEST, manifest["annotations"]),
        "artifactType": manifest["artifactType"],
    }


def _descriptor(
    data: bytes, media_type: str, annotations: Mapping[str, str] | None = None
) -> dict[str, Any]:
    found: dict[str, Any] = {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}
    return found | ({"annotations": dict(annotations)} if annotations else {})


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def _layers(manifest: bytes) -> list[Mapping[str, Any]]:
    try:
        layers = json.loads(manifest)["layers"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return []
    return [one for one in layers if isinstance(one, dict)] if isinstance(layers, list) else []


def _claimed(payload: bytes) -> str | None:
    """The digest of the image that a simple-signing payload is about."""
    try:
        critical = json.loads(payload)["critical"]
        kind, digest = critical["type"], critical["image"]["docker-manifest-digest"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return str(digest) if kind == "cosign container image signature" else None


def _signed_by(key: TrustedKey, payload: bytes, annotations: Any) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        signature = base64.b64decode(annotations[SIGNATURE_KEY], validate=True)
        load_public_key(key).verify(signature, payload, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError, KeyError, TypeError):
        return False
    return True
