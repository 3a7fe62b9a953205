"""diff: what a push of this clone, and what the next promotions, would change."""

from __future__ import annotations

from dataclasses import dataclass

from engines.config.workspace import Workspace
from release.gitops.branch import open_gitops
from release.moves.place import Place, places, rings_of, values_at
from release.rollout.release_yaml import ReleaseValues, read_values, release_file


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A ring that would get another release."""

    place: Place
    by: str
    """`push` of this clone, or `promote` from the ring below."""
    runs: ReleaseValues | None
    """What Fleet's branch says now."""
    would_run: ReleaseValues | None


def diff(workspace: Workspace, model: str | None, target: str | None) -> list[Difference]:
    """What would change: the rings whose release.yaml is another one in this clone, and those that
    do not have what the ring below has. Raises InputError, and ServiceError where the branch cannot
    be fetched."""
    snapshot = open_gitops(workspace).fetch()
    rings = rings_of(snapshot, workspace)
    found = []
    for place in places(snapshot):
        if model not in (None, place.model) or target not in (None, place.target):
            continue
        if place.ring not in rings.names:
            continue
        runs = values_at(snapshot, place)
        here = read_values(release_file(workspace, place.model, place.target, place.ring))
        if here != runs:
            found.append(Difference(place=place, by="push", runs=runs, would_run=here))
        below = rings.below(place.ring)
        next_one = values_at(snapshot, place.other(below.name)) if below else None
        if next_one is not None and next_one != runs:
            found.append(Difference(place=place, by="promote", runs=runs, would_run=next_one))
    return found
