"""diff: what a push of this clone, and what the next promotions, would change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engines.config.rings import Rings
from engines.config.workspace import Workspace
from engines.errors import InputError
from release.gitops.branch import Snapshot, open_gitops
from release.moves.place import (
    Place,
    chosen_places,
    goes_by_push,
    is_only_behind,
    rings_of,
    values_at,
)
from release.records import IN_GIT, quarantine_path
from release.rollout.clusters.inventory import read_inventory
from release.rollout.reading.tree import read_tree, readable
from release.rollout.reading.version import parse_version
from release.rollout.release_yaml import ReleaseValues, read_values, release_file
from release.rollout.targets.placement import BundleStops
from release.rollout.targets.placement import place as place_bundle


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A ring that would get another release."""

    place: Place
    by: str
    """`push` of this clone, or `promote` from the ring below."""
    runs: ReleaseValues | None
    """What Fleet's branch says now."""
    would_run: ReleaseValues | None
    quarantined: bool
    """Whether that release may go to no ring any more: promotions of it are refused."""
    clusters: tuple[str, ...] | None = None
    """Who would get it, by an inventory; None without one."""


def diff(
    workspace: Workspace, model: str | None, target: str | None, clusters: Path | None = None
) -> list[Difference]:
    """What would change: the rings whose release.yaml is another one in this clone, and those that
    do not have what the ring below has. `clusters` is an inventory, to say who would get it.

    Raises InputError where the branch knows no such model or target, and for files of the clone
    that Fleet cannot read where there is an inventory, and ServiceError where the branch cannot be
    fetched.
    """
    snapshot = open_gitops(workspace).fetch()
    left = snapshot.left_at()
    rings = rings_of(snapshot, workspace)
    who = _clusters(workspace, clusters) if clusters else None
    found = []
    for place in chosen_places(snapshot, model, target):
        if place.ring in rings.names:
            names = who.get(place.folder, ()) if who is not None else None
            found += _of(workspace, snapshot, left, rings, place, names)
    return found


def _of(
    workspace: Workspace,
    snapshot: Snapshot,
    left: Snapshot | None,
    rings: Rings,
    place: Place,
    names: tuple[str, ...] | None,
) -> list[Difference]:
    runs = values_at(snapshot, place)
    here = read_values(release_file(workspace, place.model, place.target, place.ring))
    below = rings.below(place.ring)
    next_one = values_at(snapshot, place.other(below.name)) if below else None
    pushed = goes_by_push(left, place, rings.names, here)
    pushed = pushed and here != runs and not is_only_behind(workspace, left, place.path)
    wanted = [("push", here)] if pushed else []
    wanted += [("promote", next_one)] if next_one is not None and next_one != runs else []
    return [
        Difference(
            place=place,
            by=by,
            runs=runs,
            would_run=values,
            quarantined=values is not None and _quarantined(snapshot, values),
            clusters=names,
        )
        for by, values in wanted
    ]


def _quarantined(snapshot: Snapshot, values: ReleaseValues) -> bool:
    name = values.image.tag.partition("@")[0]  # of any form: in a clone people may edit it
    return bool(name) and snapshot.read(str(quarantine_path(IN_GIT, name))) is not None


def _clusters(workspace: Workspace, path: Path) -> Mapping[str, tuple[str, ...]]:
    """The folder of each ring to the clusters that its fleet.yaml selects, by Fleet's own rules."""
    version = parse_version(None)
    tree = readable(read_tree(workspace.root, version))
    inventory = read_inventory(path, tree.gitrepo.namespace)
    found = {}
    for bundle in tree.bundles:
        try:
            placed = place_bundle(bundle, inventory, version)
        except BundleStops as error:
            does = "nobody here can tell what Fleet does" if error.unsure else "Fleet stops"
            raise InputError(
                f"Expected {bundle.place} to be for every cluster, but for {error.cluster} "
                f"{does}: {error}. Fix it, or see `release simulate`."
            ) from error
        found[bundle.place] = tuple(one.cluster.name for one in placed)
    return found
