"""sigstore-js, which npm checks its packages with, accepts our bundles and refuses altered ones."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from factories.signed import Signer

from release.signing.cosign import Claim, sign_image
from tests.unit.release.signing.test_cosign import IMAGE, NOW, key_of

pytestmark = pytest.mark.integration

MODULES = Path(__file__).parents[2] / ".venv" / "node" / "node_modules"

VERIFY = """
const { bundleFromJSON } = require('@sigstore/bundle');
const { Verifier, toSignedEntity, toTrustMaterial } = require('@sigstore/verify');
const { createPublicKey, createHash } = require('crypto');
const [pem, ...bundles] = JSON.parse(require('fs').readFileSync(0));
const rawBytes = createPublicKey(pem).export({ format: 'der', type: 'spki' });
const hint = createHash('sha256').update(rawBytes).digest('base64');
const root = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const trust = toTrustMaterial(root, { [hint]: { rawBytes } });
const none = { ctlogThreshold: 0, tlogThreshold: 0, timestampThreshold: 0 };
const said = bundles.map((one) => {
  try {
    new Verifier(trust, none).verify(toSignedEntity(bundleFromJSON(one)));
    return 'verified';
  } catch (error) {
    return error.code || error.message;
  }
});
console.log(JSON.stringify(said));
"""


@pytest.fixture(scope="module")
def bundles() -> tuple[Signer, list[dict[str, Any]]]:
    signer = Signer()
    artifacts = sign_image(
        IMAGE, key_of(signer), [Claim(predicate_type="urn:x", predicate={"a": 1})], NOW
    )
    return signer, [json.loads(one.blobs[1]) for one in artifacts if one.tag is None]


def verify(signer: Signer, bundles: list[dict[str, Any]]) -> list[str]:
    if shutil.which("node") is None or not (MODULES / "@sigstore" / "verify").is_dir():
        pytest.skip("needs `npm install --prefix .venv/node @sigstore/verify@4.1.3`")
    done = subprocess.run(
        ["node", "-e", VERIFY],
        input=json.dumps([signer.record().public_key, *bundles]),
        env={"NODE_PATH": str(MODULES), "PATH": "/usr/bin:/bin:/usr/local/bin"},
        **{"capture_output": True, "text": True, "check": True},
    )
    return list(json.loads(done.stdout))


def test_ours_are_verified(bundles: tuple[Signer, list[dict[str, Any]]]) -> None:
    signer, documents = bundles
    assert verify(signer, documents) == ["verified", "verified"]


def test_altered_ones_and_another_key_s_are_not(
    bundles: tuple[Signer, list[dict[str, Any]]],
) -> None:
    signer, (first, second) = bundles
    swapped = json.loads(json.dumps(first))
    swapped["dsseEnvelope"]["payload"] = second["dsseEnvelope"]["payload"]
    assert verify(signer, [swapped]) == ["SIGNATURE_ERROR"]
    assert verify(Signer("other"), [first]) == ["PUBLIC_KEY_ERROR"]
