"""How many may be unavailable, and which clusters stand in which partition (`rollout.go`)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from release.rollout.clusters.criteria import criteria_of
from release.rollout.clusters.inventory import Cluster, Group
from release.rollout.reading.version import FleetVersion

Amount = int | str | None

AUTO_SIZE = "25%"
AUTO_THRESHOLD = 200
"""Fewer clusters than this are one partition."""
MAX_NEW = 50
"""Clusters that get the bundle for the first time, per reconcile."""


class BadAmount(Exception):
    """A number or percentage that Fleet cannot read; it then does nothing for the whole bundle."""


@dataclass(frozen=True)
class Partition:
    """Clusters that are updated before the next ones may be."""

    name: str
    members: tuple[int, ...]
    """Indexes into the bundle's clusters, which are sorted by name."""
    limit: int
    """How many of them may be unavailable."""


def limit(count: int, *values: Amount) -> int:
    """How many of `count` may be unavailable by the first of `values` that is given; all of them
    where none is. Raises BadAmount."""
    if count <= 0:
        return 1
    value = next((one for one in values if one is not None), "100%")
    if isinstance(value, int):
        return min(max(value, 0), count)
    if re.fullmatch(r"[+-]?[0-9]+", value) and int(value) > 0:
        return int(value)  # in quotes it is not cut to the count
    share = _percent(value) * count
    # Too large for a whole number of Go, or none: on amd64 that is the smallest there is.
    number = int(share) // 100 if math.isfinite(share) and share < 2**63 else 0
    return min(max(number, 1), count)


def _percent(value: str) -> float:
    number = value.removesuffix("%")
    known = re.fullmatch(
        r"[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|inf|infinity|nan)", number, re.I
    )
    if number == value or not known:
        raise BadAmount(f"{value!r} is neither a whole number nor a percentage")
    return float(number)


def partitions(
    rollout: Mapping[str, Any],
    clusters: Sequence[Cluster],
    groups: Mapping[str, Group],
    version: FleetVersion,
) -> list[Partition]:
    """The partitions of a bundle's clusters, in order. Raises BadAmount and BadSelector.

    Those that people define may leave clusters out, which then are never created and never updated,
    and may have a cluster twice; there is no left-over partition.
    """
    if rollout.get("partitions"):
        return _manual(rollout, clusters, groups, version)
    return _automatic(rollout, len(clusters))


def _manual(
    rollout: Mapping[str, Any],
    clusters: Sequence[Cluster],
    groups: Mapping[str, Group],
    version: FleetVersion,
) -> list[Partition]:
    found = []
    for entry in rollout["partitions"]:
        criteria = criteria_of(entry)
        members = tuple(
            at
            for at, cluster in enumerate(clusters)
            # Before 0.13 a cluster of no group was in no partition.
            if (cluster.groups or version.at_least(0, 13)) and criteria.matches(cluster, groups)
        )
        most = limit(len(members), entry.get("maxUnavailable"), rollout.get("maxUnavailable"))
        found.append(Partition(entry.get("name", ""), members, most))
    return found


def _automatic(rollout: Mapping[str, Any], count: int) -> list[Partition]:
    size = rollout.get("autoPartitionSize")
    threshold = rollout.get("autoPartitionThreshold", AUTO_THRESHOLD)
    most = rollout.get("maxUnavailable")
    off = isinstance(size, int) and size <= 0
    if off or threshold <= 0 or count < threshold:
        return [Partition("All", tuple(range(count)), limit(count, most))]
    step = limit(count, size, AUTO_SIZE)
    return [
        Partition(f"Partition {start} - {end}", tuple(range(start, end)), limit(end - start, most))
        for start in range(0, count, step)
        for end in [min(start + step, count)]
    ]
