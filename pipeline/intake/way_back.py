"""How what a model's folder lacks, or has another file of, comes back: by git, or by DVC."""

from __future__ import annotations

import shlex
from pathlib import Path


def way_back(path: Path) -> str:
    """The commands that bring back weights, a data set or all data, as words for a sentence.

    `pipeline pull` replaces no file whose content DVC's cache has not: it could be the only one.
    After a `git revert` of new weights the file in DVC's hands is still the new one, and `dvc
    repro` takes it for the one that is meant; so the .dvc file is brought back too.
    """
    held = (Path(f"{one}.dvc") for one in (path, path.parent))
    by_dvc = next((one for one in held if one.is_file()), None)
    if by_dvc is None:
        return f"`git checkout -- {shlex.quote(str(path))}`"
    if not path.exists():
        return "`pipeline pull`"
    kept = shlex.quote(str(by_dvc))
    return (
        f"`git checkout -- {kept}` and `dvc checkout --force {kept}`, or with `pipeline pull` "
        "where this clone never had it"
    )
