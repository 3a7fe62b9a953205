"""A played sync, and what it was played with; as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from release.rollout.clusters.inventory import Inventory
from release.rollout.reading.version import FleetVersion
from release.rollout.simulation.agent import DEPLOY_S, READY_S
from release.rollout.simulation.outcome import Fate, Outcome
from release.rollout.simulation.sync import BundleChange, Sync

REACHED = ("broken", "retried")
"""States of clusters that a bad image reached."""


@dataclass(frozen=True, kw_only=True)
class SimulationInput:
    """What is played."""

    clusters: Path
    bad: str | None = None
    """Image tag that never gets ready, with or without a digest."""
    offline: str | None = None
    """Clusters out of reach: `30%` of them, or so many."""
    fleet_version: str | None = None
    minutes: int = 60
    base: str | None = None
    """Revision that clusters run; None finds the latest change."""


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A sync, and what it was played with."""

    asked: SimulationInput
    version: FleetVersion
    base: str
    """What clusters run before it, in words."""
    inventory: Inventory
    offline: frozenset[str]
    sync: Sync
    notes: tuple[str, ...] = ()

    @property
    def reached(self) -> list[str]:
        """The clusters on which a bad image was tried, by name."""
        return sorted(
            {fate.name for one in self.sync.changes for fate in reached(one)},
        )


def reached(change: BundleChange) -> list[Fate]:
    """The clusters of a bundle on which a bad image was tried."""
    fates = change.outcome.fates if change.outcome else []
    return [fate for fate in fates if fate.state in REACHED]


def as_json(simulation: Simulation) -> dict[str, Any]:
    """All of it, for other programs; `schema` changes where a field changes its meaning."""
    return {
        "schema": 1,
        "fleet_version": str(simulation.version),
        "base": simulation.base,
        "minutes": simulation.asked.minutes,
        "assumed_seconds": {"until_deployed": DEPLOY_S, "until_ready": READY_S},
        "bad": simulation.asked.bad,
        "clusters": len(simulation.inventory.clusters),
        "offline": sorted(simulation.offline),
        "notes": list(simulation.notes),
        "reached": simulation.reached,
        "unchanged_bundles": simulation.sync.same,
        "bundles": [_bundle(one) for one in simulation.sync.changes],
    }


def _bundle(change: BundleChange) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": change.name,
        "folder": change.folder,
        "stops": None if change.unsure else change.stops or None,
        "not_played": change.stops if change.unsure else None,
        "added": change.added,
        "removed": change.removed,
        "played_from": change.started_from or None,
    }
    return row | (_played(change.outcome) if change.outcome else {})


def _played(outcome: Outcome) -> dict[str, Any]:
    played = outcome.played
    return {
        "states": outcome.counts,
        "done_s": outcome.done_s,
        "held_by": outcome.holds,
        "reconciles": played.reconciles,
        "most_unavailable": played.most_unavailable,
        "max_unavailable": played.reconciler.gates.unavailable,
        "max_unavailable_partitions": played.reconciler.gates.partitions,
        "max_new": played.reconciler.gates.new,
        "partitions": [
            {
                "name": one.name,
                "max_unavailable": one.limit,
                "clusters": [played.placements[at].cluster.name for at in one.members],
                "reached": at < played.reconciler.reached(),
                "stuck": played.reconciler.stuck(at),
            }
            for at, one in enumerate(played.partitions)
        ],
        "steps": [
            {
                "reconcile": one.number,
                "second": one.second,
                "after": one.after or None,
                "created": one.created,
                "told": one.told,
            }
            for one in played.steps
        ],
        "clusters": {
            fate.name: {
                "state": fate.state,
                "partition": fate.partition,
                "tag": fate.tag,
                "deployment_id": played.placements[at].deployment_id,
                "told_s": fate.told_s,
                "ready_s": fate.ready_s,
                "held_by": fate.why or None,
            }
            for at, fate in enumerate(outcome.fates)
        },
    }
