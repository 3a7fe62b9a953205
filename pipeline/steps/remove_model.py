"""`pipeline remove-model`: a model goes, with all that names it."""

from __future__ import annotations

import re
from typing import NamedTuple

from engines.config.names import NAME_PATTERN
from engines.config.workspace import Workspace
from engines.config.yaml import not_among
from engines.errors import InputError
from engines.files import remove_in_place
from pipeline.repository.entries import models_in_rows, named_models, remove_entries
from pipeline.repository.fleet import released_in
from pipeline.repository.git import knows
from pipeline.repository.kept import holds_a_model_s
from pipeline.repository.lock import one_at_a_time


class Removed(NamedTuple):
    """What goes with a model, and what stays."""

    rings: list[str]
    """`<target>/<ring>` that ran it."""
    others: list[str]
    """The models that are left."""
    kept: bool
    """Whether git has files of it, committed or added."""


def remove_model(workspace: Workspace, name: str, *, force: bool) -> Removed:
    """Remove `models/<name>`, its engines and folders of release/fleet, and every entry that names
    it. Its own folder goes last, so that a run that was killed is completed by the next one.

    The records of its releases stay: they say what sites ran. Raises InputError for a name that
    nothing has, and for a model that a ring runs unless `force` is given.
    """
    with one_at_a_time(workspace):
        _check_there(workspace, name)
        rings = released_in(workspace, name)
        if rings and not force:
            raise InputError(
                f"Expected a model that no ring runs, but release/fleet has a release of {name} in "
                f"{', '.join(rings)}: its clusters would lose it. Give --force if they should."
            )
        kept = knows(workspace.root, workspace.model(name))
        remove_entries(workspace, name)
        remove_in_place(workspace.fleet / name)
        remove_in_place(workspace.model(name), "model.yaml")
        return Removed(rings, named_models(workspace), kept)


def _check_there(workspace: Workspace, name: str) -> None:
    # The pattern first: a name such as `..` must lead nowhere.
    there = re.fullmatch(NAME_PATTERN, name) and (
        holds_a_model_s(workspace.model(name))
        or (workspace.fleet / name).exists()
        or name in named_models(workspace)
        or name in models_in_rows(workspace)
    )
    if not there:
        unknown = not_among(workspace.models, name, file="model.yaml")
        raise InputError(f"{unknown} `pipeline list` says which there are.")
