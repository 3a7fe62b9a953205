"""Hashes by which DVC knows files and data sets, so that a release leads back to its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.config.yaml import load_yaml


def dvc_md5(path: Path, lock_files: tuple[Path, ...]) -> str | None:
    """The md5 of the file `path`, if one of `lock_files` knows it with this very content.

    None where no lock file names it, or only with another content: a lock may be of another build.
    Raises InputError where a lock file is not YAML.
    """
    known = _hashes(path, lock_files)
    if not known or not path.is_file():
        return None
    found = _md5_file(path)
    return found if found in known else None


def dvc_md5_folder(path: Path, lock_files: tuple[Path, ...]) -> str | None:
    """The md5 (`<32 hex>.dir`) that `lock_files` give the folder `path`.

    What is in the folder is not looked at, so None where they do not agree: stages then ran on
    different contents, and nobody can tell on which this engine did. Raises InputError where a
    lock file is not YAML.
    """
    known = {md5 for md5 in _hashes(path, lock_files) if md5.endswith(".dir")}
    return known.pop() if len(known) == 1 else None


def _hashes(path: Path, lock_files: tuple[Path, ...]) -> set[str]:
    """Every md5 of `path` in the lock files, as a dependency or an output."""
    wanted = path.resolve()
    return {
        str(entry["md5"])
        for lock_file in lock_files
        for entry in _entries(lock_file)
        if "md5" in entry and (lock_file.parent / str(entry.get("path"))).resolve() == wanted
    }


def _entries(lock_file: Path) -> Iterator[dict[str, Any]]:
    content = load_yaml(lock_file) if lock_file.is_file() else None
    stages = content.get("stages", {}) if isinstance(content, dict) else {}
    for stage in stages.values():
        yield from stage.get("outs", [])
        yield from stage.get("deps", [])


def _md5_file(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
