"""`pipeline update-model`: new weights for a model that is there, under a new version."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from engines.config.model import ModelConfig, load_model
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import atomic_path, back_on_failure
from engines.process.whole import done_first
from pipeline.intake.checkpoint import CheckpointFacts, inspect_checkpoint
from pipeline.intake.names import check_version
from pipeline.intake.weights import check_stride, check_there, copy_weights, names_differ
from pipeline.repository.dvc import dvc_add, tracked
from pipeline.repository.lock import one_at_a_time
from pipeline.repository.yaml_text import edited, with_text, write_all


class Updated(NamedTuple):
    """Version and sha256 of the weights, before and now; sizes are height and width in pixels."""

    before: tuple[str, str]
    now: tuple[str, str]
    imgsz: tuple[int, int]
    trained_at: tuple[int, int] | None


def update_model(workspace: Workspace, name: str, weights: Path, version: str | None) -> Updated:
    """Put `weights` in the place of the model's, with their sha256 and the version in model.yaml.

    Without `version` the last part of the model's is counted up; with the weights that are there
    already it may be any, which puts right one that was mistyped. The weights are written first and
    model.yaml after them, so that a run that was killed is completed by the next one; Ctrl-C waits
    until both are written and DVC has the weights. Raises
    InputError for weights that do not fit the model, or that DVC does not take, as while another of
    its commands holds its lock; nothing is changed then.
    """
    with one_at_a_time(workspace):
        model = load_model(workspace, name)
        check_there(weights)
        if version is not None:
            check_version(version)
        checkpoint = inspect_checkpoint(weights)
        _check_fits(workspace, model, weights, checkpoint)
        same = checkpoint.sha256 == model.weights.sha256
        wanted = version or (model.version if same else _next(model.version))
        if not same and _number(wanted) <= _number(model.version):
            raise InputError(
                f"Expected a --version above {model.version}, which the weights have that are "
                f"there now, so that the newer of two releases can be told, got {wanted}. Take "
                f"{_next(model.version)}, or leave --version out."
            )
        path = workspace.model(name) / "model.yaml"
        sha256 = with_text(("weights", "sha256"), checkpoint.sha256)
        text = edited(path, with_text(("version",), wanted), sha256)
        kept = workspace.model(name) / model.weights.path
        with ExitStack() as once_begun:
            with atomic_path(kept) as new:
                copy_weights(weights, new, checkpoint.sha256)
                once_begun.enter_context(done_first())
                for one in (kept, path.resolve()):
                    once_begun.enter_context(back_on_failure(one))
            write_all({path: text})
            if tracked(kept):
                dvc_add(workspace.root, [kept])
    before, now = (model.version, model.weights.sha256), (wanted, checkpoint.sha256)
    return Updated(before, now, model.imgsz, checkpoint.imgsz)


def _number(version: str) -> tuple[int, ...]:
    """For comparison: `1.10` is above `1.9`, and `1` is `1.0`."""
    first, second, third, *_ = (*map(int, version.split(".")), 0, 0)
    return first, second, third


def _next(version: str) -> str:
    """`1.0` to `1.1`, `2` to `3`."""
    *first, last = version.split(".")
    return ".".join([*first, str(int(last) + 1)])


def _check_fits(
    workspace: Workspace, model: ModelConfig, weights: Path, checkpoint: CheckpointFacts
) -> None:
    check_stride(weights, model.imgsz, checkpoint)
    if difference := names_differ(checkpoint.classes, model.classes):
        where = workspace.relative(workspace.model(model.name) / "model.yaml")
        raise InputError(
            f"Expected {weights} to know the classes of {where}, in the same order, but "
            f"{difference}. Other classes are another model with other data: bring it with "
            "`pipeline add-model`."
        )
