"""status: what is published of a target, and what its rings run."""

from __future__ import annotations

from dataclasses import dataclass

from engines.config.target import load_target
from engines.config.workspace import Workspace
from release.records import Published, ReleaseRecord, published_path, record_path
from release.rollout.fleet import RINGS, Place, read_fleet, tag_of


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """One model on one target."""

    model: str
    candidate: ReleaseRecord | None
    """What would go to the canary ring; none when no engine passed."""
    rings: dict[str, str | None]
    """Ring to the tag that fleet.yaml names."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """All models on one target."""

    target: str
    fleet_file: str
    """Relative to the root of the repository."""
    models: tuple[ModelStatus, ...]


def status(workspace: Workspace, target: str) -> Status:
    """The status of each model that the target has engines of.

    Raises InputError when nothing was published yet, or fleet.yaml cannot be read.
    """
    row = load_target(workspace, target)
    models = sorted({engine.model for engine in row.engines.values()})
    published = Published.read(published_path(workspace, target))
    fleet = read_fleet(workspace.fleet_file)
    return Status(
        target=target,
        fleet_file=workspace.relative(workspace.fleet_file),
        models=tuple(
            _status(workspace, fleet, published, row.fleet_label, model) for model in models
        ),
    )


def _status(
    workspace: Workspace, fleet: str, published: Published, label: str, model: str
) -> ModelStatus:
    chosen = published.candidates.get(model)
    return ModelStatus(
        model=model,
        candidate=ReleaseRecord.read(record_path(workspace, chosen.release)) if chosen else None,
        rings={ring: tag_of(fleet, Place(device=label, ring=ring, model=model)) for ring in RINGS},
    )
