"""Whether an engine is of what model.yaml says now, or of what that said before `update-model`."""

from __future__ import annotations

from engines.config.model import load_model
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.records.manifest import Manifest


def older(workspace: Workspace, built: Manifest) -> tuple[str, ...]:
    """A sentence where its model is of another version, has other weights or takes pictures of
    another size by now; its figures look like the new ones'."""
    try:
        model = load_model(workspace, built.model)
    except InputError:
        return ()  # whatever is wrong with model.yaml, the engine is what it is
    if model.weights.sha256 != built.source.weights_sha256:
        return (
            f"{built.engine} is of the weights of version {built.model_version}; "
            f"models/{model.name} has others by now, of version {model.version}. `dvc repro` "
            "builds an engine of those.",
        )
    if model.version != built.model_version:
        return (
            f"{built.engine} is of version {built.model_version}; models/{model.name} is of "
            f"version {model.version} by now. `dvc repro` builds an engine of that.",
        )
    if model.imgsz != built.imgsz:
        then, now = (" x ".join(map(str, sides)) for sides in (built.imgsz, model.imgsz))
        return (
            f"{built.engine} takes pictures of {then}; models/{model.name} is of {now} by now. "
            "`dvc repro` builds an engine of that.",
        )
    return ()
