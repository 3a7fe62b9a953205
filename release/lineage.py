"""Hashes by which DVC knows files and data sets, so that a release leads back to its data."""

from __future__ import annotations

import shlex
from functools import lru_cache
from pathlib import Path
from typing import Any

from engines.config.model import load_model
from engines.config.workspace import Workspace
from engines.config.yaml import parse_yaml
from engines.errors import InputError
from engines.files import md5_file


def data_set_hashes(workspace: Workspace, model: str, target: str, engine: str) -> dict[str, str]:
    """Data set of the model to `md5:<32 hex>.dir`, by which DVC finds it again; one that DVC does
    not know is not there. Raises InputError where model.yaml or a lock file cannot be read.

    What is in a folder is not looked at. So nothing is known where the model's side of the
    repository and the engine name any file of the model with two contents: then that dvc.lock is of
    another run, as where only the engines were copied here, and so are the data sets in it.
    """
    folder, data = workspace.model(model), load_model(workspace, model).data
    known: dict[Path, set[str]] = {}
    for lock_file, item in zip(lock_files(workspace, target), (model, engine), strict=True):
        for stage, entry in _entries(lock_file):
            path = (lock_file.parent / str(entry.get("path"))).resolve()
            if stage.endswith(f"@{item}") and folder.resolve() in path.parents:
                known.setdefault(path, set()).add(str(entry["md5"]))
    if any(len(hashes) > 1 for hashes in known.values()):
        return {}
    sets = {
        name: known.get((folder / path).resolve(), ()) for name, path in data.model_dump().items()
    }
    return {name: f"md5:{md5}" for name, found in sets.items() for md5 in found}


def lock_files(workspace: Workspace, target: str) -> tuple[Path, Path]:
    """What DVC wrote of the model side and of the target."""
    return (workspace.root / "dvc.lock", workspace.target(target) / "dvc.lock")


def dvc_md5(path: Path, lock_files: tuple[Path, ...]) -> str | None:
    """The md5 of the file `path`, if one of `lock_files` knows it with this very content.

    None where no lock file names it, or only with another content: a lock may be of another build.
    Raises InputError where a lock file is not what DVC writes.
    """
    known = _hashes(path, lock_files)
    if not known or not path.is_file():
        return None
    found = md5_file(path)
    return found if found in known else None


def _hashes(path: Path, lock_files: tuple[Path, ...]) -> set[str]:
    """Every md5 of `path` in the lock files, as a dependency or an output."""
    wanted = path.resolve()
    return {
        str(entry["md5"])
        for lock_file in lock_files
        for _, entry in _entries(lock_file)
        if (lock_file.parent / str(entry.get("path"))).resolve() == wanted
    }


def _entries(lock_file: Path) -> tuple[tuple[str, dict[str, Any]], ...]:
    """What is known by its md5, each with its stage; nothing where there is no such file."""
    return _parsed(lock_file.read_bytes(), str(lock_file)) if lock_file.is_file() else ()


@lru_cache(maxsize=8)
def _parsed(content: bytes, lock_file: str) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Kept by content, since a release asks for a dozen files, and parsing two lock files takes a
    fifth of a second."""
    parsed = parse_yaml(content, lock_file)
    try:
        return tuple(
            (name, entry)
            for name, stage in parsed.get("stages", {}).items()
            for entry in (*stage.get("outs", []), *stage.get("deps", []))
            if "md5" in entry
        )
    except (AttributeError, TypeError) as error:
        raise InputError(
            f"Expected {lock_file} as DVC writes it, got something else, such as the part of one "
            "that a full disk leaves. Bring it back with `git checkout -- "
            f"{shlex.quote(lock_file)}` (where git has none, remove it), then `dvc repro`."
        ) from error
