"""A statement counts only as it was signed, by a key that counted, of an engine that passed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from factories.signed import SIGNED_AT, Signer, new_year, payload_of, sign_folder, statement_of
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import SSlibKey

from engines.errors import InputError, WrongEngine
from engines.records.attestation import (
    FILE,
    MAX_BYTES,
    Statement,
    pre_authentication,
    verify_envelope,
)
from engines.records.trusted_key import TrustedKey, load_public_key, read_keys

OURS, OTHER = Signer("ours"), Signer("other")
INSTANT = timedelta(microseconds=1)


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Statement:
    return statement_of(sign_folder(tmp_path_factory.mktemp("models"), OURS))


@pytest.fixture(scope="module")
def envelope(statement: Statement) -> bytes:
    return OURS.envelope(statement)


def changed(statement: Statement, **changes: Any) -> Statement:
    predicate = statement.predicate.model_copy(update=changes)
    return statement.model_copy(update={"predicate": predicate})


def refused(data: bytes, *keys: TrustedKey, now: datetime | None = None) -> str:
    with pytest.raises(WrongEngine) as caught:
        verify_envelope(data, keys or (OURS.record(),), now)
    return str(caught.value)


def test_what_was_signed_is_read(statement: Statement, envelope: bytes) -> None:
    verified = verify_envelope(envelope, [OTHER.record(), OURS.record()], SIGNED_AT)
    assert verified == (statement, OURS.record())
    assert set(verified.statement.files) == {
        *("engine.blob", "evaluation.json", "manifest.json", "verdict.json")
    }


def test_it_is_dsse_for_others_too(envelope: bytes) -> None:
    """securesystemslib's own reading and checking of an envelope."""
    document = json.loads(envelope)
    assert document["payloadType"] == "application/vnd.in-toto+json"
    public = SSlibKey.from_crypto(load_public_key(OURS.record()), OURS.record().keyid)
    assert OtherEnvelope.from_dict(document).verify([public], 1)


def test_it_is_an_in_toto_statement(envelope: bytes) -> None:
    payload = json.loads(OtherEnvelope.from_dict(json.loads(envelope)).payload)
    assert payload.keys() == {"_type", "subject", "predicateType", "predicate"}
    assert payload["_type"] == "https://in-toto.io/Statement/v1"
    assert all(one.keys() == {"name", "digest"} for one in payload["subject"])


@settings(deadline=None)
@given(data=st.data())
def test_no_bit_of_it_can_be_changed(envelope: bytes, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(envelope) - 1))
    bit = data.draw(st.integers(0, 7))
    altered = bytearray(envelope)
    altered[at] ^= 1 << bit
    refused(bytes(altered))


@settings(deadline=None)
@given(data=st.data())
def test_no_bit_of_its_statement_can_be_changed(
    statement: Statement, envelope: bytes, data: st.DataObject
) -> None:
    """Put into the envelope as a forger would, spelled in canonical base64."""
    payload = bytearray(payload_of(statement))
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    forged = json.loads(OTHER.envelope(bytes(payload)))
    forged["signatures"] = json.loads(envelope)["signatures"]
    said = refused((json.dumps(forged, indent=2) + "\n").encode())
    assert "The signature" in said


ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def test_bits_that_base64_does_not_use(statement: Statement) -> None:
    """The last letter before the padding has some: they must be zero."""
    signatures = (json.loads(OURS.envelope(statement)) for _ in range(100))
    document = next(one for one in signatures if one["signatures"][0]["sig"].endswith("="))
    text = document["signatures"][0]["sig"]
    at = text.index("=") - 1
    letter = ALPHABET[ALPHABET.index(text[at]) ^ 1]
    document["signatures"][0]["sig"] = text[:at] + letter + text[at + 1 :]
    assert "not spelled canonically" in refused((json.dumps(document, indent=2) + "\n").encode())


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_whatever_else_is_refused(data: bytes) -> None:
    refused(data)
    refused(OURS.envelope(data))


def test_too_large_is_refused_unread() -> None:
    assert f"more than {MAX_BYTES} bytes" in refused(b" " * (MAX_BYTES + 1))


def test_another_spelling_is_refused(envelope: bytes) -> None:
    assert "in another way" in refused(json.dumps(json.loads(envelope)).encode())


def test_two_signatures_are_refused(envelope: bytes) -> None:
    document = json.loads(envelope)
    document["signatures"] *= 2
    assert "signatures" in refused((json.dumps(document, indent=2) + "\n").encode())


def test_another_key(envelope: bytes) -> None:
    assert "none of the trusted keys" in refused(envelope, OTHER.record())


def test_another_key_under_our_name(envelope: bytes, statement: Statement) -> None:
    forged = json.loads(OTHER.envelope(statement))
    forged["signatures"][0]["keyid"] = OURS.record().keyid
    said = refused((json.dumps(forged, indent=2) + "\n").encode())
    assert "is not that of the key 'ours'" in said


