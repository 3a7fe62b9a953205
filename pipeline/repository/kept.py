"""Whether a model's weights and data are kept, by git or by DVC, and are what its files say.

`add-model` and `update-model` write a model and have DVC take it: a kill between the two leaves
what the same command completes when it is run again.
"""

from __future__ import annotations

import filecmp
import re
from collections.abc import Iterator
from pathlib import Path

from engines.config.model import ModelConfig
from engines.config.names import NAME_PATTERN
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from engines.files import listed, md5_file, sha256_file
from pipeline.repository.dvc import dvc_file, tracked
from pipeline.repository.git import in_git, knows, of_before

KEPT = ("weights.pt", "data")
"""What `add-model` puts under DVC's control, in the model's folder."""


def holds_a_model_s(folder: Path) -> bool:
    """Whether a folder of models/ can be a model's and has something that only a model's has: what
    else people put there, such as drawn pictures, is theirs."""
    named = re.fullmatch(NAME_PATTERN, folder.name) is not None
    own = (*KEPT, "out", "model.yaml")
    return named and any(listed(folder, f"{one}*") for one in own)


def unfinished(workspace: Workspace, model: str) -> bool:
    """Whether models/<model> is one that an `add-model` left before DVC had taken all of it."""
    folder = workspace.model(model)
    return folder.is_dir() and not _all_tracked(folder) and not knows(workspace.root, folder)


def refuse_others(workspace: Workspace, model: str, made: Path) -> None:
    """Raise InputError where the folder of a model has a file that `made`, which is to replace it,
    has not: somebody's work would be lost."""
    folder = workspace.model(model)
    for path in listed(folder, "**/*"):
        name = path.relative_to(folder)
        other = made / name
        by_dvc = path.name == ".gitignore" or path.suffix == ".dvc"
        if path.is_dir() or by_dvc or (other.is_file() and filecmp.cmp(path, other, shallow=False)):
            continue
        raise InputError(
            f"Expected a new model, but {workspace.relative(folder)} is there already and its "
            f"{name} is not what this command would write. Take another name, or remove that "
            f"model with `pipeline remove-model {model}`, which no copy is kept of."
        )


def problems(workspace: Workspace, model: ModelConfig) -> Iterator[str]:
    """What is not kept, or is not what the model's files say, a sentence each with what to do."""
    folder = workspace.model(model.name)
    where = workspace.relative(folder)
    if in_git(workspace.root) and unfinished(workspace, model.name):
        lacking = [f"{where}/{one}" for one in KEPT if not tracked(folder / one)]
        yield (
            f"Neither git nor DVC keeps {' and '.join(lacking)}. Run the same `pipeline add-model` "
            f"again, or keep them with `dvc add {' '.join(lacking)}` or in git."
        )
    yield from older_than_commit(workspace, model.name)
    weights = folder / model.weights.path
    if not weights.is_file():
        return
    if sha256_file(weights) != model.weights.sha256:
        there = f"{where}/weights.pt"
        by_dvc = f"dvc checkout --force {there}.dvc"
        back = by_dvc if tracked(weights) else f"git checkout -- {there}"
        yield (
            f"{where}/weights.pt is not the file that model.yaml names (sha256 "
            f"{model.weights.sha256[:12]}…). Run `pipeline update-model {model.name} --weights "
            f"FILE` with the weights that are meant, or bring back those of model.yaml (`{back}`)."
        )
    elif tracked(weights) and _md5_of_dvc(weights) not in (None, md5_file(weights)):
        yield (
            f"DVC keeps other weights than {where}/weights.pt. Run `dvc add {where}/weights.pt`, "
            "so that clones get these."
        )


def older_than_commit(workspace: Workspace, model: str) -> list[str]:
    """The model's .dvc files that are an earlier commit's, a sentence each with what to do. `dvc
    repro` right after `git pull` makes them so, and says no word: what lies here is not what they
    name, so DVC takes it for newer."""
    kept = (dvc_file(workspace.model(model) / one) for one in KEPT)
    return [
        f"{where} is an earlier commit's, as where `dvc repro` was run after `git pull` and before "
        f"`pipeline pull`: DVC takes what lies here for newer. `git checkout -- {where}` and then "
        "`pipeline pull` bring what git names; commit it if the earlier is meant."
        for path in kept
        if path.is_file() and of_before(workspace.root, path)
        for where in (workspace.relative(path),)
    ]


def _all_tracked(folder: Path) -> bool:
    return all(tracked(folder / one) for one in KEPT)


def _md5_of_dvc(path: Path) -> str | None:
    """The MD5 of a file's content by its .dvc file; None where that says no such thing."""
    content = load_yaml(dvc_file(path))
    outs = content.get("outs") if isinstance(content, dict) else None
    row = outs[0] if isinstance(outs, list) and outs and isinstance(outs[0], dict) else {}
    found = row.get("md5") if row.get("hash") == "md5" else None
    return found if isinstance(found, str) and re.fullmatch("[0-9a-f]{32}", found) else None
