"""From records alone to the release.yaml of the first ring."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from factories.signed import Signer, sign_folder

from engines.config.workspace import Workspace
from engines.errors import GateFailed, InputError, JetrailError, WrongEngine
from engines.machine.fingerprint import read_fingerprint
from engines.records.attestation import FILE
from engines.records.fingerprint import Fingerprint
from release.packed import image_path
from release.records import attestation_path, candidates_path, publication_path
from release.rollout.release_yaml import read_values, release_file
from release.smoke import wanted
from release.smoke.record import Smoke, smoke_path
from release.steps.publish import publish
from release.steps.status import status
from release.steps.write import write
from tests.unit.release.publications import IMAGE, PUBLICATION, TARGET, publication_of, record

RELEASE = PUBLICATION.release


@pytest.fixture
def canary(workspace: Workspace) -> Path:
    """The release.yaml of the canary ring, in a repository where a release was published."""
    record(workspace, PUBLICATION)
    return release_file(workspace, "meter", TARGET, "canary")


SMOKE = Smoke(
    release=RELEASE,
    digest=IMAGE.digest,
    runtime=None,
    container_engine="podman 4.3.1",
    device="a processor",
    memory_limit_mib=1024,
    ran_at=datetime(2026, 5, 1, tzinfo=timezone.utc),
    verdict="PASS",
    reasons=(),
    boxes=None,
    times=None,
)


def add_target(workspace: Workspace, name: str, label: str) -> None:
    """Another row, and the folders of its rings."""
    row = (workspace.target(TARGET) / "params.yaml").read_text()
    path = workspace.target(name) / "params.yaml"
    path.parent.mkdir(exist_ok=True)
    row = row.replace(f"target: {TARGET}", f"target: {name}")
    path.write_text(row.replace(f"fleet_label: {TARGET}", f"fleet_label: {label}"))
    folder = workspace.fleet / "meter"
    shutil.copytree(folder / TARGET, folder / name, dirs_exist_ok=True)


def test_writes_once(workspace: Workspace, canary: Path) -> None:
    people = canary.with_name("fleet.yaml").read_bytes()
    said: list[str] = []
    assert write(workspace, TARGET, said.append) == {canary: RELEASE}
    values = read_values(canary)
    assert values is not None
    assert values.image.tag == RELEASE
    modified = canary.stat().st_mtime_ns
    assert write(workspace, TARGET, said.append) == {canary: RELEASE}
    assert canary.stat().st_mtime_ns == modified
    assert said[0].endswith("its tag has no digest; see `release pack`")
    assert said[1].endswith("written")
    assert said[3].endswith("is there already")
    assert canary.with_name("fleet.yaml").read_bytes() == people
    others = [release_file(workspace, "meter", TARGET, ring) for ring in ("pilot", "production")]
    assert not any(path.exists() for path in others)


def test_a_packed_release_has_its_digest(workspace: Workspace, canary: Path) -> None:
    IMAGE.write(image_path(workspace, RELEASE))
    assert write(workspace, TARGET, _quiet) == {canary: f"{RELEASE}@{IMAGE.digest}"}
    values = read_values(canary)
    assert values is not None
    assert values.image.tag == f"{RELEASE}@{IMAGE.digest}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"files": {"engine.blob": "e" * 64}}, "Expected the engine 3f2a91c04b7e in the image"),
        ({"files": {}}, "got none"),
        ({"release": "another"}, "got that of another"),
    ],
)
def test_an_image_of_another_engine(
    workspace: Workspace, canary: Path, change: dict[str, Any], said: str
) -> None:
    IMAGE.model_copy(update=change).write(image_path(workspace, RELEASE))
    _refused(workspace, WrongEngine, said)


def test_a_machine_without_engines(workspace: Workspace, canary: Path) -> None:
    """A release manager's clone: no out/ folders, and no row of a target that was renamed."""
    assert not list(workspace.targets.glob("*/out"))
    shutil.rmtree(workspace.target(TARGET))
    assert write(workspace, None, _quiet) == {canary: RELEASE}
    (one,) = status(workspace, None).statuses
    assert one.candidate == PUBLICATION
    assert one.rings["canary"].here == read_values(canary)
    assert one.rings["pilot"].here is None


