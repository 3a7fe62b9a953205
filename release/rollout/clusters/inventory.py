"""The clusters that Fleet knows: a YAML file, or what kubectl prints of its Cluster objects.

clusters:                          kubectl get clusters.fleet.cattle.io -A -o json
  - name: site-0001                (clustergroups.fleet.cattle.io in the same list are used too)
    labels: {device: x86-openvino, ring: canary, site: site-0001}
    paused: true                   optional; so are `offline`, `annotations`, `templateValues`,
groups:                            `namespace` and, for cluster groups, this list
  - name: docks
    labels: {}
    selector: {matchLabels: {dock: "1"}}
"""

from __future__ import annotations

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from engines.errors import InputError
from release.rollout.clusters.labels import BadSelector, selector_of
from release.rollout.clusters.words import parse_words

NAMESPACE = "fleet-default"
"""Where Rancher registers clusters."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """A registered cluster."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""
    paused: bool = False
    offline: bool = False
    template_values: Mapping[str, Any] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    """Names of the cluster groups that it is in."""


@dataclass(frozen=True)
class Group:
    """A cluster group: a name for the clusters that its selector matches."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    selector: Any = None


@dataclass(frozen=True)
class Inventory:
    """All clusters of one namespace, by name."""

    clusters: tuple[Cluster, ...]
    groups: Mapping[str, Group] = field(default_factory=dict)
    left_out: int = 0
    """Clusters of other namespaces, which Fleet's bundles never reach."""

    @cached_property
    def _by_label(self) -> dict[tuple[str, str], list[Cluster]]:
        index: dict[tuple[str, str], list[Cluster]] = defaultdict(list)
        for cluster in self.clusters:
            for pair in cluster.labels.items():
                index[pair].append(cluster)
        return index

    def labelled(self, pairs: Iterable[tuple[str, str]]) -> list[Cluster]:
        """The clusters with the rarest of these labels, by name; all where none is given."""
        found = [self._by_label.get(pair, []) for pair in pairs]
        return min(found, key=len) if found else list(self.clusters)


def read_inventory(path: Path, namespace: str = NAMESPACE) -> Inventory:
    """An inventory file, of the clusters of `namespace` where the file tells namespaces.

    Raises InputError for a file that is none, and a cluster without a name or there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"Expected an inventory of clusters at {path}, but nothing is there. `kubectl get "
            f"clusters.fleet.cattle.io -A -o json > {shlex.quote(str(path))}` writes one."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"Expected text in {path}, got bytes that are no UTF-8. Save it as UTF-8."
        ) from error
    data = _parse(text, path)
    if isinstance(data, dict) and "clusters" in data:
        clusters, groups = _ours(data, path)
    else:
        clusters, groups = _kubectl(data, path)
    return _inventory(clusters, groups, namespace, path)


def _parse(text: str, path: Path) -> Any:
    """JSON where it looks like it, else YAML whose words are all texts: 0010 is no number."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            return json.loads(text)
        return parse_words(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        where = " ".join(str(error).split())[:200]
        raise InputError(
            f"Expected YAML with `clusters:` or kubectl's JSON in {path}, got neither: {where}. "
            "Fix the file and run again."
        ) from error


def _ours(data: dict[str, Any], path: Path) -> tuple[list[Cluster], list[Group]]:
    clusters = [
        _cluster(one, one, one, path, f"clusters, entry {at}")
        for at, one in enumerate(_maps(data["clusters"], path, "clusters"), start=1)
    ]
    groups = [
        Group(str(one.get("name", "")), _texts(one.get("labels")), one.get("selector"))
        for one in _maps(data.get("groups"), path, "groups")
    ]
    return clusters, groups


def _kubectl(data: Any, path: Path) -> tuple[list[Cluster], list[Group]]:
    """The Cluster and ClusterGroup objects of a list, or a single one."""
    items = data.get("items", [data]) if isinstance(data, dict) else None
    if not isinstance(items, list) or not all(isinstance(one, dict) for one in items):
        items = []
    kind = str(data.get("kind", "")) if isinstance(data, dict) else ""
    implied = kind.removesuffix("List") if kind not in ("List", "") else ""
    clusters, groups, known = [], [], 0
    for at, one in enumerate(items, start=1):
        meta, spec = one.get("metadata") or {}, one.get("spec") or {}
        what = one.get("kind", implied)
        known += what in ("Cluster", "ClusterGroup")
        if what == "Cluster" and "fleet.cattle.io" in str(one.get("apiVersion", "fleet.cattle.io")):
            clusters.append(_cluster(meta, meta, spec, path, f"items, entry {at}"))
        elif what == "ClusterGroup":
            groups.append(
                Group(meta.get("name", ""), _texts(meta.get("labels")), spec.get("selector"))
            )
    if not known and items != []:
        items = []
    if not items and kind != "ClusterList":
        raise InputError(
            f"Expected `clusters:` with `name` and `labels` each in {path}, or what `kubectl get "
            "clusters.fleet.cattle.io -A -o json` prints; got neither."
        )
    return clusters, groups


def _maps(entries: Any, path: Path, what: str) -> Iterator[dict[str, Any]]:
    if entries in (None, ""):
        return
    if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
        raise InputError(f"Expected a list of maps under `{what}` in {path}, got something else.")
    yield from entries


def _cluster(
    meta: dict[str, Any], words: dict[str, Any], spec: dict[str, Any], path: Path, where: str
) -> Cluster:
    name = meta.get("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"Expected a `name` of each cluster in {path}, but {where}, has none.")
    values = spec.get("templateValues")
    return Cluster(
        name=name,
        labels=_texts(words.get("labels")),
        annotations=_texts(words.get("annotations")),
        namespace=str(meta.get("namespace") or ""),
        paused=_true(spec.get("paused")),
        offline=_true(spec.get("offline")),
        template_values=values if isinstance(values, dict) else {},
    )


def _texts(value: Any) -> dict[str, str]:
    """Labels or annotations: a map of texts; anything else is none."""
    if not isinstance(value, dict):
        return {}
    return {str(key): "" if one is None else str(one) for key, one in value.items()}


def _true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() in ("true", "yes", "on"))


def _inventory(
    clusters: list[Cluster], groups: list[Group], namespace: str, path: Path
) -> Inventory:
    here = [one for one in clusters if one.namespace in ("", namespace)]
    twice = sorted(name for name, count in Counter(one.name for one in here).items() if count > 1)
    if twice:
        more = f" and {len(twice) - 3} more" if len(twice) > 3 else ""
        raise InputError(
            f"Expected each cluster once in {path}, got {', '.join(twice[:3])}{more} more "
            "than once. Fleet has one Cluster object of a name; remove the others."
        )
    if not here and clusters:
        raise InputError(
            f"Expected clusters of the namespace {namespace} in {path}, as gitrepo.yaml has it; "
            f"got {len(clusters)} of other namespaces."
        )
    selecting = []
    for group in groups:
        try:
            selecting.append((group, selector_of(group.selector)))
        except BadSelector:
            continue  # Fleet passes over such a group too
    members = [(group.name, selector) for group, selector in selecting if selector is not None]
    if members:
        here = [_grouped(one, members) for one in here]
    return Inventory(
        clusters=tuple(sorted(here, key=lambda one: one.name)),
        groups={group.name: group for group, _ in selecting},
        left_out=len(clusters) - len(here),
    )


def _grouped(cluster: Cluster, members: list[tuple[str, Any]]) -> Cluster:
    names = tuple(name for name, selector in members if selector.matches(cluster.labels))
    return replace(cluster, groups=names) if names else cluster
