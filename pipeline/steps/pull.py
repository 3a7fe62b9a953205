"""`pipeline pull`: what a machine needs of DVC's remote, and nothing of what never was made.

A bare `dvc pull` or `dvc checkout` ends with an error and a list of each file of each target that
was never built.
"""

from __future__ import annotations

from collections.abc import Sequence

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.extras import require
from pipeline.intake.way_back import way_back
from pipeline.progress import note
from pipeline.repository.dvc import added, dvc_pull, locked_stages, tracked
from pipeline.repository.entries import named_models
from pipeline.repository.kept import KEPT, older_than_commit


def pull(workspace: Workspace, targets: Sequence[str]) -> list[str]:
    """Bring weights, data sets and ONNX files, and what was made for `targets`.

    Returns the targets that nothing was kept of yet. Raises InputError where a target is not there,
    a model's files are not that git should bring, or there is no remote and this clone's cache has
    not all of it, and ServiceError where DVC could not bring it.
    """
    require("dvc")
    made = {}
    for name in targets:
        load_target(workspace, name)
        made[name] = locked_stages(workspace, workspace.target(name))
    names = [*added(workspace), *locked_stages(workspace, workspace.root)]
    names += [stage for stages in made.values() for stage in stages]
    if names:
        dvc_pull(workspace, names)
    else:
        note(
            "DVC keeps nothing of this repository yet. Where `dvc repro` ran, commit each dvc.lock "
            "and run `dvc push`; then `pipeline pull` brings what it made."
        )
    for model in named_models(workspace):
        for one in older_than_commit(workspace, model):
            note(one)
    _refuse_lost(workspace)  # last: what DVC keeps of the others is here by then
    return [name for name, stages in made.items() if not stages]


def _refuse_lost(workspace: Workspace) -> None:
    """Raise InputError where weights or data are not here that DVC does not keep: git has them."""
    for model in named_models(workspace):
        for kept in (workspace.model(model) / one for one in KEPT):
            if not kept.exists() and not tracked(kept):
                raise InputError(
                    f"Expected {workspace.relative(kept)} to be here, since DVC does not keep it, "
                    f"but it is not. Bring it back with {way_back(kept)}, or take the model away "
                    f"with `pipeline remove-model {model}`."
                )
