"""release.yaml: plain YAML in the article's names, written whole, and read back strictly."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from engines.config.names import VERSION_PATTERN
from engines.config.workspace import Workspace
from engines.errors import InputError
from release.rollout.release_yaml import (
    HEADER,
    NOTHING,
    check_folder,
    dump,
    models_of,
    read_values,
    release_file,
    values_of,
    write_values,
)
from tests.unit.release.publications import PUBLICATION, TARGET

ROOT = Path(__file__).parents[4]
DIGEST = f"sha256:{'d' * 64}"
RELEASE = PUBLICATION.release


@pytest.fixture
def path(workspace: Workspace) -> Path:
    return release_file(workspace, "meter", TARGET, "canary")


def test_the_whole_file(path: Path, workspace: Workspace) -> None:
    assert write_values(path, values_of(PUBLICATION, DIGEST))
    assert path.read_text() == (
        f"{HEADER}"
        "image:\n"
        f"  tag: {RELEASE}@{DIGEST}\n"
        "model:\n"
        "  path: /models/engine.blob\n"
        "  version: '1.0'\n"
    )
    assert HEADER.startswith("# Written whole by `release`: edits are overwritten.")
    relative = path.relative_to(workspace.root).as_posix()
    assert relative == f"release/fleet/meter/{TARGET}/canary/release.yaml"


def test_an_engine_of_tensorrt() -> None:
    plan = PUBLICATION.model_copy(update={"engine_file": "engine.plan"})
    assert values_of(plan).model.path == "/models/engine.plan"


@settings(deadline=None)
@given(st.from_regex(VERSION_PATTERN, fullmatch=True), st.sampled_from([None, DIGEST]))
def test_every_reader_takes_the_values_for_text(version: str, digest: str | None) -> None:
    publication = PUBLICATION.model_copy(
        update={"model_version": version, "release": f"v{version}-{TARGET}-fp16-3f2a91c04b7e"}
    )
    values = values_of(publication, digest)
    text = dump(values)
    for old in (True, False):
        # Helm's and Fleet's readers know YAML 1.1, in which 1.0 and 1_0 are numbers.
        yaml = YAML(typ="safe", pure=True)
        yaml.version = (1, 1) if old else (1, 2)  # type: ignore[assignment]
        assert yaml.load(text) == values.model_dump()


def test_written_once_and_read_back(path: Path) -> None:
    values = values_of(PUBLICATION)
    assert write_values(path, values)
    before = path.stat().st_mtime_ns
    assert not write_values(path, values)
    assert path.stat().st_mtime_ns == before
    assert read_values(path) == values


def test_what_somebody_wrote_into_it_is_overwritten(path: Path) -> None:
    path.write_text("image: [\n")
    assert write_values(path, values_of(PUBLICATION))
    assert read_values(path) == values_of(PUBLICATION)


def test_before_the_first_release(path: Path) -> None:
    assert read_values(path) is None
    path.write_text(dump(NOTHING))
    assert read_values(path) is None
    assert (ROOT / "release/templates/release.yaml").read_text() == dump(NOTHING)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("image: [\n", "is not YAML"),
        ("", "release.yaml: the file"),
        ("image: {tag: x}\n", "release.yaml: model"),
        ("image: {tag: latest}\nmodel: {path: a, version: '1'}\n", "Expected a tag"),
        ("image: {tag: ''}\nmodel: {path: '', version: ''}\nmore: 1\n", "release.yaml: more"),
    ],
)
def test_another_content_is_refused(path: Path, text: str, said: str) -> None:
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_values(path)


def test_a_folder_without_a_fleet_yaml(path: Path) -> None:
    check_folder(path)
    path.with_name("fleet.yaml").unlink()
    with pytest.raises(InputError, match=r"canary/fleet\.yaml, which says which clusters"):
        check_folder(path)


def test_models_of_a_target(workspace: Workspace) -> None:
    (workspace.fleet / "gitrepo.yaml").write_text("kind: GitRepo\n")
    assert models_of(workspace, TARGET) == ["meter"]
    assert models_of(workspace, "line-4") == []
