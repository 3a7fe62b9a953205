"""`pipeline update-model`: new weights or data for a model that is there, under a new version."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from engines.config.model import DataSets, ModelConfig, load_model
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import (
    atomic_folder,
    atomic_path,
    back_on_failure,
    in_place_of,
    listed,
    sha256_file,
    temporary_folder,
)
from engines.process.whole import done_first
from pipeline.intake.brought import Brought, copy_sets, read_split
from pipeline.intake.checkpoint import CheckpointFacts, inspect_checkpoint
from pipeline.intake.names import check_version
from pipeline.intake.way_back import way_back
from pipeline.intake.weights import (
    called_otherwise,
    check_stride,
    check_there,
    copy_weights,
    names_differ,
)
from pipeline.progress import note
from pipeline.repository.dvc import dvc_add, dvc_file, kept_in, tracked
from pipeline.repository.kept import KEPT
from pipeline.repository.lock import one_at_a_time
from pipeline.repository.yaml_text import edited, with_text, write_all


class Change(NamedTuple):
    """What somebody brings for a model: weights, data or both."""

    weights: Path | None = None
    data: Path | None = None
    """An Ultralytics data.yaml, whose sets take the place of all three."""
    version: str | None = None
    single_class: bool = False
    """Every object of the data is of the checkpoint's one class, whatever its label says."""


class Updated(NamedTuple):
    """Version and sha256 of the weights, before and now; sizes are height and width in pixels."""

    before: tuple[str, str]
    now: tuple[str, str]
    imgsz: tuple[int, int]
    trained_at: tuple[int, int] | None
    sets: Brought | None
    """The new data sets; None where those of before stay."""
    same_evaluation: bool
    """Whether the new evaluation set is that of before."""


def update_model(workspace: Workspace, name: str, new: Change) -> Updated:
    """Put new weights, new data sets or both in the place of the model's, and the version and the
    weights' sha256 into model.yaml.

    Without a version the last part of the model's is counted up; for the weights that are there
    already, and no data, it may be any, which puts right one that was mistyped. Data and weights
    are written first and model.yaml after them, so that a run that was killed is completed by the
    next one, with data perhaps one version higher; Ctrl-C waits until all is written and DVC has
    it. Raises InputError for what does not fit the model, or what DVC does not take, as while
    another of its commands holds its lock; nothing is changed then.
    """
    with one_at_a_time(workspace):
        model = load_model(workspace, name)
        weights = _weights(workspace, model, new)
        if new.version is not None:
            check_version(new.version)
        checkpoint = inspect_checkpoint(weights)
        _check_fits(workspace, model, weights, checkpoint)
        version = _version(model, new, checkpoint)
        path = workspace.model(name) / "model.yaml"
        sha256 = with_text(("weights", "sha256"), checkpoint.sha256)
        text = edited(path, with_text(("version",), version), sha256)
        with _new_data(workspace, workspace.model(name) / "data", new, weights, checkpoint) as data:
            _replace(workspace, weights, checkpoint.sha256, data, (path, text))
    before, now = (model.version, model.weights.sha256), (version, checkpoint.sha256)
    sets, same = (data.sets, data.same_evaluation) if data else (None, True)
    return Updated(before, now, model.imgsz, checkpoint.imgsz, sets, same)


class _Data(NamedTuple):
    folder: Path
    """Beside the model's data, on its file system."""
    sets: Brought
    same_evaluation: bool


@contextmanager
def _new_data(
    workspace: Workspace, there: Path, new: Change, weights: Path, checkpoint: CheckpointFacts
) -> Iterator[_Data | None]:
    """The data that is to take the place of `there`; what else people keep in there comes along."""
    if new.data is None:
        yield None
        return
    _refuse_loss(workspace, there)
    divided = read_split(new.data, weights, checkpoint, single_class=new.single_class, settled=True)
    with temporary_folder(there) as beside:
        with atomic_folder(beside / there.name) as folder:
            sets = copy_sets(folder, divided, checkpoint)
            for one in there.iterdir() if there.is_dir() else ():
                if one.name in divided.sets:
                    continue
                if one.is_dir() and not one.is_symlink():
                    shutil.copytree(one, folder / one.name, symlinks=True)
                else:
                    shutil.copy2(one, folder / one.name, follow_symlinks=False)
        same = _same_files(there / "evaluation", beside / there.name / "evaluation")
        yield _Data(beside / there.name, sets, same)


