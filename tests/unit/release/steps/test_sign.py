"""release sign: what is signed, by whom, and once; never an engine that changed since."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest
from factories.paper import TARGET, edit, judge_again
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.records.attestation import Verified, verify_envelope
from engines.records.manifest import Manifest
from engines.records.trusted_key import TrustedKey
from release.cli import commands
from release.packed import image_path
from release.records import attestation_path
from release.signing.keys import record_file, trusted_keys, trying_key
from release.steps import keygen, pack, sign
from tests.unit.release.publications import publish_on_paper, record

AddEngine = Callable[..., str]


@pytest.fixture
def release(workspace: Workspace, add_engine: AddEngine) -> str:
    add_engine("fp16")
    publication = publish_on_paper(workspace, "meter-fp16")
    record(workspace, publication)
    return publication.release


def signed(workspace: Workspace, release: str, key: str | None = None) -> Path:
    return sign.sign_release(workspace, release, None, key, lambda _: None)


def verified(workspace: Workspace, release: str) -> Verified:
    trying = trying_key(workspace)
    keys = [*trusted_keys(workspace), *([trying] if trying else [])]
    path = attestation_path(workspace, release)
    return verify_envelope(path.read_bytes(), keys, datetime.now(timezone.utc))


def add_key(workspace: Workspace, name: str) -> str:
    private = keygen.keygen(workspace, name).private
    assert private is not None
    return str(private)


def change_record(workspace: Workspace, name: str, **changes: object) -> None:
    edit(record_file(workspace, name), lambda one: one.update(changes))


def run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.chdir(workspace.root)
    return CliRunner().invoke(commands, list(arguments))


def test_what_is_said(workspace: Workspace, release: str) -> None:
    assert signed(workspace, release) == attestation_path(workspace, release)
    statement = verified(workspace, release).statement
    folder = workspace.engine(TARGET, "meter-fp16")
    assert {"engine.blob", "evaluation.json", "manifest.json", "verdict.json"} <= set(
        statement.files
    )
    assert statement.files["engine.blob"] == folder.sha256("engine.blob")
    said, manifest = statement.predicate, folder.read(Manifest)
    assert (said.release, said.verdict, said.target) == (release, "PASS", TARGET)
    assert said.device == manifest.device
    assert said.weights_sha256 == manifest.source.weights_sha256
    assert said.onnx_sha256 == manifest.source.onnx_sha256
    assert said.git_commit == manifest.source.git_commit
    assert said.mlflow.version == 3
    assert said.evidence["benchmark.json"] == folder.sha256("benchmark.json")
    assert said.evidence["verdict.json"] == folder.sha256("verdict.json")
    assert said.data_sets == {}


def test_data_sets_as_dvc_knows_them(workspace: Workspace, release: str) -> None:
    md5 = "0123456789abcdef" * 2 + ".dir"
    (workspace.root / "dvc.lock").write_text(
        "stages:\n  quantize@meter:\n    deps:\n"
        f"    - {{path: models/meter/data/calibration, md5: {md5}}}\n"
    )
    signed(workspace, release)
    assert verified(workspace, release).statement.predicate.data_sets == {
        "calibration": f"md5:{md5}"
    }


def test_what_is_known_of_it_changed(workspace: Workspace, release: str) -> None:
    """The same files, and DVC knows their data sets now."""
    content = signed(workspace, release).read_bytes()
    test_data_sets_as_dvc_knows_them(workspace, release)
    assert attestation_path(workspace, release).read_bytes() != content


def test_the_candidates_of_a_target(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(workspace, monkeypatch, "sign", "--target", TARGET)
    assert result.exit_code == 0
    assert f"{release}: signed by for-trying, a key of this clone for trying only" in result.stdout
    assert attestation_path(workspace, release).is_file()
    again = run(workspace, monkeypatch, "sign")
    assert f"{release}: signed before, by for-trying" in again.stdout


def test_signed_once(workspace: Workspace, release: str) -> None:
    content = signed(workspace, release).read_bytes()
    assert signed(workspace, release).read_bytes() == content


def test_another_key_signs_again(workspace: Workspace, release: str) -> None:
    content = signed(workspace, release).read_bytes()
    key = add_key(workspace, "ours")
    assert signed(workspace, release, key).read_bytes() != content
    assert verified(workspace, release).key.name == "ours"


def test_without_a_key_a_trusted_signature_stays(workspace: Workspace, release: str) -> None:
    """A laptop that has no key does not put its own in the place of the release manager's."""
    key = add_key(workspace, "ours")
    content = signed(workspace, release, key).read_bytes()
    Path(key).unlink()
    assert signed(workspace, release).read_bytes() == content
    assert verified(workspace, release).key.name == "ours"


