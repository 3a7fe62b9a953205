"""The names of an engine's files, and whether they belong together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from factories.records import benchmark, evaluation, manifest

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest

CONTENT = b"an engine"


@pytest.fixture
def folder(tmp_path: Path) -> EngineFolder:
    (tmp_path / "engine.blob").write_bytes(CONTENT)
    return EngineFolder(tmp_path)


def of(folder: EngineFolder, **changes: Any) -> Manifest:
    """The manifest of the engine that lies there."""
    sha256 = sha256_file(folder.path / "engine.blob")
    about = {"engine_sha256": sha256, "engine_bytes": len(CONTENT)}
    return manifest().model_copy(update=about | changes)


def test_a_record_knows_its_file(folder: EngineFolder) -> None:
    for record in (manifest(), benchmark(), evaluation()):
        folder.write(record)
        assert folder.read(type(record)) == record
    assert sorted(path.name for path in folder.path.iterdir()) == [
        *("benchmark.json", "engine.blob", "evaluation.json", "manifest.json")
    ]


def test_where_the_files_of_an_engine_lie() -> None:
    folder = Workspace(root=Path("/r")).engine("t", "m-fp16")
    out = Path("/r/engines/targets/t/out")
    assert folder.path == out / "m-fp16"
    assert folder.summary == out / "summary" / "m-fp16.json"
    assert folder.latency_table == out / "latency" / "m-fp16.csv"
    assert folder.raw_times == out / "m-fp16" / "pytest-benchmark.json"
    assert folder.junit == out / "m-fp16" / "verdict.junit.xml"


def test_where_the_files_of_a_model_lie() -> None:
    workspace = Workspace(root=Path("/r"))
    assert workspace.onnx("m", "int8") == Path("/r/models/m/out/model.int8.onnx")
    assert workspace.reference("m") == Path("/r/models/m/out/reference.npz")
    assert workspace.device_file("t") == Path("/r/engines/targets/t/out/device.json")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, None),
        ({"engine_bytes": 10}, "engine_bytes: expected 10, .* has 9"),
        ({"engine_sha256": "e" * 64}, f"engine_sha256: expected {'e' * 64}, "),
        ({"engine_file": "engine.plan"}, "engine_file: .*engine.plan is not there"),
        ({"engine_file": "../engine.blob"}, "engine_file: "),
        ({"engine_file": "inner/engine.blob"}, "engine_file: "),
    ],
)
def test_an_engine_that_is_not_its_manifest_s(
    folder: EngineFolder, changes: dict[str, Any], problem: str | None
) -> None:
    (folder.path / "inner").mkdir()
    (folder.path / "inner" / "engine.blob").write_bytes(CONTENT)
    found = folder.altered(of(folder, **changes))
    assert found is None if problem is None else re.match(problem, str(found))


@pytest.mark.parametrize(
    ("key", "value"), [("engine", "o-fp16"), ("target", "o"), ("engine_sha256", "e" * 64)]
)
def test_figures_of_another_engine(folder: EngineFolder, key: str, value: str) -> None:
    folder.check_measured(manifest(), benchmark(), evaluation())
    for record in (benchmark(), evaluation()):
        with pytest.raises(InputError, match=f"Expected .*{record.file} to be of .*, but it is of"):
            folder.check_measured(manifest(), record.model_copy(update={key: value}))


def test_a_file_that_is_not_there_has_no_sha256(folder: EngineFolder) -> None:
    assert folder.sha256("engine.blob") == sha256_file(folder.path / "engine.blob")
    assert folder.sha256("engine.plan") is None
