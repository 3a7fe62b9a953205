"""Both of cosign's formats, held against its documents and against others' code."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from factories.signed import Signer, sign_folder, statement_of
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope
from securesystemslib.signer import CryptoSigner, SSlibKey
from sigstore_models.bundle.v1 import Bundle

from engines.errors import WrongEngine
from engines.records.attestation import pre_authentication
from engines.records.trusted_key import load_public_key
from release.signing.claims import (
    CYCLONEDX,
    PROVENANCE,
    provenance_claim,
    sbom_claim,
    verdict_claim,
)
from release.signing.cosign import (
    BUNDLE,
    SIGNED,
    Artifact,
    Claim,
    ImageReference,
    check_signature,
    digest_of,
    referrers_index,
    sign_image,
)
from release.signing.signer import SigningKey

IMAGE = ImageReference(
    repository="registry.example/inference", digest=f"sha256:{'1f' * 32}", size=733
)
NOW = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)
BASE = f"registry.example/base@sha256:{'b' * 64}"


def key_of(signer: Signer) -> SigningKey:
    record = signer.record()
    public = SSlibKey.from_crypto(signer.private.public_key(), record.keyid)
    return SigningKey(record=record, trying=False, signer=CryptoSigner(signer.private, public))


OURS = Signer("ours")
KEY = key_of(OURS)


@pytest.fixture(scope="module")
def claims(tmp_path_factory: pytest.TempPathFactory) -> list[Claim]:
    statement = statement_of(sign_folder(tmp_path_factory.mktemp("models"), OURS))
    return [
        provenance_claim(statement, BASE),
        verdict_claim(statement),
        sbom_claim(statement, BASE),
    ]


@pytest.fixture(scope="module")
def artifacts(claims: list[Claim]) -> tuple[Artifact, ...]:
    return sign_image(IMAGE, KEY, claims, NOW)


def tagged(artifacts: tuple[Artifact, ...], ending: str) -> Artifact:
    (found,) = [one for one in artifacts if one.tag and one.tag.endswith(ending)]
    return found


def bundles(artifacts: tuple[Artifact, ...]) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Predicate type to manifest and bundle."""
    found = {}
    for one in artifacts:
        if one.tag is None:
            manifest = json.loads(one.manifest)
            name = manifest["annotations"]["dev.sigstore.bundle.predicateType"]
            found[name] = (manifest, json.loads(one.blobs[1]))
    return found


def verify(signature: bytes, data: bytes) -> None:
    OURS.private.public_key().verify(signature, data, ec.ECDSA(hashes.SHA256()))


def test_every_blob_that_a_manifest_names_is_there(artifacts: tuple[Artifact, ...]) -> None:
    for one in artifacts:
        manifest = json.loads(one.manifest)
        named = [manifest["config"], *manifest["layers"]]
        there = [{"digest": digest_of(blob), "size": len(blob)} for blob in one.blobs]
        assert [{key: blob[key] for key in ("digest", "size")} for blob in named] == there
        assert one.digest == f"sha256:{hashlib.sha256(one.manifest).hexdigest()}"


class TestSimpleSigning:
    """https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md"""

    def test_its_tag(self, artifacts: tuple[Artifact, ...]) -> None:
        assert tagged(artifacts, ".sig").tag == f"sha256-{'1f' * 32}.sig"

    def test_its_payload(self, artifacts: tuple[Artifact, ...]) -> None:
        """Letter by letter as cosign writes it."""
        assert tagged(artifacts, ".sig").blobs[1].decode() == (
            '{"critical":{"identity":{"docker-reference":"registry.example/inference"},'
            f'"image":{{"docker-manifest-digest":"sha256:{"1f" * 32}"}},'
            '"type":"cosign container image signature"},"optional":null}'
        )

    def test_its_manifest(self, artifacts: tuple[Artifact, ...]) -> None:
        artifact = tagged(artifacts, ".sig")
        manifest = json.loads(artifact.manifest)
        assert manifest["config"]["mediaType"] == "application/vnd.oci.image.config.v1+json"
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == "application/vnd.dev.cosign.simplesigning.v1+json"
        assert list(layer["annotations"]) == ["dev.cosignproject.cosign/signature"]
        assert json.loads(artifact.blobs[0])["rootfs"]["diff_ids"] == [layer["digest"]]

    def test_its_signature(self, artifacts: tuple[Artifact, ...]) -> None:
        artifact = tagged(artifacts, ".sig")
        (layer,) = json.loads(artifact.manifest)["layers"]
        text = layer["annotations"]["dev.cosignproject.cosign/signature"]
        verify(base64.b64decode(text), artifact.blobs[1])

    def test_it_is_recognised(self, artifacts: tuple[Artifact, ...]) -> None:
        artifact = tagged(artifacts, ".sig")
        keys = [Signer("other").record(), OURS.record()]
        assert check_signature(artifact.manifest, artifact.blobs, IMAGE, keys) == OURS.record()

    def test_another_key_s(self, artifacts: tuple[Artifact, ...]) -> None:
        artifact = tagged(artifacts, ".sig")
        with pytest.raises(WrongEngine, match="by a trusted key, got none"):
            check_signature(artifact.manifest, artifact.blobs, IMAGE, [Signer("other").record()])

    def test_of_another_image(self, artifacts: tuple[Artifact, ...]) -> None:
        artifact = tagged(artifacts, ".sig")
        other = ImageReference(repository=IMAGE.repository, digest=f"sha256:{'2' * 64}", size=733)
        with pytest.raises(WrongEngine):
            check_signature(artifact.manifest, artifact.blobs, other, [OURS.record()])

    @settings(deadline=None)
    @given(data=st.data())
    def test_no_bit_of_its_payload_can_be_changed(
        self, artifacts: tuple[Artifact, ...], data: st.DataObject
    ) -> None:
        artifact = tagged(artifacts, ".sig")
        payload = bytearray(artifact.blobs[1])
        payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        manifest = json.loads(artifact.manifest)
        manifest["layers"][0]["digest"] = digest_of(bytes(payload))
        with pytest.raises(WrongEngine):
            check_signature(json.dumps(manifest).encode(), [bytes(payload)], IMAGE, [OURS.record()])

    @settings(deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=200),
            st.recursive(
                st.none() | st.text() | st.integers(),
                lambda one: st.lists(one) | st.dictionaries(st.sampled_from(["layers"]), one),
            ).map(lambda one: json.dumps(one).encode()),
        )
    )
    def test_whatever_else_is_refused(self, manifest: bytes) -> None:
        with pytest.raises(WrongEngine):
            check_signature(manifest, [manifest], IMAGE, [OURS.record()])


