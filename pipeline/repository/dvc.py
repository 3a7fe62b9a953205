"""DVC, as the command that the user has."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engines.errors import InputError


def tracked(path: Path) -> bool:
    """Whether `dvc add` put this file or folder under DVC's control."""
    return path.with_name(f"{path.name}.dvc").is_file()


def dvc_add(root: Path, paths: Sequence[Path]) -> None:
    """Put files or folders under DVC's control. Raises InputError with DVC's own words."""
    command = [sys.executable, "-m", "dvc", "add", "--quiet", *map(str, paths)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(
            f"Expected `dvc add` to take {', '.join(map(str, paths))}, but it said: "
            f"{done.stderr.strip()}. Fix that and run `dvc add` yourself; the rest is done."
        )
