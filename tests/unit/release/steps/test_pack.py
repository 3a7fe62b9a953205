"""pack: what is signed becomes an image, the same one each time; nothing else does."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
from factories.bases import use_base
from factories.paper import TARGET, edit, judge_again
from typer.testing import CliRunner, Result

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.records.signed_folder import verify_folder
from release.cli import commands
from release.image.bases import write_digest
from release.image.layout import Layout
from release.packed import Base, ImageRecord, image_path, read_image
from release.records import attestation_path, signed_path
from release.signing.keys import trying_key
from release.steps import keygen
from release.steps.pack import pack
from release.steps.sign import sign_candidates, sign_release
from release.steps.write import write
from tests.unit.release.publications import publish_on_paper, record

ROOT = Path(__file__).parents[4]
FILES = {"attestation.json", "engine.blob", "evaluation.json", "manifest.json", "verdict.json"}


INVALID = {"valid": False, "reasons": ["Others took 21 % of the processors."]}


def say(_: str) -> None:
    pass


@pytest.fixture
def release(workspace: Workspace, add_engine: Callable[..., str]) -> str:
    """A release that was published and signed."""
    add_engine("fp16")
    publication = publish_on_paper(workspace, "meter-fp16")
    record(workspace, publication)
    sign_release(workspace, publication.release, None, None, say)
    return publication.release


@pytest.fixture
def run(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(workspace.root)
    return lambda *words: CliRunner().invoke(commands, ["pack", *words])


def state(workspace: Workspace) -> dict[str, tuple[bytes, int]]:
    folders = (workspace.images, workspace.records)
    return {
        str(path): (path.read_bytes(), path.stat().st_mtime_ns)
        for folder in folders
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_what_is_in_the_image(workspace: Workspace, release: str, tmp_path: Path) -> None:
    (one,) = pack(workspace, release, None, say)
    layout = Layout(workspace.images)
    image = layout.image(release)
    assert image.digest == one.digest == layout.images()[release].digest
    folder = tmp_path / "out"
    folder.mkdir()
    assert layout.files(image, folder).keys() >= FILES
    trying = trying_key(workspace)
    assert trying is not None
    assert verify_folder(folder, [trying]).statement.predicate.release == release
    assert (folder / "attestation.json").read_bytes() == attestation_path(
        workspace, release
    ).read_bytes()
    assert image.config.platform.architecture == "amd64"
    labels = json.loads(image.config_bytes)["config"]["Labels"]
    assert labels == image.manifest.annotations
    assert labels["org.opencontainers.image.revision"] == "c" * 40
    assert labels["io.jetrail.release"] == release
    assert labels["io.jetrail.model"] == "meter"
    assert labels["io.jetrail.target"] == TARGET
    assert labels["io.jetrail.precision"] == "fp16"
    assert labels["io.jetrail.backend"] == "openvino"
    assert labels["io.jetrail.engine.sha256"] == one.files["engine.blob"]
    assert "io.jetrail.jetpack" not in labels


def test_the_record(workspace: Workspace, release: str) -> None:
    (one,) = pack(workspace, release, None, say)
    assert read_image(workspace, release) == one
    assert one.base is None
    assert one.platform == "linux/amd64"
    assert one.repositories == ()
    assert one.files.keys() >= FILES
    assert one.manifest_bytes == Layout(workspace.images).image(release).descriptor.size
    edit(image_path(workspace, release), lambda one: one.update(release="another"))
    with pytest.raises(WrongEngine, match="got that of another"):
        read_image(workspace, release)


def test_packing_again_changes_nothing(workspace: Workspace, release: str) -> None:
    said: list[str] = []
    pack(workspace, release, None, say)
    before = state(workspace)
    pack(workspace, None, TARGET, said.append)
    assert state(workspace) == before
    assert said[-1].endswith("is packed already")


def test_another_clone_makes_the_same_image(
    workspace: Workspace, release: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Workspace(root=tmp_path_factory.mktemp("other") / "clone")
    shutil.copytree(workspace.root, other.root)
    digests = {pack(one, release, None, say)[0].digest for one in (workspace, other)}
    assert len(digests) == 1


def test_not_signed(workspace: Workspace, release: str, run: Callable[..., Result]) -> None:
    attestation_path(workspace, release).unlink()
    result = run("--target", TARGET)
    assert result.exit_code == 2
    assert f"Run `release sign {release}` first." in result.stderr
    assert not image_path(workspace, release).exists()


@pytest.mark.parametrize("name", ["engine.blob", "manifest.json", "evaluation.json"])
def test_changed_between_publish_and_pack(
    workspace: Workspace, release: str, run: Callable[..., Result], name: str
) -> None:
    path = workspace.engine(TARGET, "meter-fp16").path / name
    path.write_bytes(path.read_bytes().replace(b"fp16", b"fp61") + b" ")
    result = run(release)
    assert result.exit_code == 5
    assert name in result.stderr
    assert not image_path(workspace, release).exists()


def test_changed_while_it_is_packed(
    workspace: Workspace, release: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_stream = Layout.add_stream

    def then_changed(self: Layout, *arguments: Any) -> Any:
        (workspace.engine(TARGET, "meter-fp16").path / "engine.blob").write_bytes(b"another")
        return add_stream(self, *arguments)

    monkeypatch.setattr(Layout, "add_stream", then_changed)
    with pytest.raises(WrongEngine, match="is not the file that was signed"):
        pack(workspace, release, None, say)
    assert Layout(workspace.images).images() == {}


def test_a_statement_on_another_release(workspace: Workspace, release: str) -> None:
    path = attestation_path(workspace, release)
    other = path.read_bytes().replace(b'"payload": "', b'"payload": "A')
    path.write_bytes(other)
    with pytest.raises(WrongEngine):
        pack(workspace, release, None, say)


def test_candidates_whose_engines_are_elsewhere(workspace: Workspace, release: str) -> None:
    said: list[str] = []
    shutil.rmtree(workspace.engine(TARGET, "meter-fp16").path)
    assert pack(workspace, None, None, said.append) == []
    assert said == [
        f"{release}: left out, since its engine is not on this machine; pack it where it is"
    ]
    with pytest.raises(InputError, match=r"verdict\.json"):
        pack(workspace, None, TARGET, say)


def test_a_pushed_release_stays_what_it_is(workspace: Workspace, release: str) -> None:
    (one,) = pack(workspace, release, None, say)
    one.model_copy(update={"repositories": ("registry.example.com/meter",)}).write(
        image_path(workspace, release)
    )
    statement = attestation_path(workspace, release).read_bytes()
    attestation_path(workspace, release).unlink()
    # ECDSA: another signature, which would be of no image. It was signed, and `push` refused it.
    with pytest.raises(InputError, match=f"--target {TARGET} --pushed` takes that"):
        sign_release(workspace, release, None, None, say)
    attestation_path(workspace, release).write_bytes(statement)
    said: list[str] = []
    (again,) = pack(workspace, release, None, said.append)
    assert again.digest == one.digest == Layout(workspace.images).images()[release].digest
    assert "since it was pushed to registry.example.com/meter" in said[-1]
    sign_release(workspace, release, None, None, said.append)
    assert "stays signed as it is, since it was pushed" in said[-1]


@pytest.fixture
def pushed(workspace: Workspace, release: str) -> ImageRecord:
    """The release, packed on no base, as `release push` records it."""
    shutil.copyfile(ROOT / "release" / "bases.yaml", workspace.bases_file)
    (one,) = pack(workspace, release, None, say)
    one = one.model_copy(update={"repositories": ("registry.example.com/meter",)})
    one.write(image_path(workspace, release))
    return one


@pytest.mark.parametrize(
    ("base", "digest", "said"),
    [
        (None, None, "it stands on no base, and release/bases.yaml says x86 by now"),
        (None, "d" * 64, "it stands on no base, and release/bases.yaml says x86 sha256:dddd"),
        ("c" * 64, "d" * 64, "it stands on x86 sha256:cccccccccccc…, and release/bases.yaml"),
    ],
)
def test_a_pushed_release_moves_to_no_other_base(
    workspace: Workspace,
    pushed: ImageRecord,
    run: Callable[..., Result],
    base: str | None,
    digest: str | None,
    said: str,
) -> None:
    """By its name it is refused, with the way; as a candidate, as in `dvc repro`, it stays."""
    if base:
        pushed = pushed.model_copy(update={"base": Base(name="x86", digest=f"sha256:{base}")})
        pushed.write(image_path(workspace, pushed.release))
    use_base(workspace, TARGET, "x86")
    if digest:
        write_digest(workspace, "x86", f"sha256:{digest}")
    result = run(pushed.release)
    assert result.exit_code == 7
    assert said in result.stderr
    assert "A tag never moves: give the model a new `version` in its model.yaml" in result.stderr
    heard: list[str] = []
    assert pack(workspace, None, TARGET, heard.append) == [pushed]
    assert said in heard[-1]
    assert read_image(workspace, pushed.release) == pushed


def test_on_the_base_that_it_has_a_pushed_release_is_left_in_peace(
    workspace: Workspace, pushed: ImageRecord
) -> None:
    said: list[str] = []
    assert pack(workspace, pushed.release, None, said.append) == [pushed]
    assert len(said) == 1


def test_what_names_the_image_that_a_release_was_before_is_named(
    workspace: Workspace, release: str
) -> None:
    """Signed by another key it is another image, and no registry will ever have the first."""
    (first,) = pack(workspace, release, None, say)
    write(workspace, TARGET, say)
    said: list[str] = []
    pack(workspace, release, None, said.append)
    assert said == [f"{release}@{first.digest} is packed already"]
    keygen.keygen(workspace, "ours")
    sign_release(workspace, release, None, None, say)
    pack(workspace, release, None, said.append)
    canary = "release/fleet/meter/x86-openvino/canary/release.yaml"
    assert said[-1].startswith(f"{canary} names the image that it was before; `release write`")
    (workspace.root / canary).write_text("no: release\n")
    pack(workspace, release, None, said.append)
    assert said[-1].endswith("is packed already")
    write(workspace, TARGET, say)
    pack(workspace, release, None, said.append)
    assert said[-1].endswith("is packed already")


def test_an_engine_that_was_measured_again_stays_packed_as_it_is(
    workspace: Workspace, release: str
) -> None:
    pack(workspace, release, None, say)
    folder = workspace.engine(TARGET, "meter-fp16")
    edit(folder.path / "evaluation.json", lambda one: one.update(map50=0.91))
    judge_again(workspace, "meter-fp16")
    before, said = state(workspace), list[str]()
    sign_candidates(workspace, TARGET, None, said.append)
    pack(workspace, None, TARGET, said.append)
    assert all("since it was measured again" in one for one in said)
    assert state(workspace) == before | {str(signed_path(workspace, TARGET)): ANY}


def test_a_release_that_was_measured_again_says_that_it_is_on_another_base(
    workspace: Workspace, release: str
) -> None:
    """Nobody has it yet, but it stays as it is, so the new base is not below it either."""
    shutil.copyfile(ROOT / "release" / "bases.yaml", workspace.bases_file)
    pack(workspace, release, None, say)
    folder = workspace.engine(TARGET, "meter-fp16")
    edit(folder.path / "evaluation.json", lambda one: one.update(map50=0.91))
    judge_again(workspace, "meter-fp16")
    use_base(workspace, TARGET, "x86")
    for wanted in ((None, TARGET), (release, None)):
        said: list[str] = []
        pack(workspace, *wanted, said.append)
        assert "since it was measured again" in said[0]
        assert "it stands on no base, and release/bases.yaml says x86 by now. A tag" in said[1]


@pytest.mark.parametrize("how", ["invalid", "no longer in the row", "not on this machine"])
def test_a_candidate_whose_engine_does_not_pass_by_now_stays_as_it_is(
    workspace: Workspace, release: str, how: str
) -> None:
    """INVALID takes no candidate away, so the stages of DVC go on with it."""
    pack(workspace, release, None, say)
    folder = workspace.engine(TARGET, "meter-fp16")
    if how == "invalid":
        edit(folder.path / "benchmark.json", lambda one: one["validity"].update(INVALID))
        judge_again(workspace, "meter-fp16")
    elif how == "no longer in the row":
        row = workspace.target(TARGET) / "params.yaml"
        row.write_text(row.read_text().replace("meter-fp16", "meter-fp32"))
    else:
        shutil.rmtree(folder.path)
    before, said = state(workspace), list[str]()
    sign_candidates(workspace, TARGET, None, said.append)
    (packed,) = pack(workspace, None, TARGET, said.append)
    assert packed.release == release
    assert all("meter-fp16 does not lie here as one that passed" in one for one in said)
    assert state(workspace) == before | {str(signed_path(workspace, TARGET)): ANY}


def test_two_at_once(workspace: Workspace, release: str) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(
            target=lambda: found.extend(one.digest for one in pack(workspace, release, None, say))
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert len(list((workspace.images / "blobs" / "sha256").iterdir())) == 3
