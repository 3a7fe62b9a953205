"""`pipeline add-model`: one's own checkpoint, ready for `dvc repro`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engines.config.model import check_imgsz, load_model
from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from engines.files import atomic_folder, remove_folder
from pipeline.intake.brought import Brought, copy_sets, read_split
from pipeline.intake.checkpoint import inspect_checkpoint
from pipeline.intake.names import check_new_name, check_version
from pipeline.intake.weights import check_stride, check_there, copy_weights
from pipeline.repository.dvc import dvc_add
from pipeline.repository.entries import entries
from pipeline.repository.fleet import fleet_folders
from pipeline.repository.kept import KEPT, refuse_others, unfinished
from pipeline.repository.lock import one_at_a_time

_NOT_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")

MODEL_YAML = """\
# What this model is. `pipeline add-model` wrote it; people keep it.
schema: 1
name: {name}
version: "{version}"
task: detect
weights:
  path: weights.pt
  sha256: {sha256}
imgsz: [{height}, {width}]
classes:
{classes}
data:
  calibration: data/calibration
  tuning: data/tuning
  evaluation: data/evaluation
"""


@dataclass(frozen=True, kw_only=True)
class NewModel:
    """What the user brings."""

    name: str
    weights: Path
    data: Path
    imgsz: tuple[int, int]
    """Height and width, in pixels."""
    targets: tuple[str, ...]
    version: str
    track: str
    """`git`: plain files that the user commits; `dvc`: weights and data go to DVC's cache."""
    single_class: bool = False
    """Every object of the data is of the checkpoint's one class, whatever its label says."""


class Added(NamedTuple):
    """A new model's data sets, and the size that its checkpoint was trained at."""

    sets: Brought
    trained_at: tuple[int, int] | None
    """Height and width in pixels; None where the checkpoint says none."""


def parse_imgsz(text: str) -> tuple[int, int]:
    """`640` or `384,640` as height and width in pixels. Raises InputError."""
    match = re.fullmatch(r"(\d{1,9})(?:,\s*(\d{1,9}))?", text.strip())
    if match is None:
        raise InputError(f"Expected --imgsz as `640` or `height,width` in pixels, got {text!r}.")
    imgsz = int(match[1]), int(match[2] or match[1])
    try:
        check_imgsz(imgsz)
    except ValueError as error:
        raise InputError(f"--imgsz: {error}.") from error
    return imgsz


def add_model(workspace: Workspace, new: NewModel) -> Added:
    """Check everything, then make `models/<name>` at once, add its engines to the targets and lay
    out their folders of release/fleet.

    Raises InputError; nothing is left behind then.
    """
    with one_at_a_time(workspace):
        return _add_model(workspace, new)


def _add_model(workspace: Workspace, new: NewModel) -> Added:
    _check_words(workspace, new)
    checkpoint = inspect_checkpoint(new.weights)
    check_stride(new.weights, new.imgsz, checkpoint)
    divided = read_split(new.data, new.weights, checkpoint, single_class=new.single_class)
    targets = [load_target(workspace, target) for target in new.targets]
    with fleet_folders(workspace, [new.name], targets), ExitStack() as all_of_it:
        with atomic_folder(workspace.model(new.name)) as folder:
            copy_weights(new.weights, folder / "weights.pt", checkpoint.sha256)
            sets = copy_sets(folder / "data", divided, checkpoint)
            text = _model_yaml(new, checkpoint.classes, checkpoint.sha256)
            (folder / "model.yaml").write_text(text, encoding="utf-8")
            refuse_others(workspace, new.name, folder)
            # Before the folder gets its name: run again after a kill, these edits change nothing.
            all_of_it.enter_context(entries(workspace, new.name, new.targets))
            remove_folder(workspace.model(new.name))  # an unfinished one, with nothing of its own
        if new.track == "dvc":
            all_of_it.enter_context(_removed_on_failure(workspace.model(new.name)))
            dvc_add(workspace.root, [workspace.model(new.name) / one for one in KEPT])
    return Added(sets, checkpoint.imgsz)


def add_engines(workspace: Workspace, name: str, targets: Sequence[str]) -> None:
    """Add the engines of a model that is there to more targets, with their folders of
    release/fleet; what these have of it already stays as it is. Raises InputError."""
    with one_at_a_time(workspace):
        load_model(workspace, name)
        rows = [load_target(workspace, target) for target in targets]
        with fleet_folders(workspace, [name], rows), entries(workspace, name, targets):
            pass


@contextmanager
def _removed_on_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:  # Ctrl-C too
        remove_folder(folder)
        raise


def _check_words(workspace: Workspace, new: NewModel) -> None:
    check_there(new.weights)
    taken = workspace.model(new.name).exists() and not (
        new.track == "dvc" and unfinished(workspace, new.name)
    )
    check_new_name(new.name, taken, "model")
    check_version(new.version)
    if new.track not in ("git", "dvc"):
        raise InputError(f"Expected --track git or --track dvc, got {new.track!r}.")
    for target in new.targets:
        load_target(workspace, target)
    params = workspace.root / "params.yaml"
    content = load_yaml(params) if params.is_file() else None
    if not isinstance(content, dict) or not isinstance(content.get("models"), list):
        raise InputError(
            f"Expected {params} with a list `models:`, which the stages of dvc.yaml go through. "
            "Bring it back with `git checkout -- params.yaml`."
        )


# --- writing -----------------------------------------------------------------------------------


def _model_yaml(new: NewModel, classes: tuple[str, ...], sha256: str) -> str:
    return MODEL_YAML.format(
        name=new.name,
        version=new.version,
        sha256=sha256,
        height=new.imgsz[0],
        width=new.imgsz[1],
        # JSON strings are YAML strings, whatever a class is called.
        classes="\n".join(f"  - {_quoted(name)}" for name in classes),
    )


def _quoted(name: str) -> str:
    """As JSON, with what YAML takes for a line break or refuses as `\\u` and its number."""
    text = json.dumps(name, ensure_ascii=False)
    return _NOT_IN_YAML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
