"""What sites said, in one form, whoever told it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A bundle on one cluster, as Fleet's BundleDeployment says."""

    bundle: str
    cluster: str
    """Its name; with its namespace before it where that is not Fleet's own, since two clusters may
    have one name."""
    namespace: str
    """Of the cluster on Fleet's side: each has its own, the same in every kind of report."""
    commit: str
    """The commit that the bundle is made of; empty where the report does not say."""
    staged: str
    """The content that the cluster is to get, by its id."""
    given: str
    """The content that Fleet lets it have now."""
    applied: str
    """The content that it deployed last."""
    ready: bool
    paused: bool = False
    message: str = ""
    """Why it is not ready, in Fleet's words."""
    since: datetime | None = None
    """When it became what it is, ready or not."""

    @property
    def has_it(self) -> bool:
        """Whether the cluster deployed the content of `commit`."""
        return self.staged == self.given == self.applied != ""

    @property
    def held(self) -> bool:
        """Whether Fleet did not let the cluster have it yet: its partition was not reached."""
        return self.staged != self.given


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a pod says of itself."""

    site: str
    version: str
    """Of the model."""
    release: str
    """The tag without digest, as the pod's manifest has it; empty where it does not say."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that one report says."""

    name: str
    """The file or address, for messages."""
    at: datetime
    """When it was made."""
    deployments: tuple[Deployment, ...] = ()
    told: tuple[Told, ...] = ()
    paused_bundles: frozenset[str] = field(default_factory=frozenset)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    """Cluster to its labels, where the report has Fleet's Cluster objects too."""
    heard: dict[str, datetime] = field(default_factory=dict)
    """Cluster to when its agent was heard last, likewise."""

    def of(self, bundle: str) -> list[Deployment]:
        """The deployments of one bundle, by cluster."""
        return sorted(
            (one for one in self.deployments if one.bundle == bundle), key=lambda one: one.cluster
        )


def together(reports: Iterable[Report]) -> Report:
    """Several reports as one, as old as the oldest; of a cluster that several speak of, the latest
    counts. Raises ValueError where there is none."""
    found = sorted(reports, key=lambda one: one.at)
    return Report(
        name=", ".join(one.name for one in found),
        at=min(one.at for one in found),
        deployments=each_once(row for one in found for row in one.deployments),
        told=tuple(dict.fromkeys(row for one in found for row in one.told)),
        paused_bundles=frozenset(name for one in found for name in one.paused_bundles),
        labels={cluster: labels for one in found for cluster, labels in one.labels.items()},
        heard={cluster: at for one in found for cluster, at in one.heard.items()},
    )


def each_once(rows: Iterable[Deployment]) -> tuple[Deployment, ...]:
    """Of each bundle on each cluster the last row: a cluster that is there twice counts once."""
    return tuple({(one.bundle, one.namespace): one for one in rows}.values())
