"""Export: `weights` of model.yaml to `models/<model>/out/model.fp32.onnx`."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any

from engines.config.model import ModelConfig, load_model
from engines.config.steady import check_steady
from engines.config.workspace import Workspace
from engines.errors import InputError, JetrailError
from engines.files import temporary_folder
from pipeline.intake.checkpoint import (
    Checkpoint,
    CheckpointFacts,
    export_onnx,
    load_checkpoint,
    versions,
)
from pipeline.intake.dataset import load_set
from pipeline.onnx import onnx_file
from pipeline.onnx.checkpoint_outputs import (
    CheckpointOutputs,
    parity_pixels,
    pictures_sha256,
    write_checkpoint_outputs,
)
from pipeline.onnx.simplify import Simplifier, simplifier
from pipeline.progress import note


def export(workspace: Workspace, model_name: str) -> Path:
    """Export one model; returns the ONNX file. Leaves `checkpoint.npz` for `pipeline verify`.

    Raises InputError when the weights are missing, damaged, not those of model.yaml or not a
    YOLOv8 detect network, or when classes or image size do not fit them.
    """
    model = load_model(workspace, model_name)
    path = workspace.onnx(model_name, "fp32")
    with simplifier() as child, temporary_folder() as folder:
        checkpoint = load_checkpoint(
            workspace.model(model_name) / model.weights.path, model.weights.sha256
        )
        check_fits(model, checkpoint.facts)
        traced, simple = (folder / name for name in ("traced.onnx", "simplified.onnx"))
        export_onnx(checkpoint, traced, model.imgsz)
        child.begin(traced, simple)
        _tell(workspace, model, checkpoint)  # meanwhile
        graph, simplified = _simplified(child, traced, simple)
        onnx_file.constants_to_initializers(graph)
        onnx_file.free_batch(graph)
        _check_output(graph, model, checkpoint.facts)
        onnx_file.set_metadata(graph, _metadata(model, checkpoint.facts, simplified))
        check_steady(model, load_model(workspace, model_name))
        onnx_file.write_onnx(graph, path)
    return path


def check_fits(model: ModelConfig, facts: CheckpointFacts) -> None:
    """Raise InputError unless the checkpoint is what model.yaml describes."""
    where = f"models/{model.name}/model.yaml"
    if facts.classes != model.classes:
        raise InputError(
            f"{where}: expected the {len(facts.classes)} classes of the checkpoint in its order, "
            f"{list(facts.classes)[:12]}, got {len(model.classes)}: {list(model.classes)[:12]}. "
            "Copy them from the checkpoint, or `pipeline add-model` again."
        )
    stride = max(facts.strides)
    if any(side % stride for side in model.imgsz):
        raise InputError(
            f"{where}: expected `imgsz` as multiples of the network's stride, {stride} pixels, "
            f"got {list(model.imgsz)}. Change it, and export again."
        )


def _tell(workspace: Workspace, model: ModelConfig, checkpoint: Checkpoint) -> None:
    """Write what the checkpoint makes of a few evaluation pictures, where there are some."""
    path = workspace.checkpoint_outputs(model.name)
    try:
        samples = load_set(workspace.model(model.name) / model.data.evaluation, "evaluation")
        pixels = parity_pixels(samples, model.imgsz)
    except InputError:
        return  # not what an export is about: `pipeline verify` says it
    outputs = CheckpointOutputs(
        weights_sha256=checkpoint.facts.sha256,
        pictures_sha256=pictures_sha256(pixels),
        runtimes=versions(),
        raw=checkpoint.forward(pixels),
    )
    write_checkpoint_outputs(outputs, path)


def _simplified(child: Simplifier, traced: Path, simple: Path) -> tuple[Any, bool]:
    """The simplified graph, or the traced one with a warning when onnxsim fails."""
    if problem := child.wait(simple):
        note(f"warning: {problem}; the graph stays as it was traced.")
        return onnx_file.read_onnx(traced), False
    return onnx_file.read_onnx(simple), True


def _check_output(graph: Any, model: ModelConfig, facts: CheckpointFacts) -> None:
    """A trace whose batch is not free after all, or that gives other anchors, is a bug of ours."""
    height, width = model.imgsz
    anchors = sum((height // stride) * (width // stride) for stride in facts.strides)
    expected = (onnx_file.BATCH, 4 + len(model.classes), anchors)
    if (got := onnx_file.output_shape(graph)) != expected:
        raise JetrailError(
            f"Expected an output of shape {expected} from the exported graph, got {got}. "
            "Report this with the versions of torch and ultralytics."
        )


def _metadata(model: ModelConfig, facts: CheckpointFacts, simplified: bool) -> dict[str, Any]:
    """What the file says of itself; no time of day, so that the same export gives the same bytes.

    `names`, `stride`, `task`, `imgsz` and `batch` are as Ultralytics writes them, so that its
    `AutoBackend` reads the file too.
    """
    return {
        "names": {str(index): name for index, name in enumerate(model.classes)},
        "stride": max(facts.strides),
        "task": model.task,
        "imgsz": list(model.imgsz),
        "batch": 1,
        "channels": 3,
        "model": model.name,
        "model_version": model.version,
        "weights_sha256": facts.sha256,
        "jetrail_version": version("jetrail"),
        "onnx_version": onnx_file.version(),
        **{f"{package}_version": number for package, number in versions().items()},
        "simplified": simplified,
    }
