from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from engines.backends.loading import load_engine
from engines.backends.openvino.backend import OpenVINO
from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import sha256_file
from engines.machine import fingerprint
from engines.machine.fingerprint import read_fingerprint
from engines.packages import installed_packages
from engines.process.lock import device_lock
from engines.records.fingerprint import Fingerprint
from engines.records.manifest import Manifest
from pipeline.onnx import reading
from pipeline.repository import git
from pipeline.steps.build import build
from pipeline.steps.probe import probe

REPOSITORY = Path(__file__).parents[4]
TARGET, ENGINE = "x86-openvino", "tiny-fp32"
WEIGHTS = "1" * 64

MODEL = f"""\
schema: 1
name: tiny
version: '1.0'
task: detect
weights: {{path: weights.pt, sha256: '{WEIGHTS}'}}
imgsz: [64, 96]
classes: [bolt, nut, washer]
data: {{calibration: data/calibration, tuning: data/tuning, evaluation: data/evaluation}}
"""


@pytest.fixture
def workspace(tmp_path: Path, tiny_onnx: Path) -> Workspace:
    """A repository with the tiny model, exported, and the target x86-openvino."""
    root = tmp_path / "repository"
    made = Workspace(root=root)
    made.target(TARGET).mkdir(parents=True)
    made.model_out("tiny").mkdir(parents=True)
    (root / "dvc.yaml").touch()
    (made.model("tiny") / "model.yaml").write_text(MODEL)
    shutil.copy(tiny_onnx, made.model_out("tiny") / "model.fp32.onnx")
    row = (REPOSITORY / "engines/targets" / TARGET / "params.yaml").read_text()
    head = row[: row.index("\nengines:")]
    engines = "".join(
        f"  tiny-{p}: {{model: tiny, precision: {p}}}\n" for p in ("fp32", "fp16", "int8")
    )
    (made.target(TARGET) / "params.yaml").write_text(f"{head}\nengines:\n{engines}")
    return made


def _device_json(workspace: Workspace) -> Path:
    return workspace.target(TARGET) / "out" / "device.json"


def test_probe_writes_the_fingerprint_once(workspace: Workspace) -> None:
    assert probe(workspace, TARGET) == Fingerprint.read(_device_json(workspace))
    before = _device_json(workspace).stat()
    probe(workspace, TARGET)
    assert _device_json(workspace).stat().st_ino == before.st_ino
    _device_json(workspace).write_text("{ half a fi")
    assert probe(workspace, TARGET) == Fingerprint.read(_device_json(workspace))


