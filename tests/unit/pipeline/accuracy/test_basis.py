"""What an evaluation rests on: records of other pictures, exports or classes are refused."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories.records import manifest, source

from engines.config.model import load_model
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.manifest import Manifest
from pipeline.accuracy.basis import Basis, check_sets, read_basis
from pipeline.accuracy.coco import accuracy, in_pixels, read_set_labels
from pipeline.intake.dataset import load_sets
from pipeline.intake.pictures import Size
from pipeline.records import Quantize, Verify
from pipeline.steps.quantize import quantize
from pipeline.steps.verify import verify
from tests.unit.pipeline.conftest import CLASSES, IMGSZ, MODEL, lay_out


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, export_once: Path) -> Path:
    """A repository after verify and quantize; not to be changed."""
    workspace = lay_out(tmp_path_factory.mktemp("basis") / "repository", checkpoint)
    workspace.model_out(MODEL).mkdir()
    shutil.copyfile(export_once, workspace.onnx(MODEL, "fp32"))
    verify(workspace, MODEL)
    quantize(workspace, MODEL)
    return workspace.root


@pytest.fixture
def repository(prepared: Path, tmp_path: Path) -> Workspace:
    """A copy of it."""
    shutil.copytree(prepared, tmp_path / "copy")
    return Workspace(root=tmp_path / "copy")


def built(workspace: Workspace, **changes: Any) -> Manifest:
    """The manifest of an engine of its float16 file."""
    record = Quantize.read(workspace.model_out(MODEL) / Quantize.file)
    weights = load_model(workspace, MODEL).weights.sha256
    made_from = source(onnx_sha256=record.fp16.sha256, weights_sha256=weights)
    facts = {"imgsz": IMGSZ, "classes": CLASSES, "source": made_from}
    return manifest(**(facts | changes))


def read(workspace: Workspace, **changes: Any) -> Basis:
    model, engine = load_model(workspace, MODEL), built(workspace, **changes)
    basis = read_basis(workspace, model, engine)
    check_sets(basis, load_sets(workspace.model(MODEL), model), engine)
    return basis


def refused(workspace: Workspace, *said: str, **changes: Any) -> None:
    with pytest.raises(InputError) as raised:
        read(workspace, **changes)
    for part in said:
        assert part in str(raised.value)


def test_what_belongs_together_is_read(repository: Workspace) -> None:
    basis = read(repository)
    own = basis.own
    assert len(basis.reference.detections) == len(own.frames) == len(own.output) == 5
    record = Quantize.read(repository.model_out(MODEL) / Quantize.file)
    assert own.map50_95_drop == record.fp16.map50_95_drop


def test_the_reference_s_accuracy_is_that_of_its_detections(repository: Workspace) -> None:
    basis = read(repository)
    model = load_model(repository, MODEL)
    samples = load_sets(repository.model(MODEL), model)["evaluation"]
    sizes = {sample.name: Size(*sample.read_image().shape[:2]) for sample in samples}
    truth = in_pixels(read_set_labels(samples, len(model.classes)), sizes)
    measured = accuracy(truth, basis.reference.detections, model.classes).map50_95
    assert basis.reference_map50_95 == measured


def other_picture(workspace: Workspace, purpose: str) -> None:
    images = workspace.model(MODEL) / "data" / purpose / "images"
    first = sorted(images.iterdir())[0]
    first.write_bytes(first.read_bytes() + b"\0")


def other_label(workspace: Workspace, purpose: str) -> None:
    labels = workspace.model(MODEL) / "data" / purpose / "labels"
    sorted(labels.iterdir())[0].write_text("1 0.5 0.5 0.25 0.25\n")


def one_less(workspace: Workspace, purpose: str) -> None:
    images = workspace.model(MODEL) / "data" / purpose / "images"
    sorted(images.iterdir())[0].unlink()


CHANGES = [other_picture, other_label, one_less]


@pytest.mark.parametrize("change", CHANGES)
def test_another_evaluation_set(
    repository: Workspace, change: Callable[[Workspace, str], None]
) -> None:
    change(repository, "evaluation")
    refused(repository, "as `pipeline verify` saw it", f"Run `pipeline verify {MODEL}` again")
    verify(repository, MODEL)
    read(repository)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("purpose", ["calibration", "tuning"])
def test_another_set_than_int8_was_made_with(
    repository: Workspace, purpose: str, change: Callable[[Workspace, str], None]
) -> None:
    change(repository, purpose)
    again = f"Run `pipeline quantize {MODEL}` again, then `pipeline build m-fp16 --target t`"
    refused(repository, f"Expected the {purpose} set of {MODEL}", again)


def test_a_picture_that_moved_from_calibration_to_evaluation(repository: Workspace) -> None:
    data = repository.model(MODEL) / "data"
    for folder, name in (("images", "calibration-0.png"), ("labels", "calibration-0.txt")):
        (data / "calibration" / folder / name).rename(data / "evaluation" / folder / name)
    verify(repository, MODEL)
    refused(repository, f"Expected the calibration set of {MODEL}")


def test_verify_and_quantize_of_two_exports(repository: Workspace) -> None:
    path = repository.model_out(MODEL) / Verify.file
    Verify.read(path).model_copy(update={"onnx_sha256": "e" * 64}).write(path)
    refused(repository, "of the same export of parts", "one is of eeeeeeeeeeee")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"classes": ("nut", "bolt")},
            "the classes of model.yaml, bolt, nut, got one for nut",
        ),
        ({"imgsz": (96, 64)}, "the imgsz of model.yaml, 64, 96, got one for 96, 64"),
    ],
)
def test_an_engine_of_another_model_yaml(
    repository: Workspace, changes: dict[str, Any], said: str
) -> None:
    refused(repository, said, "Run `pipeline build m-fp16 --target t`", **changes)


def test_an_engine_of_other_weights(repository: Workspace) -> None:
    other = functools.partial(source, onnx_sha256="c" * 64)
    refused(repository, "of the same weights", source=other(weights_sha256="f" * 64))


def test_an_engine_of_another_onnx_file(repository: Workspace) -> None:
    weights = load_model(repository, MODEL).weights.sha256
    made_from = source(onnx_sha256="f" * 64, weights_sha256=weights)
    refused(repository, "m-fp16 was built from, ffffffffffff, got", source=made_from)
