"""What a sync does: bundles before and after it, and each that changes, played."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from release.rollout.clusters.inventory import Inventory
from release.rollout.clusters.labels import BadSelector
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.tree import Tree
from release.rollout.simulation.outcome import Outcome
from release.rollout.simulation.partitions import BadAmount
from release.rollout.simulation.play import Conditions, play
from release.rollout.simulation.reconcile import BundleDeployment
from release.rollout.targets.placement import BundleStops, TargetedCluster, place

Earlier = Callable[[Bundle], "tuple[Bundle | None, str]"]
"""What a bundle was before the tag that it has came to it, and the revision."""


@dataclass
class BundleChange:
    """One bundle that a sync changes."""

    name: str
    folder: str
    outcome: Outcome | None = None
    stops: str = ""
    """Why Fleet does nothing for the whole bundle."""
    unsure: bool = False
    """`stops` is what is not known here, and Fleet may go on."""
    added: list[str] = field(default_factory=list)
    """Clusters that had nothing of the bundle."""
    removed: list[str] = field(default_factory=list)
    """Clusters that lose it: it is uninstalled there."""
    started_from: str = ""
    """The revision that was played first, where a bad image had been written before the sync."""

    @property
    def refusal(self) -> str:
        """`stops` as a sentence."""
        if self.unsure:
            return f"Cannot be played: not known here, but to Fleet: {self.stops}"
        return f"Fleet does nothing for any cluster of it: {self.stops}"


@dataclass
class Sync:
    """All that a sync does."""

    changes: list[BundleChange] = field(default_factory=list)
    same: int = 0
    """Bundles for which it changes nothing."""


def plan(
    before: Tree, after: Tree, inventory: Inventory, conditions: Conditions, earlier: Earlier
) -> Sync:
    """Play every bundle that differs between two trees, both of which are readable."""
    sync = Sync()
    old, new = before.deployed, after.deployed
    for name in sorted({*old, *new}, key=lambda one: _order(one, old, new)):
        was, becomes = old.get(name), new.get(name)
        change = _change(name, was, becomes, inventory, conditions, earlier)
        if change is None:
            sync.same += 1
        else:
            sync.changes.append(change)
    return sync


def _order(name: str, old: Mapping[str, Bundle], new: Mapping[str, Bundle]) -> str:
    bundle = new.get(name) or old[name]
    return bundle.file.as_posix()


def _change(
    name: str,
    was: Bundle | None,
    becomes: Bundle | None,
    inventory: Inventory,
    conditions: Conditions,
    earlier: Earlier,
) -> BundleChange | None:
    """What the sync does to one bundle; None where nothing."""
    held = _placed(was, inventory, conditions)
    bundle = becomes or was
    assert bundle is not None
    change = BundleChange(name, bundle.place)
    if becomes is None:
        change.removed = [one.cluster.name for one in held or ()]
        return change if held else None
    try:
        wanted = place(becomes, inventory, conditions.version)
        standing = _standing(change, was, held, wanted, inventory, conditions, earlier)
        ids = {one.cluster.name: one.deployment_id for one in wanted}
        change.added = sorted(ids.keys() - standing.keys())
        change.removed = sorted(standing.keys() - ids.keys())
        moved = any(one.told != ids[name] for name, one in standing.items() if name in ids)
        if not (moved or change.added or change.removed):
            return None
        change.outcome = Outcome(play(becomes, wanted, inventory, standing, conditions))
    except BundleStops as error:
        change.stops = f"{error} (cluster {error.cluster})"
        change.unsure = error.unsure
    except (BadAmount, BadSelector) as error:
        change.stops = str(error)
    return change


def _placed(
    bundle: Bundle | None, inventory: Inventory, conditions: Conditions
) -> list[TargetedCluster] | None:
    """Where a bundle is; None where Fleet stops at it."""
    if bundle is None:
        return []
    try:
        return place(bundle, inventory, conditions.version)
    except BundleStops:
        return None


def _standing(
    change: BundleChange,
    was: Bundle | None,
    held: Sequence[TargetedCluster] | None,
    wanted: Sequence[TargetedCluster],
    inventory: Inventory,
    conditions: Conditions,
    earlier: Earlier,
) -> dict[str, BundleDeployment]:
    """What clusters run before the sync: what git says, all of it ready.

    Where that is the bad image, the sync that brought it is played first, from what was there
    before, so that clusters stand where it stopped.
    """
    if held is None:  # Fleet stopped at it, so that something unknown runs
        return {one.cluster.name: BundleDeployment("", True, "?", "?", True) for one in wanted}
    if was is None or not any(conditions.bad(one.tag) for one in held):
        return settled(held)
    first, change.started_from = earlier(was)
    start = settled(_placed(first, inventory, conditions) or [])
    try:
        played = play(was, held, inventory, start, conditions)
    except (BadAmount, BadSelector):
        return start
    return {
        one.cluster.name: deployment
        for one, deployment in zip(held, played.deployments, strict=True)
        if deployment.exists
    }


def settled(placements: Iterable[TargetedCluster]) -> dict[str, BundleDeployment]:
    """Clusters that run what they should, and are ready."""
    return {
        one.cluster.name: BundleDeployment(
            one.deployment_id, True, one.deployment_id, one.deployment_id, True
        )
        for one in placements
    }
