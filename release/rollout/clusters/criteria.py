"""Which clusters a target, a restriction or a partition is for.

All criteria that are given must hold; none given match nothing, while an empty selector matches
every cluster (`matcher/clustermatcher.go`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from release.rollout.clusters.inventory import Cluster, Group
from release.rollout.clusters.labels import Selector, selector_of

DISPLAY_NAME = "management.cattle.io/cluster-display-name"
"""Label in which Rancher keeps the name that people gave a cluster."""


@dataclass(frozen=True)
class Criteria:
    """What a target or a partition demands of a cluster."""

    name: str = ""
    cluster_name: str = ""
    cluster_group: str = ""
    group_selector: Selector | None = None
    selector: Selector | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is demanded, so that nothing matches."""
        return not (self.cluster_name or self.cluster_group) and (
            self.group_selector is None and self.selector is None
        )

    def matches(self, cluster: Cluster, groups: Mapping[str, Group]) -> bool:
        """Whether the cluster satisfies all that is given, by any one of its groups."""
        if self.empty:
            return False
        if self.selector is not None and not self.selector.matches(cluster.labels):
            return False
        if self.cluster_name and self.cluster_name not in (
            cluster.name,
            cluster.labels.get(DISPLAY_NAME),
        ):
            return False
        if not self.cluster_group and self.group_selector is None:
            return True
        if not cluster.groups:
            return self._group_matches("", {})
        return any(self._group_matches(name, groups[name].labels) for name in cluster.groups)

    def _group_matches(self, name: str, labels: Mapping[str, str]) -> bool:
        if self.cluster_group and self.cluster_group != name:
            return False
        return self.group_selector is None or self.group_selector.matches(labels)


def criteria_of(entry: Mapping[str, Any]) -> Criteria:
    """The criteria of a decoded target or partition. Raises BadSelector."""
    return Criteria(
        name=entry.get("name", ""),
        cluster_name=entry.get("clusterName", ""),
        cluster_group=entry.get("clusterGroup", ""),
        group_selector=selector_of(entry.get("clusterGroupSelector")),
        selector=selector_of(entry.get("clusterSelector")),
    )
