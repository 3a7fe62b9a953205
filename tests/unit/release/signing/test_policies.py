"""release/trust: what the policies for admission controllers ask for is what `release` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from factories.signed import Signer, sign_folder, statement_of

from engines.config.yaml import load_yaml
from release.signing.claims import verdict_claim

TRUST = Path(__file__).parents[4] / "release" / "trust"
PLACEHOLDER = "-----BEGIN PUBLIC KEY-----\nPUT-THE-PUBLIC-KEY-HERE\n-----END PUBLIC KEY-----"


@pytest.fixture
def verdict(tmp_path: Path) -> Any:
    return verdict_claim(statement_of(sign_folder(tmp_path, Signer())))


def test_kyverno(verdict: Any) -> None:
    (rule,) = load_yaml(TRUST / "kyverno.yaml")["spec"]["rules"]
    (images,) = rule["verifyImages"]
    assert (images["type"], images["failureAction"]) == ("Cosign", "Enforce")
    assert (images["verifyDigest"], images["mutateDigest"], images["required"]) == (
        *(True, False, True),
    )
    (attestation,) = images["attestations"]
    assert attestation["type"] == verdict.predicate_type
    (condition,) = attestation["conditions"][0]["all"]
    field = condition["key"].strip("{} ")
    assert verdict.predicate[field] == condition["value"] == "PASS"
    for one in (images, attestation):
        ((entry,),) = (attestors["entries"] for attestors in one["attestors"])
        assert entry["keys"]["publicKeys"] == PLACEHOLDER
        assert entry["keys"]["rekor"] == {"ignoreTlog": True}
        assert entry["keys"]["ctlog"] == {"ignoreSCT": True}


def test_policy_controller(verdict: Any) -> None:
    policy = load_yaml(TRUST / "policy-controller.yaml")["spec"]
    assert policy["mode"] == "enforce"
    (authority,) = policy["authorities"]
    assert authority["key"]["data"].rstrip() == PLACEHOLDER
    # Bundles are taken with certificates only, and Rekor is asked where `ctlog` stands.
    assert authority.keys() == {"name", "key", "attestations"}
    (attestation,) = authority["attestations"]
    assert attestation["predicateType"] == verdict.predicate_type
    assert f'predicateType: "{verdict.predicate_type}"' in attestation["policy"]["data"]
    assert 'verdict: "PASS"' in attestation["policy"]["data"]
    assert verdict.predicate["verdict"] == "PASS"