def _refuse_loss(workspace: Workspace, there: Path) -> None:
    """Raise InputError where DVC has files beside the sets that are not here, as in a clone that
    was never pulled: they could not come along."""
    sets = DataSets.model_fields
    kept = kept_in(workspace.root, there) - sets.keys() if tracked(there) else set()
    if lost := sorted(one for one in kept if not os.path.lexists(there / one)):
        where = workspace.relative(there)
        raise InputError(
            f"Expected all that DVC keeps in {where}, since what is no data set comes along, but "
            f"{', '.join(lost[:3])} is not there. Bring it with `pipeline pull`, or let it go with "
            f"`dvc add {where}`."
        )


def _same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same files under the same names."""
    names = [
        {path.relative_to(folder) for path in listed(folder, "**/*") if path.is_file()}
        for folder in (one, other)
    ]
    return names[0] == names[1] and all(
        filecmp.cmp(one / name, other / name, shallow=False) for name in names[0]
    )


def _replace(
    workspace: Workspace, weights: Path, sha256: str, data: _Data | None, text: tuple[Path, bytes]
) -> None:
    """Weights, data and model.yaml are those of before, or all are new and DVC has them."""
    path, content = text
    kept, there = (path.with_name(one) for one in KEPT)
    # Data that stay may lie here as of an earlier commit, or not at all.
    of_dvc = [one for one in ((kept, there) if data else (kept,)) if tracked(one)]
    with ExitStack() as once_begun:
        with atomic_path(kept) as written:
            copy_weights(weights, written, sha256)
            once_begun.enter_context(done_first(_too_late))
            for one in (kept, path.resolve(), *map(dvc_file, of_dvc)):
                once_begun.enter_context(back_on_failure(one))
            if data:
                once_begun.enter_context(in_place_of(there, data.folder))
        write_all({path: content})
        if of_dvc:
            dvc_add(workspace.root, of_dvc)


def _too_late() -> None:
    note("It was too late to end this command: the model is updated, and nothing is left to do.")


def _weights(workspace: Workspace, model: ModelConfig, new: Change) -> Path:
    """The weights to come, or those that stay. Raises InputError where they are not there, or
    where `new` says how to read data that it does not bring."""
    if new.single_class and new.data is None:
        raise InputError(
            "Expected --data beside --single-class, which says how its labels are read; the data "
            "that are there stay as they are. Give --data data.yaml, or leave --single-class out."
        )
    if new.weights is not None:
        check_there(new.weights)
        return new.weights
    if new.data is None:
        raise InputError(
            "Expected new weights, new data or both, got neither. Give --weights best.pt, --data "
            "data.yaml, or both; --target alone adds engines for another target. For a new version "
            f"of the same ones edit `version` in models/{model.name}/model.yaml."
        )
    kept = workspace.model(model.name) / model.weights.path
    if not kept.is_file() or sha256_file(kept) != model.weights.sha256:
        raise InputError(
            f"Expected {workspace.relative(kept)} to be the file that model.yaml names (sha256 "
            f"{model.weights.sha256[:12]}…), which the new data are checked against, but it is "
            f"{'another' if kept.is_file() else 'not there'}. Bring it back with {way_back(kept)}, "
            "or give new weights with --weights."
        )
    return kept


def _version(model: ModelConfig, new: Change, checkpoint: CheckpointFacts) -> str:
    """The version to come. Raises InputError where it would not be above the present one."""
    if new.data is None and checkpoint.sha256 == model.weights.sha256:
        return new.version or model.version
    wanted = new.version or _next(model.version)
    if _number(wanted) <= _number(model.version):
        raise InputError(
            f"Expected a --version above {model.version}, which the weights and data have that "
            f"are there now, so that the newer of two releases can be told, got {wanted}. Take "
            f"{_next(model.version)}, or leave --version out."
        )
    return wanted


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
            f"`pipeline add-model`{called_otherwise(weights, model.classes, checkpoint.classes)}."
        )
