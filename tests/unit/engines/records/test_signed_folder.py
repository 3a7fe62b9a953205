"""`/models` is what was signed: no file altered, missing or extra, and no other engine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from factories.paper import edit
from factories.signed import FILES, SIGNED_AT, Signer, sign_folder, statement_of
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import WrongEngine
from engines.records.attestation import FILE, Digest
from engines.records.manifest import Manifest
from engines.records.signed_folder import verify_folder

OURS = Signer()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return sign_folder(tmp_path / "models", OURS)


def refused(models: Path) -> str:
    with pytest.raises(WrongEngine) as caught:
        verify_folder(models, [OURS.record()])
    return str(caught.value)


def sign_again(models: Path, **changes: object) -> None:
    (models / FILE).write_bytes(OURS.envelope(statement_of(models, **changes)))


def test_as_it_was_signed(models: Path) -> None:
    assert verify_folder(models, [OURS.record()], SIGNED_AT).key == OURS.record()


@pytest.fixture(scope="module")
def one_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sign_folder(tmp_path_factory.mktemp("models"), OURS)


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None)
@given(data=st.data())
def test_no_bit_of_a_file_can_be_changed(one_folder: Path, name: str, data: st.DataObject) -> None:
    path = one_folder / name
    content = path.read_bytes()
    altered = bytearray(content)
    altered[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(altered)
    try:
        assert f"{name} was altered" in refused(one_folder)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("name", FILES)
def test_missing(models: Path, name: str) -> None:
    (models / name).unlink()
    assert f"{name} is missing" in refused(models)


def test_statement_missing(models: Path) -> None:
    (models / FILE).unlink()
    assert "nobody says that these files may run" in refused(models)


def test_extra(models: Path) -> None:
    (models / "extra.bin").write_bytes(b"")
    assert "extra.bin is there, for which nobody signed" in refused(models)


@pytest.mark.parametrize(
    "lay",
    [
        lambda path: path.mkdir(),
        lambda path: path.symlink_to("engine.blob"),
        lambda path: path.symlink_to("nowhere"),
        os.mkfifo,
    ],
)
def test_what_is_no_plain_file(models: Path, lay: Callable[[Path], None]) -> None:
    lay(models / "more")
    assert "got more, which is a link or a folder" in refused(models)


def test_a_file_behind_a_link(models: Path, tmp_path: Path) -> None:
    """With the right content today, and another one tomorrow."""
    (models / "engine.blob").rename(tmp_path / "elsewhere")
    (models / "engine.blob").symlink_to(tmp_path / "elsewhere")
    assert "got engine.blob, which is a link" in refused(models)


@pytest.mark.parametrize("made", [True, False])
def test_empty(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "models"
    if made:
        folder.mkdir()
    assert "got an empty folder or none. See that the image is mounted" in refused(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("target", "jetson-orin-nx"),
        ("engine", "other-fp16"),
        ("model_version", "2.0"),
        ("engine_sha256", "f" * 64),
        ("backend_version", "2"),
        ("weights_sha256", "f" * 64),
        ("onnx_sha256", "f" * 64),
        ("git_commit", "f" * 40),
    ],
)
def test_right_signature_over_another_engine(models: Path, field: str, value: str) -> None:
    sign_again(models, **{field: value})
    said = refused(models)
    assert f"it says {field} {value}, manifest.json says" in said


def test_right_signature_over_another_device_s_engine(models: Path) -> None:
    device = Manifest.read(models / Manifest.file).device
    sign_again(models, device=device.model_copy(update={"isa": ("amx_int8",)}))
    assert "it says device.isa ('amx_int8',), manifest.json says ()" in refused(models)


def test_an_engine_that_was_not_signed(models: Path) -> None:
    path = models / Manifest.file
    path.write_text(path.read_text().replace('"engine.blob"', '"evaluation.json"'))
    sign_again(models)
    assert "does not bind the engine" in refused(models)


def test_a_manifest_that_is_none(models: Path) -> None:
    statement = statement_of(models)
    (models / Manifest.file).write_text("{}")
    sha256 = hashlib.sha256(b"{}").hexdigest()
    subject = tuple(
        one.model_copy(update={"digest": Digest(sha256=sha256)})
        if one.name == Manifest.file
        else one
        for one in statement.subject
    )
    (models / FILE).write_bytes(OURS.envelope(statement.model_copy(update={"subject": subject})))
    assert "manifest.json is not what `pipeline build` writes" in refused(models)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"verdict": "PASS"', '"verdict": "FAIL"', "got FAIL for"),
        ('"verdict": "PASS"', '"verdict": "INVALID"', "got INVALID for"),
        ('"verdict": "PASS"', '"verdict": "GOOD"', "verdict.json is not what `pipeline gate`"),
        ('"engine_sha256": "', '"engine_sha256": "f', "verdict.json is not what `pipeline gate`"),
    ],
)
def test_a_verdict_file_without_a_pass(models: Path, old: str, new: str, said: str) -> None:
    path = models / "verdict.json"
    path.write_text(path.read_text().replace(old, new))
    sign_again(models)
    assert said in refused(models)


def test_a_verdict_on_another_engine(models: Path) -> None:
    path = models / "verdict.json"
    edit(path, lambda one: one.update(engine_sha256="f" * 64))
    sign_again(models)
    assert "got PASS for ffffffffffff" in refused(models)


@pytest.mark.parametrize("name", ["manifest.json", "verdict.json"])
def test_a_record_that_was_not_signed(models: Path, name: str) -> None:
    statement = statement_of(models)
    (models / name).unlink()
    subject = tuple(one for one in statement.subject if one.name != name)
    (models / FILE).write_bytes(OURS.envelope(statement.model_copy(update={"subject": subject})))
    assert f"Expected {name} among the files that were signed" in refused(models)
