"""A key on a PKCS#11 token signs a release: SoftHSM is the token."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from factories.paper import TARGET, add_engine, lay_out

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from engines.records.attestation import verify_envelope
from release.signing.keys import trusted_keys
from release.steps import keygen, sign
from tests.unit.release.publications import publish_on_paper

pytestmark = pytest.mark.integration

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm2.so")
PIN = "648219"
URI = "hsm:1?label=plant"


@pytest.fixture
def token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A token with a P-256 key of its own making under id 1; gives the public half in PEM."""
    module = next((one for one in MODULES if Path(one).is_file()), None)
    if module is None:
        pytest.skip("needs SoftHSM: `apt-get install softhsm2`")
    pkcs11 = pytest.importorskip("pkcs11", reason="needs `pip install 'securesystemslib[hsm]'`")
    (tmp_path / "tokens").mkdir()
    configuration = tmp_path / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(configuration))
    monkeypatch.setenv("PYKCS11LIB", module)
    monkeypatch.setenv("JETRAIL_KEY_PASSPHRASE", PIN)
    init = ["softhsm2-util", "--init-token", "--free", "--label", "plant"]
    pins = ["--so-pin", PIN, "--pin", PIN]
    subprocess.run([*init, *pins], check=True, capture_output=True, env=os.environ)
    library = pkcs11.lib(module)
    library.reinitialize()
    der = _generate(pkcs11, library.get_token(token_label="plant"))
    path = tmp_path / "token.pem"
    done = subprocess.run(
        ["openssl", "pkey", "-pubin", "-inform", "DER"], input=der, capture_output=True, check=True
    )
    path.write_bytes(done.stdout)
    return path


def _generate(pkcs11: object, token: object) -> bytes:
    """A key pair on the token, of which the private half never leaves it; gives the public one."""
    from pkcs11 import Attribute, KeyType
    from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

    with token.open(rw=True, user_pin=PIN) as session:  # type: ignore[attr-defined]
        parameters = session.create_domain_parameters(
            KeyType.EC,
            {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
            local=True,
        )
        public, _ = parameters.generate_keypair(store=True, id=b"\x01", label="release")
        return bytes(encode_ec_public_key(public))


@pytest.fixture
def release(tmp_path: Path) -> tuple[Workspace, str]:
    workspace = Workspace(root=tmp_path / "clone")
    lay_out(workspace)
    add_engine(workspace, "fp16")
    return workspace, publish_on_paper(workspace, "meter-fp16").release


def test_a_token_signs(token: Path, release: tuple[Workspace, str]) -> None:
    workspace, name = release
    keygen.keygen(workspace, "other")
    keygen.keygen(workspace, "token", public=token)
    said: list[str] = []
    path = sign.sign_release(workspace, name, TARGET, URI, said.append)
    assert verify_envelope(path.read_bytes(), trusted_keys(workspace)).key.name == "token"
    content = path.read_bytes()
    sign.sign_release(workspace, name, TARGET, URI, said.append)
    assert path.read_bytes() == content
    assert said == [f"{name}: signed by token", f"{name}: signed before, by token"]


def test_a_token_whose_key_nobody_trusts(token: Path, release: tuple[Workspace, str]) -> None:
    workspace, name = release
    keygen.keygen(workspace, "other")
    with pytest.raises(InputError, match="the public half of hsm:1"):
        sign.sign_release(workspace, name, TARGET, URI, lambda _: None)


@pytest.mark.parametrize(
    ("uri", "pin", "said"),
    [
        (URI, "000000", "PinIncorrect"),
        ("hsm:2?label=plant", PIN, "could not find ECDSA private key"),
        ("hsm:1?label=elsewhere", PIN, "No PKCS#11 token found"),
    ],
)
def test_a_token_that_does_not_sign(
    token: Path,
    release: tuple[Workspace, str],
    monkeypatch: pytest.MonkeyPatch,
    uri: str,
    pin: str,
    said: str,
) -> None:
    workspace, name = release
    keygen.keygen(workspace, "token", public=token)
    monkeypatch.setenv("JETRAIL_KEY_PASSPHRASE", pin)
    with pytest.raises(ServiceError, match=said):
        sign.sign_release(workspace, name, TARGET, uri, lambda _: None)