@pytest.mark.parametrize("word", ["FAIL", "INVALID"])
def test_without_a_pass(statement: Statement, word: str) -> None:
    said = refused(OURS.envelope(changed(statement, verdict=word)))
    assert f"Expected the verdict PASS in {FILE}, got {word}" in said


def test_a_file_named_twice(statement: Statement) -> None:
    twice = statement.model_copy(update={"subject": statement.subject * 2})
    assert "names a file twice" in refused(OURS.envelope(twice))


@pytest.mark.parametrize("name", ["../engine.blob", "/engine.blob", "a/b", ".hidden", ""])
def test_a_name_that_leads_elsewhere(statement: Statement, name: str) -> None:
    document = json.loads(payload_of(statement))
    document["subject"][0]["name"] = name
    assert "subject.0.name" in refused(OURS.envelope(json.dumps(document).encode()))


def test_it_does_not_name_itself(statement: Statement) -> None:
    document = json.loads(payload_of(statement))
    document["subject"][0]["name"] = FILE
    assert "names itself" in refused(OURS.envelope(json.dumps(document).encode()))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("predicateType", "https://slsa.dev/provenance/v1"),
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("more", 1),
    ],
)
def test_another_kind_of_statement(statement: Statement, key: str, value: Any) -> None:
    document = json.loads(payload_of(statement)) | {key: value}
    assert key in refused(OURS.envelope(json.dumps(document).encode()))


def written(document: dict[str, Any]) -> bytes:
    """An envelope as `release sign` would write it."""
    return (json.dumps(document, indent=2) + "\n").encode()


def test_envelopes_that_are_another_kind(envelope: bytes) -> None:
    document = json.loads(envelope)
    for kind in ("application/json", "text/plain", ""):
        assert "payloadType" in refused(written(document | {"payloadType": kind}))
    assert "signatures" in refused(written(document | {"signatures": []}))
    assert "payload" in refused(written({k: v for k, v in document.items() if k != "payload"}))
    assert "more" in refused(written(document | {"more": 1}))


def test_a_good_signature_among_others(envelope: bytes, statement: Statement) -> None:
    """One signature is what `release sign` writes: with more nobody knows which one counted."""
    document, other = json.loads(envelope), json.loads(OTHER.envelope(statement))
    for both in (
        [*document["signatures"], *other["signatures"]],
        [*other["signatures"], *document["signatures"]],
    ):
        assert "signatures" in refused(written(document | {"signatures": both}))


def test_base64_that_is_cut_off_or_of_another_kind(envelope: bytes) -> None:
    document = json.loads(envelope)
    payload, (signature,) = document["payload"], document["signatures"]
    for text in (payload[:-1], payload[:-2], payload + "=", payload + "\n", payload[:-4] + "-_-_"):
        assert "base64 in it" in refused(written(document | {"payload": text}))
    for text in (payload[:-4], ""):  # canonical, and not what was signed
        assert "The signature" in refused(written(document | {"payload": text}))
    for text in (signature["sig"][:-4], ""):
        changed = [signature | {"sig": text}]
        assert "The signature" in refused(written(document | {"signatures": changed}))


def test_a_signature_that_is_none_of_ecdsa_over_p256(statement: Statement) -> None:
    """Of another hash, another curve, or written in another way than DER."""
    payload, pae = payload_of(statement), pre_authentication(payload_of(statement))
    p384 = ec.generate_private_key(ec.SECP384R1())
    r, s = decode_dss_signature(OURS.private.sign(pae, ec.ECDSA(hashes.SHA256())))
    document = json.loads(OURS.envelope(payload))
    for signature in (
        OURS.private.sign(pae, ec.ECDSA(hashes.SHA384())),
        OURS.private.sign(payload, ec.ECDSA(hashes.SHA256())),
        p384.sign(pae, ec.ECDSA(hashes.SHA256())),
        r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        encode_dss_signature(r, s) + b"\0",
        encode_dss_signature(0, 0),
        encode_dss_signature(r, 0),
    ):
        sig = base64.b64encode(signature).decode()
        changed = [document["signatures"][0] | {"sig": sig}]
        assert "The signature" in refused(written(document | {"signatures": changed}))


