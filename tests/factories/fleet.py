"""Folders, clusters and rollouts for tests of what Fleet does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from release.rollout.clusters.inventory import Cluster, Group, Inventory
from release.rollout.reading.bundle import Bundle, BundleSource, read_bundle
from release.rollout.reading.version import FleetVersion, parse_version
from release.rollout.simulation.outcome import Outcome
from release.rollout.simulation.play import Conditions, play
from release.rollout.simulation.reconcile import BundleDeployment
from release.rollout.targets.placement import place

EVERYWHERE = "overrideTargets: [{name: all, clusterSelector: {}}]\n"
CHART = "helm: {chart: 'oci://registry.example.com/chart', version: 0.1.0}\n"
HOUR = 3600


def bundle(root: Path, text: str, version: str = "0.16.1", **files: str) -> Bundle:
    """The bundle of a folder with this fleet.yaml; `files` has `_` for the dot of their names."""
    folder = root / "release" / "fleet" / "model" / "target" / "ring"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fleet.yaml").write_text(text)
    for name, content in files.items():
        (folder / name.replace("_", ".")).write_text(content)
    return read_bundle(folder, BundleSource(root=root, version=parse_version(version)))


def inventory(*names: str, **labels: str) -> Inventory:
    """Clusters of these names, all with the same labels, and one more: `site`, their name."""
    return of([Cluster(name, {"site": name, **labels}) for name in names])


def of(clusters: Sequence[Cluster], groups: Mapping[str, Group] | None = None) -> Inventory:
    return Inventory(tuple(sorted(clusters, key=lambda one: one.name)), groups or {})


def sites(count: int) -> list[str]:
    return [f"site-{at:02}" for at in range(count)]


def running(names: Sequence[str], what: str = "old") -> dict[str, BundleDeployment]:
    """Clusters that run `what` and are ready."""
    return {name: BundleDeployment(what, True, what, what, True) for name in names}


def played(
    root: Path,
    rollout: str,
    clusters: Inventory,
    *,
    before: Mapping[str, BundleDeployment] | None = None,
    bad: bool = False,
    offline: Sequence[str] = (),
    version: str = "0.16.1",
    helm: str = "",
    seconds: int = 24 * HOUR,
) -> Outcome:
    """A new image, played; `rollout` is what stands under rolloutStrategy."""
    text = (
        f"{EVERYWHERE}rolloutStrategy: {rollout}\n"
        f"helm: {{chart: 'oci://x/y', version: '1', values: {{image: {{tag: new}}}}{helm}}}\n"
    )
    made = bundle(root, text, version)
    parsed: FleetVersion = parse_version(version)
    known = running([one.name for one in clusters.clusters]) if before is None else before
    conditions = Conditions(
        parsed, seconds, bad=lambda tag: bad and tag == "new", offline=set(offline).__contains__
    )
    return Outcome(play(made, place(made, clusters, parsed), clusters, known, conditions))


def states(outcome: Outcome) -> dict[str, str]:
    """Cluster to its state at the end."""
    return {fate.name: fate.state for fate in outcome.fates}


def values_of(made: Bundle, clusters: Inventory, name: str, version: str = "0.16.1") -> Any:
    """The chart's values of one cluster."""
    for one in place(made, clusters, parse_version(version)):
        if one.cluster.name == name:
            return (one.options.get("helm") or {}).get("values")
    raise AssertionError(f"{name} gets nothing")