class TestAttestations:
    """https://github.com/sigstore/cosign/blob/main/specs/ATTESTATION_SPEC.md"""

    def test_a_layer_each(self, artifacts: tuple[Artifact, ...], claims: list[Claim]) -> None:
        artifact = tagged(artifacts, ".att")
        layers = json.loads(artifact.manifest)["layers"]
        assert artifact.tag == f"sha256-{'1f' * 32}.att"
        assert {one["mediaType"] for one in layers} == {"application/vnd.dsse.envelope.v1+json"}
        types = [one["annotations"]["predicateType"] for one in layers]
        assert types == [one.predicate_type for one in claims]

    def test_each_is_signed(self, artifacts: tuple[Artifact, ...]) -> None:
        for blob in tagged(artifacts, ".att").blobs[1:]:
            check_envelope(json.loads(blob))

    def test_each_is_about_the_image(
        self, artifacts: tuple[Artifact, ...], claims: list[Claim]
    ) -> None:
        for claim, blob in zip(claims, tagged(artifacts, ".att").blobs[1:], strict=True):
            statement = json.loads(base64.b64decode(json.loads(blob)["payload"]))
            assert statement["subject"] == [
                {"name": IMAGE.repository, "digest": {"sha256": "1f" * 32}}
            ]
            assert statement["predicateType"] == claim.predicate_type
            assert statement["predicate"] == claim.predicate

    def test_none(self) -> None:
        artifacts = sign_image(IMAGE, KEY, [], NOW)
        assert [one.tag for one in artifacts] == [IMAGE.tag(".sig"), None]


def check_envelope(envelope: dict[str, Any]) -> None:
    """By securesystemslib's DSSE, which wants to be told whose signature it is."""
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    (signature,) = envelope["signatures"]
    # cosign's Go verifiers refuse a keyid that is not the fingerprint that SSH has of the key.
    assert signature.keys() == {"sig"}
    public = SSlibKey.from_crypto(load_public_key(OURS.record()), "ours")
    named = {**envelope, "signatures": [{"keyid": "ours", **signature}]}
    assert Envelope.from_dict(named).verify([public], 1)