def test_what_is_installed_beside_the_target_s_package_builds_nothing_again(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `make test` after `make demo`: every stage depends on device.json."""
    probe(workspace, TARGET)
    before = _device_json(workspace).read_bytes()
    beside = {**installed_packages(), "tensorrt_rtx": "0.0"}
    monkeypatch.setattr(fingerprint, "installed_packages", lambda: beside)
    probe(workspace, TARGET)
    assert _device_json(workspace).read_bytes() == before


def test_probe_on_another_device_writes_nothing(workspace: Workspace) -> None:
    path = workspace.target(TARGET) / "params.yaml"
    path.write_text(path.read_text().replace("architecture: x86_64", "architecture: riscv64"))
    with pytest.raises(WrongEngine, match="architecture: riscv64"):
        probe(workspace, TARGET)
    assert not _device_json(workspace).exists()


def test_builds_an_engine_that_loads(workspace: Workspace, tiny_onnx: Path) -> None:
    probe(workspace, TARGET)
    built = build(workspace, TARGET, ENGINE)
    folder = workspace.engine(TARGET, ENGINE).path
    assert sorted(path.name for path in folder.iterdir()) == ["engine.blob", "manifest.json"]
    manifest, session = load_engine(folder, read_fingerprint())
    session.close()
    assert manifest == built
    assert (manifest.model, manifest.model_version) == ("tiny", "1.0")
    assert manifest.classes == ("bolt", "nut", "washer")
    assert manifest.imgsz == (64, 96)
    assert manifest.source.weights_sha256 == WEIGHTS
    assert manifest.source.onnx_file == "models/tiny/out/model.fp32.onnx"
    assert manifest.source.git_commit == ""
    # What runs is a convolution or more, and the box decode.
    assert set(manifest.executed_layers) == {"fp32"}
    assert manifest.executed_layers["fp32"] > 1


def test_before_probe(workspace: Workspace) -> None:
    """Said at once, also while somebody else has the device."""
    with (
        device_lock("pipeline build other-fp16"),
        pytest.raises(InputError, match="pipeline probe"),
    ):
        build(workspace, TARGET, ENGINE)


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", "AMD EPYC 9354"), ("backends", {"openvino": "2024.6.0"}), ("isa", ["avx2"])],
)
def test_on_another_device_than_the_probed_one(
    workspace: Workspace, field: str, value: Any
) -> None:
    probe(workspace, TARGET)
    path = _device_json(workspace)
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(WrongEngine, match=f"{field}: .*Run `pipeline probe --target {TARGET}`"):
        build(workspace, TARGET, ENGINE)
    assert not workspace.engine(TARGET, ENGINE).path.exists()


def test_without_the_onnx_file(workspace: Workspace) -> None:
    probe(workspace, TARGET)
    with pytest.raises(InputError, match=r"model\.int8\.onnx.*`pipeline quantize tiny`"):
        build(workspace, TARGET, "tiny-int8")


def test_an_engine_that_the_target_has_not(workspace: Workspace) -> None:
    with pytest.raises(InputError, match="tiny-fp64"):
        build(workspace, TARGET, "tiny-fp64")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"names": '{"0": "nut", "1": "bolt", "2": "washer"}'}, "names.*bolt.*nut.*washer"),
        ({"names": "{0: 'bolt', 1: 'nut'}"}, r"names.*'bolt', 'nut'"),
        ({"weights_sha256": "2" * 64}, "weights_sha256 1111.*2222"),
    ],
)
def test_an_onnx_file_of_another_model(
    workspace: Workspace,
    make_tiny_network: Callable[..., Path],
    metadata: dict[str, str],
    message: str,
) -> None:
    probe(workspace, TARGET)
    make_tiny_network(workspace.model_out("tiny") / "model.fp32.onnx", metadata=metadata)
    with pytest.raises(InputError, match=message):
        build(workspace, TARGET, ENGINE)


@pytest.mark.parametrize("names", [None, "{0: 'bolt', 1: 'nut', 2: 'washer'}"])
def test_an_onnx_file_of_ultralytics_or_without_names(
    workspace: Workspace, make_tiny_network: Callable[..., Path], names: str | None
) -> None:
    probe(workspace, TARGET)
    metadata = {"stride": "32"} | ({"names": names} if names else {})
    make_tiny_network(workspace.model_out("tiny") / "model.fp32.onnx", metadata=metadata)
    build(workspace, TARGET, ENGINE)


def test_an_output_that_does_not_fit_the_classes(
    workspace: Workspace, make_tiny_network: Callable[..., Path]
) -> None:
    probe(workspace, TARGET)
    onnx = workspace.model_out("tiny") / "model.fp32.onnx"
    make_tiny_network(onnx, classes=("bolt", "nut"), metadata={})
    with pytest.raises(InputError, match=r"expected 7 output channels.*got 6"):
        build(workspace, TARGET, ENGINE)
    assert not any(workspace.engine(TARGET, ENGINE).path.iterdir())


def test_a_build_that_fails_leaves_the_last_engine(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(workspace, TARGET)
    before = build(workspace, TARGET, ENGINE)

    def fails(self: OpenVINO, request: object, engine: Path) -> None:
        engine.write_bytes(b"half an eng")
        raise InputError("the compiler gave up")

    monkeypatch.setattr(OpenVINO, "build", fails)
    with pytest.raises(InputError, match="gave up"):
        build(workspace, TARGET, ENGINE)
    folder = workspace.engine(TARGET, ENGINE).path
    assert sorted(path.name for path in folder.iterdir()) == ["engine.blob", "manifest.json"]
    assert Manifest.read(folder / "manifest.json") == before


@pytest.mark.parametrize("when", ["before it is read", "after it was built"])
def test_an_onnx_file_that_is_replaced_while_it_is_built(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """By hand in another terminal: DVC would note the new file beside the engine of the old, or the
    manifest one file's hash beside the other's engine."""
    probe(workspace, TARGET)
    last = build(workspace, TARGET, ENGINE)
    path, real = workspace.onnx("tiny", "fp32"), OpenVINO.build
    other = onnx.load(path)
    other.doc_string = "another one"

    def replaced(self: OpenVINO, request: Any, engine: Path) -> Any:
        if when == "before it is read":
            onnx.save(other, path)
        result = real(self, request, engine)
        onnx.save(other, path)
        return result

    monkeypatch.setattr(OpenVINO, "build", replaced)
    with pytest.raises(InputError, match="the ONNX file to stay as they are"):
        build(workspace, TARGET, ENGINE)
    folder = workspace.engine(TARGET, ENGINE).path
    assert sha256_file(folder / "engine.blob") == last.engine_sha256


def test_a_file_that_is_put_in_the_place_of_the_engine_gets_none_of_its_figures(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe(workspace, TARGET)
    engine, real = workspace.engine(TARGET, ENGINE).path / "engine.blob", Path.replace

    def put(self: Path, target: Path) -> Path:
        moved = real(self, target)
        if target == engine:
            target.write_bytes(b"another one")
        return moved

    monkeypatch.setattr(Path, "replace", put)
    assert build(workspace, TARGET, ENGINE).engine_sha256 != sha256_file(engine)


@pytest.mark.parametrize(
    ("file", "before", "after", "refused"),
    [
        ("models/tiny/model.yaml", "version: '1.0'", "version: '1.1'", True),
        (f"engines/targets/{TARGET}/params.yaml", "confidence: 0.25", "confidence: 0.5", True),
        (f"engines/targets/{TARGET}/params.yaml", "policy: fastest", "policy: smallest", False),
    ],
)
def test_what_is_edited_while_it_builds(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    before: str,
    after: str,
    refused: bool,
) -> None:
    """DVC would note the new text beside the engine of the old, and `dvc repro` leave it so."""
    probe(workspace, TARGET)
    path, real = workspace.root / file, OpenVINO.build

    def edited(self: OpenVINO, request: Any, engine: Path) -> Any:
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))
        return real(self, request, engine)

    monkeypatch.setattr(OpenVINO, "build", edited)
    with pytest.raises(InputError, match="changed meanwhile") if refused else nullcontext():
        build(workspace, TARGET, ENGINE)
    assert (workspace.engine(TARGET, ENGINE).path / "manifest.json").exists() != refused


def test_a_damaged_onnx_file(workspace: Workspace) -> None:
    probe(workspace, TARGET)
    onnx = workspace.model_out("tiny") / "model.fp32.onnx"
    onnx.write_bytes(onnx.read_bytes()[:-50])
    with pytest.raises(InputError, match="damaged"):
        build(workspace, TARGET, ENGINE)


def test_metadata_is_read_as_it_was_written(
    make_tiny_network: Callable[..., Path], tmp_path: Path
) -> None:
    written = {"names": "[]", "empty": "", "author": "Ω" * 300}
    path = make_tiny_network(tmp_path / "a.onnx", metadata=written)
    assert reading.metadata(reading.parse(path)) == written


def test_commit(tmp_path: Path) -> None:
    assert git.commit(tmp_path) == ""

    def run(*arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@t"]
        subprocess.run(["git", "-C", tmp_path, *identity, *arguments], check=True)

    run("init", "--quiet")
    assert git.commit(tmp_path) == ""
    (tmp_path / "code.py").write_text("1")
    run("add", ".")
    run("commit", "--quiet", "-m", "first")
    clean = git.commit(tmp_path)
    assert len(clean) == 40
    for written in ("dvc.lock", "a/dvc.lock", "a/b/out/engine.blob", "release/fleet/fleet.yaml"):
        (tmp_path / written).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / written).write_text("1")
    assert git.commit(tmp_path) == clean
    (tmp_path / "code.py").write_text("2")
    assert git.commit(tmp_path) == f"{clean}-dirty"


@pytest.mark.parametrize("where", ["initializer", "node", "function", "inner graph"])
def test_an_onnx_file_that_reads_other_files_is_not_built(workspace: Workspace, where: str) -> None:
    path = workspace.model_out("tiny") / "model.fp32.onnx"
    model = onnx.load(path)
    if where == "initializer":
        tensor = model.graph.initializer[0]
    elif where == "function":
        default = {"name": "value", "type": onnx.AttributeProto.TENSOR}
        tensor = model.functions.add(name="f", domain="d").attribute_proto.add(**default).t
    elif where == "inner graph":
        inner = {"name": "then_branch", "type": onnx.AttributeProto.GRAPH}
        tensor = model.graph.node[0].attribute.add(**inner).g.initializer.add(name="w")
    else:
        attribute = model.graph.node[0].attribute.add(name="value", type=onnx.AttributeProto.TENSOR)
        tensor = attribute.t
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    probe(workspace, TARGET)
    with pytest.raises(InputError, match="hold all of its tensors itself"):
        build(workspace, TARGET, ENGINE)
    assert not (workspace.engine(TARGET, ENGINE).path / "engine.blob").exists()


def test_another_package_that_came_since_the_probe_changes_nothing(workspace: Workspace) -> None:
    device = probe(workspace, TARGET)
    more = {"backends": device.backends | {"tensorrt_rtx": "1.0"}}
    device.model_copy(update=more).write(_device_json(workspace))
    build(workspace, TARGET, ENGINE)


def test_the_thresholds_of_the_row_travel_in_the_manifest(workspace: Workspace) -> None:
    path = workspace.target(TARGET) / "params.yaml"
    row = path.read_text()
    assert "  max_detections: 300\n" in row
    more = "  max_detections: 300\n  per_class: {nut: 0.6}\n"
    path.write_text(row.replace("  max_detections: 300\n", more))
    probe(workspace, TARGET)
    manifest = build(workspace, TARGET, ENGINE)
    assert manifest.thresholds.confidences(manifest.classes)[1] == np.float32(0.6)
    path.write_text(row.replace("  max_detections: 300\n", more.replace("nut", "nuts")))
    with pytest.raises(InputError, match=r"evaluate\.per_class.* got nuts"):
        build(workspace, TARGET, ENGINE)
