"""status: what is published of each model on a target, and what its rings run."""

from __future__ import annotations

from dataclasses import dataclass

from engines.config.rings import load_rings
from engines.config.workspace import Workspace
from release.records import (
    Candidates,
    Publication,
    candidates_path,
    chosen_targets,
    read_publication,
    refuse_old_layout,
)
from release.rollout.release_yaml import ReleaseValues, models_of, read_values, release_file


@dataclass(frozen=True, kw_only=True)
class Status:
    """One model on one target."""

    model: str
    target: str
    candidate: Publication | None
    """What `release write` puts into the first ring; none where no engine passed."""
    rings: dict[str, ReleaseValues | None]
    """Ring to what it runs; None before its first release."""


def status(workspace: Workspace, target: str | None) -> list[Status]:
    """The status of each model on `target`, or on every target there is a record of.

    Raises InputError when nothing was published yet or a file cannot be read, and WrongEngine for
    a record that does not add up.
    """
    refuse_old_layout(workspace)
    rings = load_rings(workspace).names
    return [
        _status(workspace, name, model, chosen, rings)
        for name in chosen_targets(workspace, target)
        for chosen in [Candidates.read(candidates_path(workspace, name))]
        for model in sorted({*chosen.candidates, *models_of(workspace, name)})
    ]


def _status(
    workspace: Workspace, target: str, model: str, chosen: Candidates, rings: tuple[str, ...]
) -> Status:
    candidate = chosen.candidates.get(model)
    return Status(
        model=model,
        target=target,
        candidate=read_publication(workspace, candidate.release) if candidate else None,
        rings={ring: read_values(release_file(workspace, model, target, ring)) for ring in rings},
    )