class TestBundles:
    """https://github.com/sigstore/cosign/blob/main/specs/BUNDLE_SPEC.md"""

    def test_one_signs_and_one_for_each_claim(self, artifacts: tuple[Artifact, ...]) -> None:
        assert set(bundles(artifacts)) == {
            *(SIGNED, PROVENANCE, CYCLONEDX, "urn:jetrail:engine-release:v1")
        }

    def test_its_manifest_as_documented(self, artifacts: tuple[Artifact, ...]) -> None:
        manifest, _ = bundles(artifacts)[PROVENANCE]
        digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        assert manifest["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
        assert manifest["config"] == {
            "mediaType": "application/vnd.oci.empty.v1+json",
            "digest": digest,
            "size": 2,
        }
        (layer,) = manifest["layers"]
        assert layer["mediaType"] == BUNDLE
        assert manifest["subject"] == {
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "digest": IMAGE.digest,
            "size": 733,
        }
        assert manifest["annotations"] == {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": PROVENANCE,
            "org.opencontainers.image.created": "2026-05-01T12:00:00Z",
        }

    def test_sigstore_s_models_read_it(self, artifacts: tuple[Artifact, ...]) -> None:
        for _, document in bundles(artifacts).values():
            read = Bundle.from_json(json.dumps(document).encode())
            material = read.verification_material
            assert material.public_key is not None
            hint = base64.b64decode(material.public_key.hint or "")
            assert hint.hex() == OURS.record().keyid
            assert read.dsse_envelope is not None
            (signature,) = read.dsse_envelope.signatures
            payload = base64.b64decode(document["dsseEnvelope"]["payload"])
            assert read.dsse_envelope.payload == payload
            verify(signature.sig, pre_authentication(payload))

    def test_its_envelope_is_signed(self, artifacts: tuple[Artifact, ...]) -> None:
        for _, document in bundles(artifacts).values():
            check_envelope(document["dsseEnvelope"])

    def test_the_one_that_signs(self, artifacts: tuple[Artifact, ...]) -> None:
        _, document = bundles(artifacts)[SIGNED]
        statement = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        assert statement["predicate"] == {}
        assert statement["subject"][0]["digest"] == {"sha256": "1f" * 32}


class TestReferrersIndex:
    """For registries that keep no list of referrers themselves."""

    def test_as_documented(self, artifacts: tuple[Artifact, ...]) -> None:
        index = json.loads(referrers_index(None, artifacts))
        assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
        assert len(index["manifests"]) == 4
        for one in index["manifests"]:
            assert one["artifactType"] == BUNDLE
            assert one["annotations"]["dev.sigstore.bundle.content"] == "dsse-envelope"
        assert IMAGE.tag("") == f"sha256-{'1f' * 32}"

    def test_what_was_there_stays(self, artifacts: tuple[Artifact, ...]) -> None:
        other = {"mediaType": "application/x", "digest": f"sha256:{'3' * 64}", "size": 1}
        first = json.dumps({"schemaVersion": 2, "manifests": [other]}).encode()
        once = referrers_index(first, artifacts)
        assert json.loads(once)["manifests"][0] == other
        assert referrers_index(once, artifacts) == once


class TestProvenance:
    """https://slsa.dev/spec/v1.0/provenance"""

    def test_its_fields(self, claims: list[Claim]) -> None:
        predicate = claims[0].predicate
        assert predicate.keys() == {"buildDefinition", "runDetails"}
        definition = predicate["buildDefinition"]
        assert definition.keys() == {
            *("buildType", "externalParameters", "internalParameters", "resolvedDependencies")
        }
        assert predicate["runDetails"]["builder"]["id"]
        assert predicate["runDetails"]["metadata"]["finishedOn"] == "2026-05-01T12:00:00Z"
        found = {one["name"]: one for one in definition["resolvedDependencies"]}
        assert found["checkpoint"]["digest"] == {"sha256": "b" * 64}
        assert found["onnx"]["digest"] == {"sha256": "c" * 64}
        assert found["base"]["digest"] == {"sha256": "b" * 64}
        assert found["data set evaluation"]["uri"] == f"dvc:md5:{'e' * 32}.dir"
        assert all({"uri", "digest"} & one.keys() for one in found.values())

    @pytest.mark.parametrize(
        ("commit", "digest"),
        [("c" * 40, {"gitCommit": "c" * 40}), ("c" * 40 + "-dirty", None), ("", None)],
    )
    def test_the_commit(self, tmp_path: Path, commit: str, digest: object) -> None:
        statement = statement_of(sign_folder(tmp_path, OURS), git_commit=commit)
        dependencies = provenance_claim(statement, None).predicate["buildDefinition"][
            "resolvedDependencies"
        ]
        found = [one for one in dependencies if one["name"] == "source"]
        assert bool(found) == bool(commit)
        assert not found or found[0].get("digest") == digest
        assert not [one for one in dependencies if one["name"] == "base"]

    def test_the_verdict_is_what_was_signed_of_the_files(self, claims: list[Claim]) -> None:
        predicate = claims[1].predicate
        assert predicate["verdict"] == "PASS"
        assert predicate["release"].startswith("v1.0-t-fp16-")


class TestSbom:
    """https://cyclonedx.org/docs/1.6/json/"""

    @pytest.mark.parametrize("base", [BASE, None])
    def test_it_is_cyclonedx(self, tmp_path: Path, base: str | None) -> None:
        statement = statement_of(sign_folder(tmp_path, OURS))
        bom = sbom_claim(statement, base).predicate
        wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom))
        assert wrong is None
        engine, *below = bom["components"]
        assert engine["type"] == "machine-learning-model"
        assert engine["hashes"][0]["content"] == statement.predicate.engine_sha256
        assert [one["version"] for one in below] == ([BASE.partition("@")[2]] if base else [])
