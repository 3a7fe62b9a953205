"""What is looked at: the bundles of a checkout, the clusters, and the records of releases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from engines.config.workspace import Workspace
from release.rollout.clusters.criteria import Criteria
from release.rollout.clusters.inventory import Cluster, Inventory
from release.rollout.lint.finding import Finding, Rule, Severity
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.tree import Tree
from release.rollout.reading.version import FleetVersion
from release.rollout.targets.placement import candidates, matching


@dataclass(frozen=True)
class RingFolder:
    """A folder `release/fleet/<model>/<target>/<ring>`."""

    model: str
    target: str
    ring: str


@dataclass(frozen=True)
class Checkout:
    """One checkout, for one Fleet."""

    workspace: Workspace
    tree: Tree
    version: FleetVersion
    given: Inventory | None = None
    """The inventory, where one is given."""

    @cached_property
    def clusters(self) -> Inventory:
        """The inventory; without one clusters for each folder, with the labels it asks for."""
        if self.given is not None:
            return self.given
        made = [one for bundle in self.tree.bundles for one in examples(bundle)]
        return Inventory(tuple(sorted(made, key=lambda one: one.name)))

    @cached_property
    def selected(self) -> dict[str, list[Cluster]]:
        """Folder to the clusters that it is deployed to."""
        return {
            one.place: [
                cluster
                for cluster in candidates(one, self.clusters)
                if matching(one, cluster, self.clusters) is not None
            ]
            for one in self.tree.bundles
        }

    def ring(self, bundle: Bundle) -> RingFolder | None:
        """Which ring a folder is; None for one of another kind, as a site's."""
        parts = Path(bundle.place).parts
        if len(parts) != 5 or parts[:2] != ("release", "fleet"):
            return None
        return RingFolder(*parts[2:])

    def found(
        self,
        rule: Rule,
        bundle: Bundle,
        path: tuple[str | int, ...],
        text: str,
        severity: Severity | None = None,
    ) -> Finding:
        """A finding at `path` of a bundle's fleet.yaml."""
        return self.at(rule, bundle.file, bundle.document.line(*path), text, severity)

    def at(
        self, rule: Rule, file: Path, line: int, text: str, severity: Severity | None = None
    ) -> Finding:
        """A finding at a line of a file."""
        name = file.relative_to(self.tree.root).as_posix()
        return Finding(rule, name, line, text, severity or rule.severity)


def examples(bundle: Bundle) -> list[Cluster]:
    """Clusters that a folder is for, made up from its selectors: one for each choice of labels."""
    rows = [one.selector.examples() for one in bundle.restrictions if one.selector is not None]
    found = [labels for row in rows for labels in row if labels]
    return [
        Cluster(f"{bundle.place}#{at:03}" if at else bundle.place, labels)
        for at, labels in enumerate(found)
    ]


def wanted_labels(bundle: Bundle) -> dict[str, str]:
    """Labels that the first target that chooses clusters demands with one value each."""
    rows: list[Criteria] = list(bundle.restrictions)
    for one in rows:
        if one.selector is not None:
            return dict(one.selector.exact())
    return {}
