"""The exported ONNX file: what it promises, and what keeps it from being written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from engines.config.workspace import Workspace
from engines.errors import InputError
from pipeline.intake.checkpoint import export_onnx, load_checkpoint
from pipeline.onnx import simplify
from pipeline.onnx.onnx_file import read_onnx
from pipeline.onnx.reading import metadata
from pipeline.onnx.session import OnnxModel
from pipeline.steps.export import export
from tests.unit.pipeline.conftest import CLASSES, IMGSZ, MODEL


def test_shapes_names_and_metadata(workspace: Workspace, exported: Path) -> None:
    graph = onnx.load(str(exported))
    (source,), (result,) = graph.graph.input, graph.graph.output
    assert (source.name, result.name) == ("images", "output0")
    assert dims(source) == ["batch", 3, *IMGSZ]
    assert dims(result) == ["batch", 4 + len(CLASSES), 126]
    assert not {"NonMaxSuppression", "Shape", "Constant"} & {n.op_type for n in graph.graph.node}
    assert graph.opset_import[0].version == 17
    facts = metadata(graph)
    assert json.loads(facts["names"]) == {"0": "bolt", "1": "nut"}
    assert json.loads(facts["imgsz"]) == list(IMGSZ)
    assert (facts["stride"], facts["task"], facts["simplified"]) == ("32", "detect", "true")
    assert facts["weights_sha256"] in (workspace.model(MODEL) / "model.yaml").read_text()
    assert {"torch_version", "ultralytics_version", "jetrail_version"} <= facts.keys()


def dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def test_twice_gives_the_same_bytes(workspace: Workspace, export_once: Path) -> None:
    first = export_once.read_bytes()
    assert export(workspace, MODEL).read_bytes() == first


def test_any_batch_gives_what_the_checkpoint_gives(workspace: Workspace, exported: Path) -> None:
    session = OnnxModel(exported.read_bytes(), threads=1)
    images = np.random.default_rng(1).integers(0, 256, (3, *IMGSZ, 3), dtype=np.uint8)
    expected = load_checkpoint(workspace.model(MODEL) / "weights.pt").forward(images)
    assert np.abs(expected[1] - expected[0])[4:].max() > 0.1
    np.testing.assert_allclose(session.run(images), expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(session.run(images[1:2]), expected[1:2], rtol=1e-4, atol=1e-2)


def test_the_checkpoint_stays_as_it_is(workspace: Workspace, tmp_path: Path) -> None:
    checkpoint = load_checkpoint(workspace.model(MODEL) / "weights.pt")
    images = np.random.default_rng(1).integers(0, 256, (1, *IMGSZ, 3), dtype=np.uint8)
    before = checkpoint.forward(images)
    export_onnx(checkpoint, tmp_path / "traced.onnx", IMGSZ)
    assert np.array_equal(checkpoint.forward(images), before)


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("raise SystemExit('it fell over')", "it fell over"),
        ("import os; os.abort()", "exit status -6"),
    ],
)
def test_onnxsim_may_fail(
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    text: str,
) -> None:
    monkeypatch.setattr(simplify, "_CHILD", code)
    graph = onnx.load(str(export(workspace, MODEL)))
    assert metadata(graph)["simplified"] == "false"
    assert dims(graph.graph.output[0])[0] == "batch"
    warning = " ".join(capsys.readouterr().err.split())
    assert text in warning
    assert "the graph stays as it was traced" in warning


def test_onnxsim_may_hang(tmp_path: Path) -> None:
    child = simplify.Simplifier("import time; time.sleep(600)")
    child.begin(tmp_path / "a.onnx", tmp_path / "b.onnx")
    problem = child.wait(tmp_path / "b.onnx", timeout=0.2)
    assert problem == "onnxsim took longer than 0.2 s"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", MemoryError),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", MemoryError),
        ("raise MemoryError('std::bad_alloc')", MemoryError),
        ("raise OSError(122, 'Disk quota exceeded', 'b.onnx')", OSError),
        ("raise OSError(5, 'Input/output error', 'a.onnx')", OSError),
    ],
)
def test_what_a_machine_lacks_does_not_decide_what_is_exported(
    tmp_path: Path, code: str, error: type[Exception]
) -> None:
    """Out of memory, the graph stayed as it was traced, with a warning: another file."""
    with pytest.raises(error):
        simplify.Simplifier(code).wait(tmp_path / "b.onnx")


def test_onnxsim_that_computes_something_else_is_not_used(tmp_path: Path, exported: Path) -> None:
    code = simplify._CHILD.replace("model, same = onnxsim", "model, same = None, False #")
    child = simplify.Simplifier(code)
    child.begin(exported, tmp_path / "after.onnx")
    problem = child.wait(tmp_path / "after.onnx")
    assert problem is not None
    assert "computes something else" in problem


# --- bad input ---------------------------------------------------------------------------------


def test_missing_weights(workspace: Workspace) -> None:
    (workspace.model(MODEL) / "weights.pt").unlink()
    assert "`pipeline update-model`" in refused(workspace, "Expected a checkpoint in")


def test_other_weights(workspace: Workspace) -> None:
    with (workspace.model(MODEL) / "weights.pt").open("ab") as file:
        file.write(b"x")
    refused(workspace, "with sha256 .*, as model.yaml says, got")


def test_other_classes(make_workspace: Callable[..., Workspace]) -> None:
    workspace = make_workspace(classes=("nut", "bolt"))
    refused(workspace, r"expected the 2 classes .*\['bolt', 'nut'\], got 2: \['nut', 'bolt'\]")


def test_size_that_is_no_multiple_of_the_stride(make_workspace: Callable[..., Workspace]) -> None:
    refused(make_workspace(imgsz=(64, 100)), "multiples of 32")


def test_a_failed_export_leaves_the_old_file(workspace: Workspace, exported: Path) -> None:
    old = exported.read_bytes()
    (workspace.model(MODEL) / "weights.pt").write_bytes(b"PK")
    refused(workspace, "sha256")
    out = workspace.model_out(MODEL)
    assert [(path.name, path.read_bytes()) for path in out.iterdir()] == [("model.fp32.onnx", old)]


def refused(workspace: Workspace, text: str) -> str:
    with pytest.raises(InputError, match=text) as error:
        export(workspace, MODEL)
    return str(error.value)


# --- reading ONNX ------------------------------------------------------------------------------


def external(path: Path, location: str) -> Path:
    """A model whose only weights lie in another file."""
    weights = onnx.numpy_helper.from_array(np.ones(4, np.float32), "w")
    weights.ClearField("raw_data")
    weights.data_location = onnx.TensorProto.EXTERNAL
    weights.external_data.add(key="location", value=location)
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["x", "w"], ["y"], name="add")],
        "g",
        [info("x", 1, [4])],
        [info("y", 1, [4])],
        [weights],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(
        onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
    )
    return path


def test_external_data_beside_the_file_is_read(tmp_path: Path) -> None:
    path = external(tmp_path / "model.onnx", "weights.bin")
    (tmp_path / "weights.bin").write_bytes(np.full(4, 7, np.float32).tobytes())
    (weights,) = read_onnx(path).graph.initializer
    assert onnx.numpy_helper.to_array(weights).tolist() == [7, 7, 7, 7]


@pytest.mark.parametrize("kind", ["upward", "absolute", "link", "nothing", "missing"])
def test_external_data_elsewhere_is_refused(tmp_path: Path, kind: str) -> None:
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\0" * 16)
    folder = tmp_path / "folder"
    locations = {"upward": "../secret.bin", "absolute": str(secret), "nothing": ""}
    path = external(folder / "model.onnx", locations.get(kind, "weights.bin"))
    if kind == "link":
        (folder / "weights.bin").symlink_to(secret)
    text = "there is no such file" if kind == "missing" else "outside the file's folder"
    with pytest.raises(InputError, match=text):
        read_onnx(path)


@pytest.mark.parametrize("content", [b"\xff\xff\xff not ONNX", b""])
def test_damaged_onnx(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(InputError, match=r"Make .* again|Make the file again"):
        read_onnx(tmp_path / "model.onnx")


def test_missing_onnx(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="pipeline export"):
        read_onnx(tmp_path / "model.onnx")
