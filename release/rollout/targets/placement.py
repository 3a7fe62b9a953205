"""Which clusters a bundle is deployed to, and with which content (`target/builder.go:Targets`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from release.rollout.clusters.criteria import Criteria
from release.rollout.clusters.inventory import Cluster, Inventory
from release.rollout.reading.bundle import Bundle, Target
from release.rollout.reading.values import Options
from release.rollout.reading.version import FleetVersion
from release.rollout.targets.cluster_values import ClusterValues
from release.rollout.targets.options import deployment_id, merge
from release.rollout.targets.template_functions import CannotTell, TemplateFails


class BundleStops(Exception):
    """An error for one cluster, for which Fleet does nothing for any cluster of the bundle.

    `unsure` where Fleet may know what is not known here: then nobody can say what it does.
    """

    def __init__(self, reason: str, cluster: str, unsure: bool = False) -> None:
        super().__init__(reason)
        self.cluster = cluster
        self.unsure = unsure


@dataclass(frozen=True, slots=True)
class TargetedCluster:
    """One cluster of a bundle."""

    cluster: Cluster
    deployment_id: str
    options: Options
    matched: tuple[int, ...]
    """Indexes of the bundle's targets whose options it has."""
    lacking: tuple[str, ...] = ()
    """Labels that its values name and it does not have."""

    @property
    def tag(self) -> str:
        """`image.tag` of its values; empty where there is none."""
        values: Any = (self.options.get("helm") or {}).get("values") or {}
        image = values.get("image")
        tag = image.get("tag") if isinstance(image, dict) else None
        return tag if isinstance(tag, str) else ""


def place(bundle: Bundle, inventory: Inventory, version: FleetVersion) -> list[TargetedCluster]:
    """The clusters that get the bundle, by name. Raises BundleStops.

    A cluster that no target matches gets nothing, and loses what it had from the bundle.
    """
    makers: dict[tuple[int, ...], tuple[ClusterValues, dict[int, str]]] = {}
    placements = []
    for cluster in candidates(bundle, inventory):
        matched = matching(bundle, cluster, inventory)
        if matched is None:
            continue
        if matched not in makers:
            makers[matched] = ClusterValues(_merged(bundle, matched, version)), {}
        maker, ids = makers[matched]
        try:
            options = maker.options_of(cluster)
        except (TemplateFails, CannotTell) as error:
            unsure = isinstance(error, CannotTell)
            raise BundleStops(str(error), cluster.name, unsure) from error
        if id(options) not in ids:  # they are the same object where they say the same
            ids[id(options)] = deployment_id(bundle.content.manifest, options, version)
        lacking = tuple(maker.lacking(cluster))
        placements.append(TargetedCluster(cluster, ids[id(options)], options, matched, lacking))
    return placements


def candidates(bundle: Bundle, inventory: Inventory) -> Iterable[Cluster]:
    """The clusters that can match at all, without looking at all of them for each bundle."""
    rows = bundle.restrictions or [target.criteria for target in bundle.targets]
    exact = [_exact(one) for one in rows if not one.empty]
    if not all(exact):
        return inventory.clusters
    found: dict[str, Cluster] = {}
    for pairs in exact:
        found.update((one.name, one) for one in inventory.labelled(pairs))
    return sorted(found.values(), key=lambda one: one.name)


def _exact(criteria: Criteria) -> list[tuple[str, str]]:
    return criteria.selector.exact() if criteria.selector else []


def matching(bundle: Bundle, cluster: Cluster, inventory: Inventory) -> tuple[int, ...] | None:
    """The targets whose options a cluster gets, in order; None where it gets nothing."""
    groups = inventory.groups
    if bundle.restrictions and not any(one.matches(cluster, groups) for one in bundle.restrictions):
        return None
    chosen = _first(bundle.targets, False, cluster, inventory)
    if chosen is None or bundle.targets[chosen].do_not_deploy:
        return None
    if bundle.all_matches:
        found = [
            at
            for at, target in enumerate(bundle.targets)
            if target.customization and target.criteria.matches(cluster, groups)
        ]
        if any(bundle.targets[at].do_not_deploy for at in found):
            return None
        return (chosen, *found)
    first = _first(bundle.targets, True, cluster, inventory)
    if first is None:
        return (chosen,)
    return None if bundle.targets[first].do_not_deploy else (first,)


def _first(
    targets: tuple[Target, ...], customization: bool, cluster: Cluster, inventory: Inventory
) -> int | None:
    for at, target in enumerate(targets):
        if target.customization == customization and target.criteria.matches(
            cluster, inventory.groups
        ):
            return at
    return None


def _merged(bundle: Bundle, matched: tuple[int, ...], version: FleetVersion) -> Options:
    options = bundle.targets[matched[0]].options
    for at in matched[1:]:
        options = merge(options, bundle.targets[at].options, version)
    return merge(bundle.options, options, version)
