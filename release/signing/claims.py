"""What is said of an image beside its signature: where it is from, its verdict, what is in it.

Each is an in-toto predicate that an admission controller can ask for: SLSA's provenance
(https://slsa.dev/spec/v1.0/provenance), ours with the gate's verdict, and an SBOM.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from engines.records.attestation import PREDICATE_TYPE, Predicate, Statement
from release.signing.cosign import Claim

PROVENANCE = "https://slsa.dev/provenance/v1"
CYCLONEDX = "https://cyclonedx.org/bom"
BUILD_TYPE = "urn:jetrail:engine-image:v1"
BUILDER = "urn:jetrail:release-pack"


def verdict_claim(statement: Statement) -> Claim:
    """The very predicate that was signed of the engine's files, now about the image."""
    predicate = json.loads(statement.predicate.model_dump_json(by_alias=True))
    return Claim(predicate_type=PREDICATE_TYPE, predicate=predicate)


def provenance_claim(statement: Statement, base: str | None) -> Claim:
    """What the image was made of, from the commit to the base (`name@sha256:…`; None: no base)."""
    of = statement.predicate
    materials = [
        _material("checkpoint", {"sha256": of.weights_sha256}),
        _material("onnx", {"sha256": of.onnx_sha256}),
        *(_data_set(name, found) for name, found in sorted(of.data_sets.items())),
        *([_commit(of.git_commit)] if of.git_commit else []),
        *([_base(base)] if base else []),
    ]
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": _parameters(of),
            "internalParameters": {
                "backend": f"{of.backend_package} {of.backend_version}",
                "device": json.loads(of.device.model_dump_json(by_alias=True)),
            },
            "resolvedDependencies": materials,
        },
        "runDetails": {
            "builder": {"id": BUILDER},
            "metadata": {
                "invocationId": f"mlflow:{of.mlflow.registered_model}/{of.mlflow.version}",
                "finishedOn": of.signed_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
            "byproducts": [
                _material(name, {"sha256": digest}) for name, digest in sorted(of.evidence.items())
            ],
        },
    }
    return Claim(predicate_type=PROVENANCE, predicate=predicate)


def sbom_claim(statement: Statement, base: str | None) -> Claim:
    """What is in the image, as CycloneDX 1.6: the engine, and its base by digest.

    What is in the base is the base's own SBOM, to which a BOM-Link leads: it is large, and the same
    for all engines. https://cyclonedx.org/docs/1.6/json/, https://cyclonedx.org/capabilities/bomlink
    """
    of = statement.predicate
    engine = {
        "type": "machine-learning-model",
        "bom-ref": of.engine_sha256,
        "name": of.engine,
        "version": of.model_version,
        "hashes": [{"alg": "SHA-256", "content": of.engine_sha256}],
    }
    predicate = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid5(NAMESPACE_URL, of.release)}",
        "version": 1,
        "metadata": {"component": {"type": "container", "bom-ref": of.release, "name": of.release}},
        "components": [engine, *([_base_component(base)] if base else [])],
    }
    return Claim(predicate_type=CYCLONEDX, predicate=predicate)


def base_claim(sbom: bytes) -> Claim:
    """What is in a base, as its own SBOM has it (sbom.cdx.json)."""
    return Claim(predicate_type=CYCLONEDX, predicate=json.loads(sbom))


def _base_component(base: str) -> dict[str, Any]:
    """`name@sha256:…`; its own SBOM has a serial number made of the digest."""
    name, _, digest = base.partition("@")
    link = f"urn:cdx:{uuid5(NAMESPACE_URL, digest)}/1"
    return {
        "type": "container",
        "bom-ref": digest,
        "name": name,
        "version": digest,
        "externalReferences": [{"type": "bom", "url": link}],
    }


def _parameters(of: Predicate) -> dict[str, str]:
    names = ("release", "model", "model_version", "target", "precision")
    return {name: str(getattr(of, name)) for name in names}


def _material(name: str, digest: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "digest": dict(digest)}


def _data_set(name: str, found: str) -> dict[str, Any]:
    """DVC's hash of a folder is the MD5 of its list of files: in-toto has no name for it."""
    return {"name": f"data set {name}", "uri": f"dvc:{found}"}


def _commit(commit: str) -> dict[str, Any]:
    """A commit, or one with changes that were never committed, of which there is no digest."""
    if commit.endswith("-dirty"):
        return {"name": "source", "annotations": {"commit": commit}, "uri": f"git:{commit}"}
    return _material("source", {"gitCommit": commit})


def _base(base: str) -> dict[str, Any]:
    name, _, digest = base.partition("@sha256:")
    return {"name": "base", "uri": f"urn:jetrail:base:{name}", "digest": {"sha256": digest}}