class TestDates:
    """The key counts from 2026 until 2028, and the statement is of May 2026."""

    KEY = OURS.record(2026, 2028)

    @pytest.mark.parametrize("now", [None, SIGNED_AT, new_year(2028) - INSTANT])
    def test_while_it_counts(self, envelope: bytes, now: datetime | None) -> None:
        assert verify_envelope(envelope, [self.KEY], now).key == self.KEY

    def test_its_first_and_its_last_moment(self, statement: Statement) -> None:
        """`--from DAY` counts from the start of that day, `--until DAY` until the start of that."""
        for moment in (new_year(2026), new_year(2028) - INSTANT):
            signed = OURS.envelope(changed(statement, signed_at=moment))
            assert verify_envelope(signed, [self.KEY], moment).key == self.KEY
            assert self.KEY.counts(moment)
        before = OURS.envelope(changed(statement, signed_at=new_year(2026) - INSTANT))
        assert "not valid yet" in refused(before, self.KEY)
        after = OURS.envelope(changed(statement, signed_at=new_year(2028)))
        assert "expired on 2028-01-01 00:00 UTC; when" in refused(after, self.KEY)
        for moment in (new_year(2026) - INSTANT, new_year(2028)):
            assert not self.KEY.counts(moment)

    @pytest.mark.parametrize("year", [1970, 2036])
    def test_a_pod_s_clock_is_not_asked(
        self, envelope: bytes, monkeypatch: pytest.MonkeyPatch, year: int
    ) -> None:
        monkeypatch.setattr("time.time", lambda: new_year(year).timestamp())
        assert verify_envelope(envelope, [self.KEY]).key == self.KEY

    @pytest.mark.parametrize("now", [None, SIGNED_AT])
    def test_signed_before_it_counted(self, envelope: bytes, now: datetime | None) -> None:
        said = refused(envelope, OURS.record(2027), now=now)
        assert "counts from 2027-01-01 00:00 UTC on" in said
        assert "not valid yet" in said

    def test_signed_after_it_expired(self, statement: Statement) -> None:
        late = OURS.envelope(changed(statement, signed_at=new_year(2028) + timedelta(seconds=1)))
        said = refused(late, self.KEY)
        assert "expired on 2028-01-01 00:00 UTC; when the release was signed" in said

    def test_expired_since(self, envelope: bytes) -> None:
        now = new_year(2028) + timedelta(seconds=1)
        said = refused(envelope, self.KEY, now=now)
        assert "expired on 2028-01-01 00:00 UTC; today by this machine's clock" in said

    def test_clock_that_is_behind(self, envelope: bytes) -> None:
        said = refused(envelope, self.KEY, now=new_year(1970))
        assert "signed on 2026-05-01 12:00 UTC, and this machine's clock says 1970-01-01" in said

    def test_clocks_that_differ_a_little(self, envelope: bytes) -> None:
        assert verify_envelope(envelope, [self.KEY], SIGNED_AT - timedelta(minutes=5))

    def test_times_of_another_zone(self, statement: Statement) -> None:
        zone = timezone(timedelta(hours=2))
        moved = changed(statement, signed_at=datetime(2026, 1, 1, 1, tzinfo=zone))
        assert "not valid yet" in refused(OURS.envelope(moved), self.KEY)

    def test_time_without_a_zone(self, statement: Statement) -> None:
        document = json.loads(payload_of(statement))
        document["predicate"]["signed_at"] = "2026-05-01T12:00:00"
        assert "signed_at" in refused(OURS.envelope(json.dumps(document).encode()))


class TestKeys:
    def test_they_are_read_by_name(self, tmp_path: Path) -> None:
        for one in (OURS, OTHER):
            one.record().write(tmp_path / f"{one.name}.json")
        (tmp_path / "README.md").write_text("no key")
        assert [one.name for one in read_keys(tmp_path)] == ["other", "ours"]

    @pytest.mark.parametrize("folder", ["", "nowhere"])
    def test_none(self, tmp_path: Path, folder: str) -> None:
        said = r"got none\. In a pod .*`jetrail-keys`.*Make one with `release keygen"
        with pytest.raises(InputError, match=said):
            read_keys(tmp_path / folder)

    def test_one_key_under_two_names(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            OURS.record().write(tmp_path / f"{name}.json")
        with pytest.raises(InputError, match="got one under two names"):
            read_keys(tmp_path)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"keyid": "0" * 64}, "One of the two was edited"),
            ({"public_key": "no PEM"}, "Expected a public key in PEM in the trusted key 'ours'"),
            ({"name": "../ours"}, "name: String should match pattern"),
            ({"valid_from": "2026-01-01"}, "valid_from"),
        ],
    )
    def test_edited(self, tmp_path: Path, change: dict[str, str], said: str) -> None:
        record = json.loads(OURS.record().model_dump_json(by_alias=True)) | change
        (tmp_path / "ours.json").write_text(json.dumps(record))
        with pytest.raises(InputError, match=said):
            read_keys(tmp_path)

    def test_another_curve(self, tmp_path: Path) -> None:
        odd = Signer("odd")
        odd.__dict__["private"] = ec.generate_private_key(ec.SECP384R1())
        odd.record().write(tmp_path / "odd.json")
        with pytest.raises(InputError, match="Expected an ECDSA key on P-256"):
            read_keys(tmp_path)


def test_a_pod_needs_nothing_else() -> None:
    """cryptography, when a signature is checked, and not before."""
    script = (
        "import sys, json; import engines.records.signed_folder;"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert not set(json.loads(done.stdout)) & {"cryptography", "securesystemslib", "release"}
