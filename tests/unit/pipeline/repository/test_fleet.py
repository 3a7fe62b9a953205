"""The folders of release/fleet: one bundle a folder, each with its own clusters."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from engines.config.names import NAME_PATTERN
from engines.config.rings import load_rings
from engines.config.target import load_target, readable_targets
from engines.config.workspace import Workspace
from engines.errors import InputError
from pipeline.repository.fleet import fleet_folders, release_name

TESTS = Path(__file__).parents[3]
REPOSITORY = Workspace(root=TESTS.parent)
SCHEMA = json.loads((TESTS / "documented" / "fleet.yaml.schema.json").read_text())
MODEL, TARGET = "meter-yolov8n", "jetson-orin-nx"
RINGS = ("canary", "pilot", "production")

names = st.from_regex(NAME_PATTERN, fullmatch=True).filter(lambda name: len(name) <= 40)


def load(path: Path) -> Any:
    return YAML(typ="safe", pure=True).load(path)


def check_fleet_yaml(path: Path) -> Any:
    """Fleet's own schema; Fleet itself reads loosely, and what it does not know vanishes."""
    content = load(path)
    jsonschema.Draft202012Validator(SCHEMA).validate(content)
    return content


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A repository with the rings, templates and target of this one."""
    workspace = Workspace(root=tmp_path)
    for file in (
        "release/rings.yaml",
        "release/templates/fleet.yaml",
        "release/templates/release.yaml",
        f"engines/targets/{TARGET}/params.yaml",
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((REPOSITORY.root / file).read_bytes())
    return workspace


def lay_out(workspace: Workspace, *models: str) -> None:
    with fleet_folders(workspace, models, [load_target(workspace, TARGET)]):
        pass


def snapshot(workspace: Workspace) -> dict[Path, bytes | None]:
    found = workspace.root.rglob("*")
    return {path: path.read_bytes() if path.is_file() else None for path in found}


# --- laying out --------------------------------------------------------------------------------


def test_golden(workspace: Workspace) -> None:
    lay_out(workspace, MODEL)
    folder = workspace.ring(MODEL, TARGET, "canary")
    assert (folder / "fleet.yaml").read_text() == (TESTS / "golden" / "fleet.yaml").read_text()
    check_fleet_yaml(folder / "fleet.yaml")
    assert {path.name for path in folder.iterdir()} == {"fleet.yaml", "release.yaml"}
    assert load(folder / "release.yaml")["image"] == {"tag": ""}


def test_a_folder_for_each_ring_selects_its_own_clusters(workspace: Workspace) -> None:
    row = workspace.target(TARGET) / "params.yaml"
    row.write_text(row.read_text().replace(f"fleet_label: {TARGET}", "fleet_label: line-4"))
    lay_out(workspace, MODEL)
    for ring in RINGS:
        content = check_fleet_yaml(workspace.ring(MODEL, TARGET, ring) / "fleet.yaml")
        (target,) = content["overrideTargets"]
        assert target["clusterSelector"] == {"matchLabels": {"device": "line-4", "ring": ring}}
        assert "targetCustomizations" not in content
        assert content["helm"]["valuesFiles"] == ["release.yaml"]
    assert {path.name for path in (workspace.fleet / MODEL / TARGET).iterdir()} == set(RINGS)


def test_people_s_file_is_left_alone(workspace: Workspace) -> None:
    folder = workspace.ring(MODEL, TARGET, "pilot")
    folder.mkdir(parents=True)
    (folder / "fleet.yaml").write_text("# ours\n")
    lay_out(workspace, MODEL)
    assert (folder / "fleet.yaml").read_text() == "# ours\n"
    assert (workspace.ring(MODEL, TARGET, "canary") / "fleet.yaml").is_file()
    before = snapshot(workspace)
    lay_out(workspace, MODEL)
    assert snapshot(workspace) == before


@pytest.mark.parametrize("ours", [False, True])
def test_a_failure_takes_away_what_was_laid_out(workspace: Workspace, ours: bool) -> None:
    if ours:
        workspace.ring(MODEL, TARGET, "pilot").mkdir(parents=True)
    before = snapshot(workspace)
    row = load_target(workspace, TARGET)
    with (
        pytest.raises(InputError, match="what came later"),
        fleet_folders(workspace, [MODEL, "other"], [row]),
    ):
        assert workspace.ring("other", TARGET, "production").is_dir()
        raise InputError("what came later")
    assert snapshot(workspace) == before


@pytest.mark.parametrize(
    "file", ["release/rings.yaml", "release/templates/fleet.yaml", "release/templates/release.yaml"]
)
def test_a_missing_template(workspace: Workspace, file: str) -> None:
    (workspace.root / file).unlink()
    before = snapshot(workspace)
    with pytest.raises(InputError, match=f"git checkout -- {file}"):
        lay_out(workspace, MODEL)
    assert snapshot(workspace) == before


# --- names of releases -------------------------------------------------------------------------


@given(names, names)
def test_a_release_name_is_legal(model: str, target: str) -> None:
    """Also as a label of the chart's objects: helm's own pattern, without dots."""
    name = release_name(model, target)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 53


@given(names, names, st.data())
def test_a_release_name_is_of_one_model_and_target(
    model: str, target: str, data: st.DataObject
) -> None:
    words = f"{model}-{target}"
    dashes = [at for at, letter in enumerate(words) if letter == "-"]
    at = data.draw(st.sampled_from(dashes))
    other = words[:at], words[at + 1 :]
    assert (release_name(*other) == release_name(model, target)) == (other == (model, target))


def test_release_names_of_forty_letters() -> None:
    one, other = "m" * 40, "m" * 39 + "n"
    found = {release_name(one, one), release_name(one, other), release_name(other, one)}
    assert len(found) == 3
    assert {len(name) for name in found} == {53}
    # Cut right behind a dash.
    assert "--" not in release_name("m" * 40, "t" * 4 + "-" + "t" * 20)


# --- this repository ---------------------------------------------------------------------------


def test_each_model_of_each_target_has_its_folders() -> None:
    wanted = {
        REPOSITORY.ring(engine.model, row.target, ring) / "fleet.yaml"
        for row in readable_targets(REPOSITORY)
        for engine in row.engines.values()
        for ring in load_rings(REPOSITORY).names
    }
    assert set(REPOSITORY.fleet.rglob("fleet.yaml")) == wanted


def test_fleet_takes_every_folder_for_one_bundle() -> None:
    labels = {row.target: row.fleet_label for row in readable_targets(REPOSITORY)}
    selected = []
    for path in REPOSITORY.fleet.rglob("fleet.yaml"):
        content = check_fleet_yaml(path)
        target, ring = path.parts[-3:-1]
        (chosen,) = content["overrideTargets"]
        selected.append((path.parts[-4], chosen["clusterSelector"]["matchLabels"]))
        assert selected[-1][1] == {"device": labels[target], "ring": ring}
        # A chart in a folder outside the bundle is not deployed; an OCI chart goes without `repo`.
        assert content["helm"]["chart"].startswith("oci://")
        assert content["helm"].keys() >= {"version", "releaseName", "valuesFiles"}
        assert "repo" not in content["helm"]
    assert all(selected.count(one) == 1 for one in selected)


def test_what_fleet_is_told() -> None:
    content = load(REPOSITORY.fleet / "gitrepo.yaml")
    assert (content["apiVersion"], content["kind"]) == ("fleet.cattle.io/v1alpha1", "GitRepo")
    assert content["spec"].keys() == {"repo", "branch", "paths"}
    found = [path for glob in content["spec"]["paths"] for path in REPOSITORY.root.glob(glob)]
    assert {path / "fleet.yaml" for path in found} == set(REPOSITORY.fleet.rglob("fleet.yaml"))
    # Fleet makes a bundle of a path's root where YAML files lie in or below it without a
    # fleet.yaml (apply.go, shouldCreateBundleForThisPath): none of ours is such a root.
    assert all((path / "fleet.yaml").is_file() for path in found)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_a_template_that_is_not_utf8(workspace: Workspace, encoding: str) -> None:
    template = workspace.root / "release" / "templates" / "fleet.yaml"
    template.write_bytes(("# plain\n# caf\xe9\n").encode(encoding))
    before = snapshot(workspace)
    with pytest.raises(InputError, match=r"fleet.yaml as text in UTF-8, but line [12] holds other"):
        lay_out(workspace, "meter")
    assert snapshot(workspace) == before


@pytest.mark.parametrize("file", ["fleet.yaml", "release.yaml"])
@pytest.mark.parametrize("text", ["", "- a\n", "helm: [\n", "<<<<<<< HEAD\na: 1\n=======\n"])
def test_a_template_that_is_broken_is_laid_out_nowhere(
    workspace: Workspace, file: str, text: str
) -> None:
    template = workspace.root / "release" / "templates" / file
    template.write_text(text)
    before = snapshot(workspace)
    with pytest.raises(
        InputError, match=rf"templates/{file} (as YAML with keys|is not YAML|holds)"
    ):
        lay_out(workspace, "meter")
    assert snapshot(workspace) == before
