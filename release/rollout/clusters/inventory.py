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
import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from engines.config.names import meant
from engines.errors import InputError
from engines.records.record import refuse_conflict
from release.rollout.clusters.entry import Entry
from release.rollout.clusters.labels import BadSelector, bad_values, selector_of
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

    Raises InputError for a file that is none or has no cluster, a key or a value that is none, and
    a cluster without a name or there twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise InputError(
            f"Expected an inventory of clusters at {path}, but nothing is there. `{_KUBECTL} > "
            f"{shlex.quote(str(path))}` writes one."
        ) from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"Expected text in {path}, got bytes that are no UTF-8. Save it as UTF-8."
        ) from error
    lines: dict[int, int] = {}
    data = _parse(text, path, lines)
    read = _ours if isinstance(data, dict) and "clusters" in data else _kubectl
    clusters, groups = read(data, path, lines)
    if not clusters:
        raise InputError(
            f"Expected at least one cluster in {path}, got none. Write one under `clusters`, or "
            f"run `{_KUBECTL}` against the cluster that runs Fleet: without -A it looks into one "
            "namespace only."
        )
    return _inventory(clusters, groups, namespace, path)


_KUBECTL = "kubectl get clusters.fleet.cattle.io -A -o json"


def _parse(text: str, path: Path, lines: dict[int, int]) -> Any:
    """JSON where it looks like it, else YAML whose words are all texts: 0010 is no number."""
    try:
        if text.lstrip()[:1] in ("{", "["):
            return json.loads(text, object_pairs_hook=_each_once)
        return parse_words(text, lines)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        refuse_conflict(text.encode(), str(path))
        where = " ".join(re.sub(r' in "<(unicode|byte) string>",', "", str(error)).split())[:200]
        if where.startswith("Extra data"):
            where += "; of JSON one list is expected, as `items`, and not one object after another"
        raise InputError(
            f"Expected YAML with `clusters:` or kubectl's JSON in {path}, got neither: {where}. "
            "Fix the file and run again."
        ) from error


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A map of JSON. Raises ValueError for a key that is there twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        (name, _), *_ = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name!r} is there twice in one of its maps")
    return found


def _ours(
    data: dict[str, Any], path: Path, lines: Mapping[int, int]
) -> tuple[list[Cluster], list[Group]]:
    top = Entry(path, "", data)
    top.only(("clusters", "groups"), free="x-")
    clusters = []
    for entry in _entries(top, "clusters", lines):
        entry.only(
            ("name", "labels", "paused", "offline", "annotations", "templateValues", "namespace")
        )
        cluster = _cluster(entry, entry)
        # Kubernetes takes no others, so that no cluster has them: mostly it is a space.
        if bad := bad_values(cluster.labels.values()):
            expected = (
                "values of `labels` that Kubernetes takes (63 letters, digits, `-_.` at most)"
            )
            raise entry.wrong(expected, repr(bad[0]))
        clusters.append(cluster)
    groups = []
    for entry in _entries(top, "groups", lines):
        entry.only(("name", "labels", "selector"))
        entry.inside("selector").only(("matchLabels", "matchExpressions"))
        groups.append(_group(entry, entry))
    return clusters, groups


def _entries(top: Entry, key: str, lines: Mapping[int, int]) -> list[Entry]:
    """Each map of a list, and where it stands."""
    found = []
    for at, one in enumerate(top.maps(key), start=1):
        line = lines.get(id(one))
        where = f"{key}, entry {at}" + (f" (line {line})" if line else "")
        found.append(Entry(top.path, where, one))
    return found


def _kubectl(data: Any, path: Path, lines: Mapping[int, int]) -> tuple[list[Cluster], list[Group]]:
    """The Cluster and ClusterGroup objects of a list, or a single one."""
    kind = str(data.get("kind", "")) if isinstance(data, dict) else ""
    if not isinstance(data, dict) or not (kind or "items" in data):
        raise _neither(data, path)
    top = Entry(path, "", data if "items" in data else {"items": [data]})
    implied = kind.removesuffix("List") if kind not in ("List", "") else ""
    clusters, groups, others = [], [], set()
    for entry in _entries(top, "items", lines):
        what = str(entry.content.get("kind", implied))
        api = str(entry.content.get("apiVersion", "fleet.cattle.io"))
        if what in ("Cluster", "ClusterGroup") and "fleet.cattle.io" in api:
            meta, spec = entry.inside("metadata"), entry.inside("spec")
            if what == "Cluster":
                clusters.append(_cluster(meta, spec))
            else:
                groups.append(_group(meta, spec))
        else:
            others.add(f"{what} of {api}" if "apiVersion" in entry.content else what)
    if others and not clusters:
        # `kubectl get clusters` without the group means Rancher's own, or those of Cluster API.
        raise InputError(
            f"Expected Fleet's Cluster objects in {path}, got others: "
            f"{', '.join(sorted(others)[:3])}. `{_KUBECTL}` prints them."
        )
    return clusters, groups


def _neither(data: Any, path: Path) -> InputError:
    if isinstance(data, dict):
        key = next(iter(data), "no key")
        got = f"the key {key!r}{meant(str(key).lower(), ('clusters', 'items'))}"
    else:
        got = "a list" if isinstance(data, list) else "text" if data else "nothing"
    return InputError(
        f"Expected `clusters:` with `name` and `labels` each in {path}, or what `{_KUBECTL}` "
        f"prints; got neither: at its top is {got}. Fix the file and run again."
    )


def _cluster(meta: Entry, spec: Entry) -> Cluster:
    return Cluster(
        name=_name(meta),
        labels=meta.texts("labels"),
        annotations=meta.texts("annotations"),
        namespace=meta.text("namespace"),
        paused=spec.truth("paused"),
        offline=spec.truth("offline"),
        template_values=spec.map("templateValues"),
    )


def _group(meta: Entry, spec: Entry) -> Group:
    selector = spec.map("selector") if spec.content.get("selector") is not None else None
    if selector:
        inside = spec.inside("selector")
        inside.texts("matchLabels")
        inside.maps("matchExpressions")
    return Group(_name(meta), meta.texts("labels"), selector)


def _name(meta: Entry) -> str:
    name = meta.text("name")
    if not name:
        raise InputError(
            f"Expected a `name` of each cluster and group in {meta.path}, but {meta.where}, has "
            "none. Give it one and run again."
        )
    return name


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