def test_measured_and_published_again(workspace: Workspace, release: str) -> None:
    content = signed(workspace, release).read_bytes()
    folder = workspace.engine(TARGET, "meter-fp16")
    edit(folder.path / "evaluation.json", lambda one: one.update(map50=0.91))
    judge_again(workspace, "meter-fp16")
    assert signed(workspace, release).read_bytes() == content
    attestation_path(workspace, release).unlink()
    with pytest.raises(WrongEngine, match="it was measured again"):
        signed(workspace, release)
    assert not attestation_path(workspace, release).exists()
    publish_on_paper(workspace, "meter-fp16")
    assert signed(workspace, release).read_bytes() != content


@pytest.mark.parametrize("name", ["engine.blob", "manifest.json", "evaluation.json"])
def test_changed_between_publish_and_sign(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = workspace.engine(TARGET, "meter-fp16").path / name
    path.write_bytes(path.read_bytes().replace(b"fp16", b"fp61") + b" ")
    result = run(workspace, monkeypatch, "sign", release)
    assert result.exit_code == 5
    assert name in result.stderr
    assert not attestation_path(workspace, release).exists()


def test_changed_while_it_is_signed(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sign.contents_of

    def then_changed(*arguments: object) -> object:
        contents = before(*arguments)  # type: ignore[arg-type]
        contents.files["engine.blob"].write_bytes(b"another")
        return contents

    monkeypatch.setattr(sign, "contents_of", then_changed)
    with pytest.raises(WrongEngine, match="changed while it was being signed"):
        signed(workspace, release)


def test_another_engine_lies_there(
    workspace: Workspace, release: str, add_engine: AddEngine
) -> None:
    folder = workspace.engine(TARGET, "meter-fp16")
    (folder.path / "engine.blob").write_bytes(b"engine in FP16")
    edit(folder.file(Manifest), lambda one: one.update(engine_sha256=folder.sha256("engine.blob")))
    for name in ("benchmark.json", "evaluation.json"):
        sha256 = folder.sha256("engine.blob")
        edit(folder.path / name, lambda one, sha256=sha256: one.update(engine_sha256=sha256))
    judge_again(workspace, "meter-fp16")
    with pytest.raises(WrongEngine, match="got another one"):
        signed(workspace, release)


def test_not_published(workspace: Workspace, add_engine: AddEngine) -> None:
    add_engine("fp16")
    with pytest.raises(InputError, match="`release publish` writes"):
        signed(workspace, f"v1.0-{TARGET}-fp16-{'0' * 12}")
    with pytest.raises(InputError, match="release publish"):
        sign.sign_candidates(workspace, TARGET, None, lambda _: None)


def test_clock_at_1970(workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    key = add_key(workspace, "ours")
    at(monkeypatch, 1970)
    with pytest.raises(WrongEngine, match="when the release was signed it was 1970-01-01"):
        signed(workspace, release, key)
    assert not attestation_path(workspace, release).exists()


def test_clock_ten_years_ahead(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it signs is refused wherever the clock is right."""
    key = add_key(workspace, "ours")
    with monkeypatch.context() as ahead:
        at(ahead, 2036)
        signed(workspace, release, key)
    with pytest.raises(WrongEngine, match="signed on 2036-01-01"):
        verified(workspace, release)


def at(monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime(year, 1, 1, tzinfo=timezone.utc)

    monkeypatch.setattr(sign, "datetime", Clock)


def test_a_key_that_expired(workspace: Workspace, release: str) -> None:
    key = add_key(workspace, "ours")
    change_record(workspace, "ours", valid_from="2020-01-01T00:00:00Z")
    change_record(workspace, "ours", valid_until="2021-01-01T00:00:00Z")
    with pytest.raises(WrongEngine, match="expired on 2021-01-01"):
        signed(workspace, release, key)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x00" * 100])
def test_a_damaged_statement_is_made_again(
    workspace: Workspace, release: str, content: bytes
) -> None:
    signed(workspace, release).write_bytes(content)
    signed(workspace, release)
    assert verified(workspace, release)


@pytest.mark.parametrize("command", ["sign", "pack", "push"])
def test_a_release_of_another_target(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert run(workspace, monkeypatch, "sign", release, "--target", TARGET).exit_code == 0
    result = run(workspace, monkeypatch, command, release, "--target", "jetson-orin-nx")
    assert result.exit_code == 2
    assert f"Expected a release of target jetson-orin-nx, got {release}" in result.stderr


def test_pushed_is_of_candidates(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(workspace, monkeypatch, "sign", release, "--pushed")
    assert result.exit_code == 2
    assert "Expected --pushed without a TAG" in result.stderr


class TestKeygen:
    def test_a_key_and_its_record(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        result = run(workspace, monkeypatch, "keygen", "ours", "--until", "2030-01-01")
        assert result.exit_code == 0
        (one,) = trusted_keys(workspace)
        assert one.valid_until == datetime(2030, 1, 1, tzinfo=timezone.utc)
        assert "release/trust/private/ours.pem" in result.stdout
        assert "release/trust/keys/ours.json" in result.stdout
        again = run(workspace, monkeypatch, "keygen", "ours")
        assert again.exit_code == 2
        assert "never overwritten" in again.stderr

    def test_the_record_of_a_token_s_key(
        self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        add_key(workspace, "first")
        (one,) = trusted_keys(workspace)
        (tmp_path / "public.pem").write_text(one.public_key)
        record_file(workspace, "first").unlink()
        arguments = ["keygen", "token", "--public", str(tmp_path / "public.pem")]
        assert run(workspace, monkeypatch, *arguments).exit_code == 0
        (other,) = trusted_keys(workspace)
        assert (other.name, other.keyid) == ("token", one.keyid)

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["../ours"], "as the name of a key, got '../ours'"),
            (["ours", "--from", "2026-02-01", "--until", "2026-01-01"], "Expected --until to be"),
            (["ours", "--public", "a.pem", "--private", "b.pem"], "got both"),
        ],
    )
    def test_refused(
        self,
        workspace: Workspace,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        said: str,
    ) -> None:
        result = run(workspace, monkeypatch, "keygen", *arguments)
        assert result.exit_code == 2
        assert said in result.stderr
        assert not workspace.trust.exists()


def test_the_record_is_what_it_is_called(workspace: Workspace) -> None:
    add_key(workspace, "ours")
    document = json.loads(record_file(workspace, "ours").read_text())
    assert TrustedKey.model_validate(document).name == "ours"
    assert document.keys() == {
        *("schema", "name", "keyid", "public_key", "valid_from", "valid_until")
    }


def test_a_pushed_release_is_signed_by_no_other_key(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statement is in the image, and the tag is that image's; the same key changes nothing."""
    old, new = add_key(workspace, "old"), add_key(workspace, "new")
    before = signed(workspace, release, old).read_bytes()
    (image,) = pack.pack(workspace, release, None, lambda _: None)
    pushed = image.model_copy(update={"repositories": ("registry.example.com/meter",)})
    pushed.write(image_path(workspace, release))
    result = run(workspace, monkeypatch, "sign", release, "--key", new)
    assert result.exit_code == 7
    assert f"Expected new to have signed the files of {release}, which was pushed" in result.stderr
    assert "A tag never moves: give the model a new `version`" in result.stderr
    for words in (("--key", old), ()):
        result = run(workspace, monkeypatch, "sign", release, *words)
        assert result.exit_code == 0
        assert "stays signed as it is, since it was pushed" in result.stdout
    assert run(workspace, monkeypatch, "sign", "--target", TARGET, "--key", new).exit_code == 0
    assert attestation_path(workspace, release).read_bytes() == before
    # Without a key it stays, and whoever asks is told that it counts for nobody.
    assert "counts here" not in run(workspace, monkeypatch, "sign", release).stdout
    assert "expired" not in run(workspace, monkeypatch, "sign", release).stdout
    change_record(workspace, "old", valid_until="2100-01-01T00:00:00Z")
    at(monkeypatch, 2101)
    result = run(workspace, monkeypatch, "sign", release)
    assert result.exit_code == 0
    assert "Its key old expired on 2100-01-01 00:00 UTC, so the rule" in result.stdout
    record_file(workspace, "old").unlink()
    result = run(workspace, monkeypatch, "sign", release)
    assert result.exit_code == 0
    assert "No key that signed it counts here" in result.stdout


def test_a_tag_with_its_digest_and_a_word_that_is_no_tag(
    workspace: Workspace, release: str
) -> None:
    assert signed(workspace, f"{release}@sha256:{'a' * 64}") == attestation_path(workspace, release)
    with pytest.raises(InputError, match="Expected a tag as v<model version>"):
        signed(workspace, "../elsewhere")


@pytest.mark.parametrize("build", ["", " anew"])
def test_a_candidate_that_nobody_signed_before_it_was_measured_in_vain(
    workspace: Workspace, release: str, add_engine: AddEngine, build: str
) -> None:
    """It stays the candidate; that only PASS is released did not help whoever signs."""
    add_engine("fp16", verdict="INVALID", build=build)
    with pytest.raises(InputError) as raised:
        sign.sign_candidates(workspace, TARGET, None, lambda _: None)
    said = str(raised.value)
    assert f"Expected {release} in " in said
    assert ("built since then, is INVALID" in said) == bool(build)
    record = workspace.records / release
    removed = f"nobody has the release yet, remove {workspace.relative(record)}"
    assert (removed in said) != bool(build)
    # Which leads on, though it is another measurement then.
    add_engine("fp16", p50_ms=11.0, build=build)
    if not build:
        shutil.rmtree(record)
    again = publish_on_paper(workspace, "meter-fp16").release
    assert (again == release) != bool(build)
    assert signed(workspace, again).is_file()