def test_every_target_there_is_a_record_of(workspace: Workspace, canary: Path) -> None:
    add_target(workspace, "line-4", "line-4")
    add_target(workspace, "never-published", "never-published")
    other = publication_of("line-4")
    record(workspace, other)
    path = release_file(workspace, "meter", "line-4", "canary")
    assert write(workspace, None, _quiet) == {path: other.release, canary: RELEASE}
    assert [one.target for one in status(workspace, None).statuses] == ["line-4", TARGET]
    assert [one.target for one in status(workspace, "line-4").statuses] == ["line-4"]


def test_a_model_that_lost_its_candidate_is_said(workspace: Workspace, canary: Path) -> None:
    """Beside one that has one nothing was said of it, and its canary goes on with what it has."""
    shutil.copytree(workspace.fleet / "meter", workspace.fleet / "gauge")
    write(workspace, TARGET, lambda _: None)
    record(workspace, publication_of(TARGET, "gauge"))
    said: list[str] = []
    assert [path.parts[-4] for path in write(workspace, TARGET, said.append)] == ["gauge"]
    lost = (
        f"meter on {TARGET}: no engine passed, so no release.yaml changes; canary stays with "
        f"{RELEASE}"
    )
    assert lost in said


def test_all_is_checked_before_the_first_file_is_written(
    workspace: Workspace, canary: Path
) -> None:
    add_target(workspace, "a-before", "a-before")
    record(workspace, publication_of("a-before"))
    canary.with_name("fleet.yaml").unlink()
    with pytest.raises(InputError, match=r"canary/fleet\.yaml, which says which clusters"):
        write(workspace, None, _quiet)
    assert not list(workspace.fleet.rglob("release.yaml"))


def test_label_of_another_target(workspace: Workspace, canary: Path) -> None:
    add_target(workspace, "line-4", TARGET)
    _refused(workspace, InputError, f"got '{TARGET}', which is that of line-4 too")
    add_target(workspace, "line-4", "line-4")
    assert write(workspace, TARGET, _quiet) == {canary: RELEASE}


def test_label_since_the_release_was_published(workspace: Workspace, canary: Path) -> None:
    """Its record has that of its day; another target may have this one by now, or have the new."""
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row.read_text().replace(f"fleet_label: {TARGET}", "fleet_label: line-5"))
    add_target(workspace, "line-4", "x")
    other = workspace.target("line-4") / "params.yaml"
    _refused(workspace, InputError, "got 'line-5', which is that of line-4 too")
    other.write_text(other.read_text().replace("fleet_label: line-5", f"fleet_label: {TARGET}"))
    assert write(workspace, TARGET, _quiet) == {canary: RELEASE}


def test_record_that_was_edited(workspace: Workspace, canary: Path) -> None:
    path = publication_path(workspace, RELEASE)
    content = json.loads(path.read_text())
    content["checks"][0]["measured"] = 9999.0
    path.write_text(json.dumps(content))
    _refused(workspace, WrongEngine, "does not add up")


def test_candidate_of_another_model(workspace: Workspace, canary: Path) -> None:
    path = candidates_path(workspace, TARGET)
    path.write_text(path.read_text().replace('"meter": {', '"other": {'))
    _refused(workspace, InputError, "the candidate of other on x86-openvino, got v1.0-")


def test_lock_that_cannot_be_taken(workspace: Workspace, canary: Path) -> None:
    """As on a disk that may only be read, where the error names the file."""
    (workspace.root / ".jetrail-release.lock").mkdir()
    before = sorted(workspace.root.rglob("*"))
    with pytest.raises(IsADirectoryError):
        write(workspace, TARGET, _quiet)
    assert sorted(workspace.root.rglob("*")) == before


