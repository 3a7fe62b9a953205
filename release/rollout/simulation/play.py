"""Reconciles and reports in turn, from the moment that Fleet sees a commit until nothing moves.

Fleet reconciles a bundle when a cluster reports, so once for each report; there is no timer.
Reports of the same second come in the order in which the clusters were told.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from release.rollout.clusters.inventory import Inventory
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.version import FleetVersion
from release.rollout.simulation.agent import Course, course
from release.rollout.simulation.partitions import Partition, partitions
from release.rollout.simulation.reconcile import BundleDeployment, Reconciler, gates_of
from release.rollout.targets.placement import TargetedCluster


@dataclass(frozen=True)
class Conditions:
    """What is played."""

    version: FleetVersion
    seconds: int
    bad: Callable[[str], bool] = lambda tag: False
    """Whether the image of a tag never gets ready."""
    offline: Callable[[str], bool] = lambda name: False
    """Whether a cluster is out of reach all the time."""


@dataclass(slots=True)
class Step:
    """One reconcile that did something."""

    number: int
    """Counts all reconciles of the bundle, those that did nothing too."""
    second: int
    created: list[str]
    told: list[str]
    after: str
    """The cluster whose report led to it; empty for the commit."""


@dataclass
class Played:
    """One bundle after a play."""

    placements: Sequence[TargetedCluster]
    partitions: list[Partition]
    reconciler: Reconciler
    steps: list[Step] = field(default_factory=list)
    reconciles: int = 0
    told_s: dict[int, int] = field(default_factory=dict)
    ready_s: dict[int, int] = field(default_factory=dict)
    courses: dict[int, Course] = field(default_factory=dict)
    unfinished: set[int] = field(default_factory=set)
    """Clusters whose reports would come after the end."""
    most_unavailable: int = 0
    """The most at one time, those that have it for the first time too."""

    @property
    def deployments(self) -> Sequence[BundleDeployment]:
        return self.reconciler.deployments


def play(
    bundle: Bundle,
    placements: Sequence[TargetedCluster],
    inventory: Inventory,
    before: Mapping[str, BundleDeployment],
    conditions: Conditions,
) -> Played:
    """Play one bundle; `before` is what its clusters have of it, by name, and is not changed.

    Raises BadAmount and BadSelector, for which Fleet does nothing.
    """
    clusters = [one.cluster for one in placements]
    rollout = bundle.rollout if clusters else {}
    found = partitions(rollout, clusters, inventory.groups, conditions.version)
    deployments = [_deployment(one, before, bundle.paused) for one in placements]
    gates = gates_of(rollout, len(clusters), len(found))
    played = Played(placements, found, Reconciler(deployments, found, gates))
    _run(played, conditions)
    return played


def _deployment(
    placement: TargetedCluster, before: Mapping[str, BundleDeployment], paused: bool
) -> BundleDeployment:
    known = before.get(placement.cluster.name)
    stopped = paused or placement.cluster.paused
    if known is None:
        return BundleDeployment(placement.deployment_id, paused=stopped)
    return BundleDeployment(
        placement.deployment_id, known.exists, known.told, known.applied, known.ready, stopped
    )


def _run(played: Played, conditions: Conditions) -> None:
    # second, order in which it was foreseen, cluster, what it says is applied, ready
    events: list[tuple[int, int, int, str, bool]] = []
    order, second, after = 0, 0, ""
    while True:
        change = played.reconciler.reconcile()
        played.reconciles += 1
        for at in change.told:
            played.told_s[at] = second
            for event in _foreseen(at, played, conditions):
                heapq.heappush(events, (second + event[0], order, *event[1:]))
                order += 1
        if change.created or change.told:
            _note(played, change.created, change.told, second, after)
        if not events or events[0][0] > conditions.seconds:
            played.unfinished = {one[2] for one in events}
            return
        second, _, at, applied, ready = heapq.heappop(events)
        played.reconciler.report(at, applied, ready)
        after = played.placements[at].cluster.name
        if ready:
            played.ready_s[at] = second


def _foreseen(at: int, played: Played, conditions: Conditions) -> list[tuple[int, int, str, bool]]:
    placement, one = played.placements[at], played.deployments[at]
    played.courses[at] = found = course(
        placement.options,
        bad=conditions.bad(placement.tag),
        offline=conditions.offline(placement.cluster.name),
        first=not one.applied,
        version=conditions.version,
    )
    return [
        (report.after_s, at, one.told if report.deployed else one.applied, report.ready)
        for report in found.reports
    ]


def _note(played: Played, created: list[int], told: list[int], second: int, after: str) -> None:
    def names(rows: list[int]) -> list[str]:
        return [played.placements[at].cluster.name for at in rows]

    played.steps.append(Step(played.reconciles, second, names(created), names(told), after))
    played.most_unavailable = max(played.most_unavailable, played.reconciler.unavailable)
