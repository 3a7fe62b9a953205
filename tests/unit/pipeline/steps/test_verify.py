"""Verify tells an export that computes the checkpoint's network from one that does not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from pipeline.accuracy.reference import read_reference
from pipeline.intake.checkpoint import Checkpoint, load_checkpoint
from pipeline.intake.contents import contents
from pipeline.intake.dataset import load_set
from pipeline.onnx import inference, onnx_file, overflow
from pipeline.onnx.checkpoint_outputs import (
    read_checkpoint_outputs,
    write_checkpoint_outputs,
)
from pipeline.records import Verify
from pipeline.steps import verify as verify_step
from pipeline.steps.export import export
from pipeline.steps.quantize import quantize
from pipeline.steps.verify import verify
from tests.unit.pipeline.conftest import MODEL


def test_record_and_reference(workspace: Workspace, exported: Path) -> None:
    record = verify(workspace, MODEL)
    out = workspace.model_out(MODEL)
    assert Verify.read(out / "verify.json") == record
    assert [one.batch for one in record.parity] == [1, 4]
    assert all(one.boxes_px.mean <= one.boxes_px.largest < 0.01 for one in record.parity)
    assert all(one.scores.largest < 1e-4 for one in record.parity)
    assert record.onnx_sha256 == sha256_file(exported)
    assert (record.reference.images, record.reference.objects) == (5, 5)
    reference = read_reference(out / record.reference_file, MODEL)
    assert list(reference.detections) == [f"evaluation-{number}.png" for number in range(5)]
    samples = load_set(workspace.model(MODEL) / "data" / "evaluation", "evaluation")
    assert reference.contents == contents(samples)
    assert record.reference_sha256 == sha256_file(out / "reference.npz")


@pytest.mark.parametrize("step", [verify, quantize])
def test_an_export_that_is_replaced_meanwhile(
    workspace: Workspace,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: Callable[[Workspace, str], object],
) -> None:
    """DVC would note the new file beside what is told of the old."""
    real = onnx_file.read_onnx

    def replaced(path: Path) -> Any:
        graph = real(path)
        other = onnx.load(path)
        other.doc_string = "another one"
        onnx.save(other, path)
        return graph

    monkeypatch.setattr(onnx_file, "read_onnx", replaced)
    with pytest.raises(InputError, match="the ONNX file to stay as they are"):
        step(workspace, MODEL)
    assert not (exported.parent / f"{step.__name__}.json").exists()


def test_twice_gives_the_same_files(workspace: Workspace, exported: Path) -> None:
    def files() -> list[bytes]:
        verify(workspace, MODEL)
        return [(exported.parent / name).read_bytes() for name in ("verify.json", "reference.npz")]

    assert files() == files()


def test_of_a_crowd_as_many_detections_count_as_it_has_objects(
    workspace: Workspace, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = inference.FOR_MAP.model_copy(update={"confidence": 0.0, "max_detections": 2})
    monkeypatch.setattr(inference, "FOR_MAP", few)
    crowd = workspace.model(MODEL) / "data/evaluation/labels/evaluation-0.txt"
    crowd.write_text("".join(f"0 {0.1 * place:.1f} 0.5 0.05 0.5\n" for place in range(1, 8)))
    record = verify(workspace, MODEL)
    reference = read_reference(workspace.model_out(MODEL) / record.reference_file, MODEL)
    assert {len(one) for one in reference.detections.values()} == {7}


# --- the checkpoint's own output, as export left it --------------------------------------------


@pytest.fixture
def told(workspace: Workspace, export_once: Path) -> Path:
    """`checkpoint.npz` of an export."""
    shutil.copytree(export_once.parent, workspace.model_out(MODEL))
    return workspace.checkpoint_outputs(MODEL)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Checkpoints that verify loads."""
    loaded: list[Path] = []

    def noted(path: Path, sha256: str) -> Checkpoint:
        loaded.append(path)
        return load_checkpoint(path, sha256)

    monkeypatch.setattr(verify_step, "load_checkpoint", noted)
    return loaded


def test_what_export_left_spares_the_checkpoint(
    workspace: Workspace, told: Path, asked: list[Path]
) -> None:
    record = verify(workspace, MODEL)
    assert asked == []
    told.unlink()
    assert verify(workspace, MODEL) == record
    assert len(asked) == 1


def test_what_export_left_is_compared(workspace: Workspace, told: Path) -> None:
    left = read_checkpoint_outputs(told)
    assert left is not None
    raw = left.raw.copy()
    raw[-1, 4, 3] += 0.01
    write_checkpoint_outputs(replace(left, raw=raw), told)
    refused(
        workspace, "to give the checkpoint's scores within 0.001 of 1, got a difference of 0.01"
    )


def of_other_weights(workspace: Workspace, told: Path) -> None:
    left = read_checkpoint_outputs(told)
    assert left is not None
    write_checkpoint_outputs(replace(left, weights_sha256="0" * 64, raw=left.raw + 1), told)