def test_publish_and_a_lock_that_cannot_be_taken(workspace: Workspace, add_engine: Any) -> None:
    add_engine("fp16")
    (workspace.root / ".jetrail-release.lock").mkdir()
    before = sorted(workspace.root.rglob("*"))
    with pytest.raises(IsADirectoryError):
        publish(workspace, TARGET, "meter-fp16", _quiet)
    assert sorted(workspace.root.rglob("*")) == before


def test_record_is_missing(workspace: Workspace, canary: Path) -> None:
    publication_path(workspace, RELEASE).unlink()
    _refused(workspace, InputError, "which `release publish` writes")


def test_not_published(workspace: Workspace, canary: Path) -> None:
    candidates_path(workspace, TARGET).unlink()
    _refused(workspace, InputError, "which `release publish` writes")


def test_files_of_an_older_version(workspace: Workspace, canary: Path) -> None:
    (workspace.root / "release" / "published").mkdir()
    _refused(workspace, InputError, "`dvc repro`")
    for refused in (
        lambda: status(workspace, None),
        lambda: publish(workspace, TARGET, None, _quiet),
    ):
        with pytest.raises(InputError, match="`dvc repro`"):
            refused()


def test_candidates_are_not_json(workspace: Workspace, canary: Path) -> None:
    candidates_path(workspace, TARGET).write_text("{")
    _refused(workspace, InputError, "is not what `release publish` writes")


def _refused(workspace: Workspace, kind: type[JetrailError], match: str) -> None:
    with pytest.raises(kind, match=match):
        write(workspace, TARGET, _quiet)
    assert not list(workspace.fleet.rglob("release.yaml"))


def _quiet(text: Any) -> None:
    """Say nothing."""


# --- smoked --------------------------------------------------------------------------------------


def test_an_image_that_failed_in_a_container_is_not_written(
    workspace: Workspace, canary: Path
) -> None:
    IMAGE.write(image_path(workspace, RELEASE))
    failed = SMOKE.model_copy(update={"verdict": "FAIL", "reasons": ("2 boxes are missing",)})
    failed.write(smoke_path(workspace, RELEASE))
    with pytest.raises(GateFailed, match="failed in a container: 2 boxes are missing. Build"):
        write(workspace, TARGET, lambda _: None)
    assert not canary.exists()
    # What another image of the release did says nothing of this one.
    other = failed.model_copy(update={"digest": f"sha256:{'0' * 64}"})
    other.write(smoke_path(workspace, RELEASE))
    write(workspace, TARGET, lambda _: None)
    assert canary.exists()


def test_write_says_whether_an_image_was_smoked(
    workspace: Workspace, canary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signer = Signer("ours")
    IMAGE.write(image_path(workspace, RELEASE))
    signer.record().write(workspace.trusted_keys / "ours.json")
    here = read_fingerprint()

    def said(device: Fingerprint) -> str:
        folder = sign_folder(tmp_path / device.architecture, signer, release=RELEASE, device=device)
        shutil.copyfile(folder / FILE, attestation_path(workspace, RELEASE))
        lines: list[str] = []
        write(workspace, TARGET, lines.append)
        (found,) = (line for line in lines if "smoked" in line)
        return found

    monkeypatch.setattr(wanted, "installed", lambda: "podman")
    assert f"not smoked yet; run `release smoke {RELEASE}`" in said(here)
    other = here.model_copy(update={"architecture": "aarch64"})
    assert "not smoked, since this machine is" in said(other)
    monkeypatch.setattr(wanted, "installed", lambda: None)
    assert "not smoked, since neither podman nor docker is installed here" in said(here)
    SMOKE.write(smoke_path(workspace, RELEASE))
    assert said(here).endswith("smoked with PASS")
