"""Hashes by which DVC knows a file, so that a release leads back to its data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.config import load_yaml


def dvc_md5(path: Path, lock_files: tuple[Path, ...]) -> str | None:
    """The md5 of `path` in the first of `lock_files` that names it, as a dependency or an output.

    None where no lock file is there or none names it: the file came about without DVC.
    Raises InputError where a lock file is not YAML.
    """
    wanted = path.resolve()
    for lock_file in lock_files:
        for entry in _entries(lock_file):
            if (lock_file.parent / str(entry.get("path"))).resolve() == wanted and "md5" in entry:
                return str(entry["md5"])
    return None


def _entries(lock_file: Path) -> Iterator[dict[str, Any]]:
    content = load_yaml(lock_file) if lock_file.is_file() else None
    stages = content.get("stages", {}) if isinstance(content, dict) else {}
    for stage in stages.values():
        yield from stage.get("outs", [])
        yield from stage.get("deps", [])