def other_picture(workspace: Workspace, told: Path) -> None:
    images = workspace.model(MODEL) / "data" / "evaluation" / "images"
    cv2.imwrite(str(images / "evaluation-3.png"), np.full((40, 50, 3), 90, np.uint8))


def damaged(workspace: Workspace, told: Path) -> None:
    told.write_bytes(told.read_bytes()[:-200])


@pytest.mark.parametrize("change", [of_other_weights, other_picture, damaged])
def test_what_export_left_of_something_else_is_not_used(
    workspace: Workspace,
    told: Path,
    asked: list[Path],
    change: Callable[[Workspace, Path], None],
) -> None:
    change(workspace, told)
    assert verify(workspace, MODEL).parity[0].scores.largest < 1e-4
    assert len(asked) == 1


def test_other_weights_are_refused_all_the_same(workspace: Workspace, told: Path) -> None:
    weights = workspace.model(MODEL) / "weights.pt"
    weights.write_bytes(weights.read_bytes() + b"x")
    with pytest.raises(InputError, match="with sha256 .*, as model.yaml says, got"):
        verify(workspace, MODEL)
    weights.unlink()
    with pytest.raises(InputError, match="Expected a checkpoint in"):
        verify(workspace, MODEL)


def test_an_export_without_evaluation_pictures_leaves_none(workspace: Workspace) -> None:
    shutil.rmtree(workspace.model(MODEL) / "data" / "evaluation")
    assert export(workspace, MODEL).is_file()
    assert not workspace.checkpoint_outputs(MODEL).exists()


# --- notes, and what is refused ----------------------------------------------------------------


def test_activations_beyond_float16_are_said(
    workspace: Workspace,
    exported: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert not any("float16" in one for one in verify(workspace, MODEL).notes)
    monkeypatch.setattr(overflow, "FLOAT16_MAX", 0.5)
    said = verify(workspace, MODEL).notes[0]
    assert "beyond the largest float16" in said
    assert said in capsys.readouterr().err


def test_a_checkpoint_that_finds_nothing_of_what_is_labelled(
    workspace: Workspace, exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each engine of it kept the accuracy budget, since there was nothing to lose."""
    record = verify(workspace, MODEL)
    assert record.reference.map50_95 < 0.05
    assert "of only 0.000 on the evaluation pictures" in record.notes[-1]
    assert record.notes[-1] in capsys.readouterr().err


def test_largest_activations_are_those_of_every_image(exported: Path) -> None:
    graph, images = onnx.load(str(exported)), np.zeros((2, 64, 96, 3), np.uint8)
    images[1] = 255
    both = overflow.largest_activations(graph, images)
    each = [overflow.largest_activations(graph, image[None]) for image in images]
    assert both == {name: max(one[name] for one in each) for name in both}
    assert both["images"] == 1.0


def test_another_network_in_the_file(workspace: Workspace, exported: Path) -> None:
    graph = onnx.load(str(exported))
    (bias,) = [one for one in graph.graph.initializer if one.name.endswith(".cv2.0.2.bias")]
    values = onnx.numpy_helper.to_array(bias).copy()
    values[0] += 0.1
    bias.CopyFrom(onnx.numpy_helper.from_array(values, bias.name))
    onnx.save(graph, str(exported))
    refused(workspace, "to give the checkpoint's boxes within 0.1 pixels, got a difference")


def test_not_a_number_is_a_difference(workspace: Workspace, exported: Path) -> None:
    graph = onnx.load(str(exported))
    biases = [one for one in graph.graph.initializer if one.name.endswith("bias")]
    shape = onnx.numpy_helper.to_array(biases[-1]).shape
    biases[-1].CopyFrom(
        onnx.numpy_helper.from_array(np.full(shape, np.nan, np.float32), biases[-1].name)
    )
    onnx.save(graph, str(exported))
    refused(workspace, "difference of nan")


def test_export_of_other_weights(workspace: Workspace, exported: Path) -> None:
    graph = onnx.load(str(exported))
    onnx.helper.set_model_props(graph, {"weights_sha256": "0" * 64})
    onnx.save(graph, str(exported))
    refused(workspace, "got one made from 0000.*pipeline export parts")


def test_without_an_export(workspace: Workspace) -> None:
    refused(workspace, "pipeline export")


def test_without_evaluation_images(workspace: Workspace, exported: Path) -> None:
    for image in (workspace.model(MODEL) / "data" / "evaluation" / "images").iterdir():
        image.unlink()
    refused(workspace, "evaluation set, got none")


def test_unreadable_image(workspace: Workspace, exported: Path) -> None:
    images = workspace.model(MODEL) / "data" / "evaluation" / "images"
    (images / "evaluation-3.png").write_bytes(b"not a picture")
    refused(workspace, "evaluation-3.png")


def refused(workspace: Workspace, text: str) -> None:
    with pytest.raises(InputError, match=text):
        verify(workspace, MODEL)
    left = {path.name for path in workspace.model_out(MODEL).glob("*")}
    assert left <= {"model.fp32.onnx", "checkpoint.npz"}
