"""`target:` of the root params.yaml: what commands are about that are not told a target."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from engines.config.names import Name
from engines.config.workspace import Workspace
from engines.config.yaml import parse_file
from engines.errors import InputError


class _Root(BaseModel):
    """The root params.yaml; its other keys are those of the stages."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    target: Name


def target_or_default(workspace: Workspace, target: str | None) -> str:
    """`target` where one is given, else the one of the root params.yaml, which is that of a bare
    `dvc repro` too. Raises InputError where that file names none."""
    if target is not None:
        return target
    path = workspace.root / "params.yaml"
    if not path.is_file():
        raise InputError(
            f"Expected {path} with the key `target`, since no --target is given, but there is no "
            "such file. Give --target, or bring the file back with `git checkout -- params.yaml`."
        )
    return parse_file(_Root, path).target
