"""Which clusters a folder is for."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

from engines.config.rings import load_rings
from engines.config.target import label_of
from release.rollout.clusters.inventory import Cluster
from release.rollout.clusters.labels import bad_values
from release.rollout.lint.checkout import Checkout, wanted_labels
from release.rollout.lint.finding import Finding, Rule
from release.rollout.reading.bundle import FILE_NAMES, Bundle, Target
from release.rollout.targets.cluster_values import ClusterValues
from release.rollout.targets.options import merge
from release.rollout.targets.placement import BundleStops, TargetedCluster, place
from release.rollout.targets.template_functions import CannotTell, TemplateFails

NO_CRITERIA = Rule(
    "target-matches-nothing",
    "error",
    "The target demands nothing of a cluster, and so matches none.",
    "Without any criterion nothing matches; an empty `clusterSelector: {}` matches everything.",
    "Add a `clusterSelector`.",
)
ALL = Rule(
    "target-matches-all",
    "warning",
    "The folder is for every cluster.",
    "An empty selector matches all clusters of the namespace, of other devices and rings too.",
    "Select by the labels `device` and `ring`.",
)
NO_TARGETS = Rule(
    "no-targets",
    "error",
    "Neither the folder nor gitrepo.yaml says which clusters it is for.",
    "Fleet takes the cluster group `default` then, which most installations do not have.",
    "Add `overrideTargets` with a `clusterSelector`.",
)
OTHER_PLACE = Rule(
    "selector-of-another-folder",
    "error",
    "The selector is of another device or ring than the folder.",
    "The tags of this folder go to clusters that they were not made for.",
    "Let `device` be the target's label and `ring` the folder's name.",
)
NO_RING = Rule(
    "ring-unknown",
    "warning",
    "The folder's ring is not in release/rings.yaml.",
    "No promotion brings it a release, and its clusters keep the one that they have.",
    "Name the ring there, or `git mv` the folder, and change its label, to the ring's new name.",
)
NO_RING_FOLDER = Rule(
    "ring-without-folder",
    "warning",
    "A ring of release/rings.yaml has no folder where other rings have one.",
    "Nothing can be promoted to it or past it; where somebody took the folder away, Fleet "
    "uninstalls what its clusters had.",
    "Copy another ring's folder without its release.yaml, and change the ring in fleet.yaml. One "
    "that was taken away comes back by `git revert` of the commit that `git log -- FOLDER` shows.",
)
TWO_FOLDERS = Rule(
    "two-folders",
    "error",
    "Two folders of one model select the same cluster.",
    "Both deploy the same Helm release there, and each takes it from the other.",
    "Make their selectors exclude each other.",
)
NO_FOLDER = Rule(
    "no-folder",
    "warning",
    "No folder of the model selects a cluster of its device.",
    "The cluster runs nothing, and what it ran is uninstalled.",
    "Correct the cluster's label `ring`, or add a folder.",
)
UNLABELLED = Rule(
    "cluster-unlabelled",
    "warning",
    "A cluster has no label `device` or `ring`.",
    "No folder selects it.",
    "Label it: `kubectl label -n fleet-default clusters.fleet.cattle.io NAME ring=canary`.",
)
NOBODY = Rule(
    "nobody-selected",
    "note",
    "The folder selects no cluster of the inventory.",
    "Nothing comes of it.",
    "Check the selector against the clusters' labels.",
)
SAME_TARGET = Rule(
    "same-target-name",
    "error",
    "Two targets have the same name.",
    "Values of all targets are kept in one Secret by name, so one gets the other's values.",
    "Give each target its own name.",
)
BAD_NAME = Rule(
    "illegal-target-name",
    "error",
    "The target's name cannot be a key of a Secret.",
    "Fleet cannot write the Secret with the values, or overwrites the bundle's own ones.",
    "Use letters, digits, `-`, `_` and `.` only, and not `values.yaml`.",
)
STOPS = Rule(
    "template-fails",
    "error",
    "A template fails for a cluster.",
    "An error for one cluster stops the whole bundle, for all clusters.",
    'Use `${ get .ClusterLabels "x" | default "…" }`, or give every cluster the label.',
)
UNKNOWN = Rule(
    "template-unknown",
    "warning",
    "A template uses what is not known here.",
    "Fleet may know it; whether it fails for a cluster, lint and `release simulate` cannot say.",
    "Use `get`, `default`, `printf` and the like, or a label of its own for the finished text.",
)
MAY_STOP = Rule(
    "template-may-fail",
    "warning",
    "A template names what the selector does not demand of a cluster.",
    "One cluster without it stops the whole bundle, for all clusters.",
    'Use `${ get .ClusterLabels "x" | default "…" }`, or demand the label in the selector.',
)
EMPTY_LABEL = Rule(
    "label-missing",
    "warning",
    "A value is to be the label of a cluster that has no such label.",
    "Fleet makes the value empty there, and says nothing.",
    'Give every cluster the label, or use `${ get .ClusterLabels "x" | default "…" }`.',
)
NEVER = Rule(
    "customization-never",
    "warning",
    "The customization applies to no cluster of the folder.",
    "It does not choose clusters; and where the first match wins, an earlier one takes them.",
    "Correct its selector or its place, or take it away.",
)

BASE_VALUES = Rule(
    "no-customization",
    "note",
    "Clusters of the folder match no customization.",
    "They get the bundle's own values.",
    "Nothing, where this is meant; else add a customization for them.",
)

RULES = (
    *(NO_CRITERIA, ALL, NO_TARGETS, OTHER_PLACE, NO_RING, NO_RING_FOLDER, TWO_FOLDERS, NO_FOLDER),
    *(
        UNLABELLED,
        NOBODY,
        SAME_TARGET,
        BAD_NAME,
        STOPS,
        UNKNOWN,
        MAY_STOP,
        EMPTY_LABEL,
        NEVER,
        BASE_VALUES,
    ),
)


def check(checkout: Checkout) -> Iterator[Finding]:
    """What is wrong with targets. Raises InputError for rings.yaml that cannot be read."""
    yield from _rings(checkout)
    for bundle in checkout.tree.bundles:
        yield from _criteria(checkout, bundle)
        yield from _names(checkout, bundle)
        yield from _folder(checkout, bundle)
        yield from _templates(checkout, bundle)
        if checkout.given is not None:
            yield from _against_clusters(checkout, bundle)
    yield from _overlaps(checkout)
    if checkout.given is not None:
        yield from _clusters(checkout)


def _criteria(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    value = bundle.decoded.value
    for part in ("overrideTargets", "targetCustomizations", "targets"):
        for at, target in enumerate(value.get(part) or ()):
            path = (part, at)
            if not any(key.startswith("cluster") for key, one in target.items() if one != ""):
                yield checkout.found(NO_CRITERIA, bundle, path, f"entry {at + 1} of `{part}`")
            elif part == "overrideTargets" and set(target) <= {"name", "clusterSelector"}:
                selector = target["clusterSelector"]
                if not (selector.get("matchLabels") or selector.get("matchExpressions")):
                    yield checkout.found(ALL, bundle, path, "an empty selector takes all clusters")
    if value.get("overrideTargets") is None and not checkout.tree.gitrepo.targets:
        yield checkout.found(NO_TARGETS, bundle, (), "expected `overrideTargets`, got none")


def _names(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    seen: set[str] = set()
    for target in bundle.targets:
        name = target.criteria.name
        if not target.place or target.place[0] == "overrideTargets":
            continue
        if name in seen:
            text = f"{name!r} is the name of an earlier target too"
            yield checkout.found(SAME_TARGET, bundle, (*target.place, "name"), text)
        seen.add(name)
        if not re.fullmatch(r"[-._A-Za-z0-9]{1,253}", name) or name in (".", ".."):
            text = f"expected letters, digits, `-`, `_` and `.`; got {name!r}"
            yield checkout.found(BAD_NAME, bundle, (*target.place, "name"), text)
        elif name == "values.yaml":
            text = "`values.yaml` is where the bundle's own values are kept"
            yield checkout.found(BAD_NAME, bundle, (*target.place, "name"), text)


def _rings(checkout: Checkout) -> Iterator[Finding]:
    if not checkout.workspace.rings_file.is_file():
        return  # a repository of Fleet's own
    names = load_rings(checkout.workspace).names
    for bundle in checkout.tree.bundles:
        ring = checkout.ring(bundle)
        if ring is not None and ring.ring not in names:
            text = f"expected one of {', '.join(names)}, got {ring.ring}"
            yield checkout.at(NO_RING, bundle.file, 1, text)
    # Those that Fleet cannot read are there all the same.
    found = filter(None, map(checkout.ring, checkout.tree.bundles))
    folders = sorted({(name, one.model, one.target) for one in found for name in names})
    bare: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name, model, target in folders:
        folder = checkout.workspace.ring(model, target, name)
        if not any((folder / file).is_file() for file in FILE_NAMES):
            bare[name, model].append(target)
    for (name, model), targets in bare.items():
        text = f"{name} has no folder of {model} on {_some(targets)}"
        yield checkout.at(NO_RING_FOLDER, checkout.workspace.rings_file, 1, text)


def _folder(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    """Whether a ring's folder selects by its own labels."""
    ring, labels = checkout.ring(bundle), wanted_labels(bundle)
    if ring is None or not labels:
        return
    path = ("overrideTargets", 0, "clusterSelector")
    device = label_of(checkout.workspace, ring.target) or ring.target
    for label, expected in (("device", device), ("ring", ring.ring)):
        got = labels.get(label)
        if got != expected:
            text = f"expected `{label}: {expected}`, got {got or 'no such label'}"
            yield checkout.found(OTHER_PLACE, bundle, path, text)


def _templates(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    """Labels that templates name; where clusters are known, whether one lacks them."""
    if checkout.given is not None:
        try:
            placed = place(bundle, checkout.clusters, checkout.version)
        except BundleStops as error:
            text = f"{error}, for the cluster {error.cluster}"
            rule = UNKNOWN if error.unsure else STOPS
            yield checkout.found(rule, bundle, ("helm", "values"), text)
        else:
            yield from _empty_labels(checkout, bundle, placed)
        return
    rows = [one.selector for one in bundle.restrictions if one.selector is not None]
    labels, said = rows[0].demanded() if rows else {}, set()
    for target in (None, *(one for one in bundle.targets if one.customization)):
        place_of = (*target.place, "helm", "values") if target else ("helm", "values")
        why = _fails(checkout, bundle, target, labels)
        if why is None or str(why) in said:
            continue
        said.add(str(why))
        text = f"{why}, for a cluster with no label but {', '.join(labels) or 'those of Fleet'}"
        rule = UNKNOWN if isinstance(why, CannotTell) else MAY_STOP
        yield checkout.found(rule, bundle, place_of, text)


def _empty_labels(
    checkout: Checkout, bundle: Bundle, placed: list[TargetedCluster]
) -> Iterator[Finding]:
    for label in sorted({label for one in placed for label in one.lacking}):
        names = [one.cluster.name for one in placed if label in one.lacking]
        text = f"{label!r}, of {len(placed)} clusters {len(names)} lack it: {_some(names)}"
        yield checkout.found(EMPTY_LABEL, bundle, ("helm", "values"), text)


def _fails(
    checkout: Checkout, bundle: Bundle, target: Target | None, labels: dict[str, str]
) -> TemplateFails | CannotTell | None:
    """Why values cannot be filled in for a cluster that has no label but those demanded."""
    options, known = bundle.options, {**labels}
    if target is not None:
        options = merge(options, target.options, checkout.version)
        known |= target.criteria.selector.demanded() if target.criteria.selector else {}
    try:
        # Without any label at all Fleet fills nothing in.
        ClusterValues(options).options_of(Cluster("a-cluster", known or {"name": "a-cluster"}))
    except (TemplateFails, CannotTell) as error:
        return error
    return None


def _against_clusters(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    clusters = checkout.selected[bundle.place]
    if not clusters:
        device = wanted_labels(bundle).get("device")
        # A kind of device that nobody has yet is not worth a word for each of its rings.
        if device is None or checkout.clusters.labelled([("device", device)]):
            text = f"none of {len(checkout.clusters.clusters)} clusters matches"
            yield checkout.found(NOBODY, bundle, ("overrideTargets",), text)
        return
    taken: set[str] = set()
    for target in bundle.targets:
        if not target.customization:
            continue
        found = {
            one.name for one in clusters if target.criteria.matches(one, checkout.clusters.groups)
        }
        if not found - (set() if bundle.all_matches else taken):
            why = "an earlier one takes all that match" if found else "no cluster matches"
            yield checkout.found(NEVER, bundle, target.place, f"{target.criteria.name}: {why}")
        taken |= found
    base = [one.name for one in clusters if one.name not in taken]
    if base and taken:
        text = f"{len(base)} of {len(clusters)} clusters: {_some(base)}"
        yield checkout.found(BASE_VALUES, bundle, ("targetCustomizations",), text)


def _overlaps(checkout: Checkout) -> Iterator[Finding]:
    """Clusters that two folders of one model select, by pairs of folders."""
    homes: dict[tuple[str, str], list[Bundle]] = defaultdict(list)
    for bundle in checkout.tree.bundles:
        ring = checkout.ring(bundle)
        for cluster in checkout.selected[bundle.place] if ring else ():
            homes[ring.model if ring else "", cluster.name].append(bundle)
    pairs: dict[tuple[str, str], tuple[Bundle, list[str]]] = {}
    for (_, name), bundles in homes.items():
        for later in bundles[1:]:
            key = bundles[0].place, later.place
            pairs.setdefault(key, (later, []))[1].append(name)
    for (first, _), (later, names) in sorted(pairs.items(), key=lambda one: one[0]):
        which = f": {', '.join(names[:3])}" if checkout.given else ""
        more = f" and {len(names) - 3} more" if checkout.given and len(names) > 3 else ""
        text = f"{first} selects the same clusters{which}{more}"
        yield checkout.found(TWO_FOLDERS, later, ("overrideTargets",), text)


def _clusters(checkout: Checkout) -> Iterator[Finding]:
    """Clusters without labels, and of a device that a model is for but that no folder takes."""
    taken: dict[str, set[str]] = defaultdict(set)
    devices: dict[str, dict[str, Bundle]] = defaultdict(dict)
    for bundle in checkout.tree.bundles:
        ring = checkout.ring(bundle)
        if ring is not None:
            taken[ring.model] |= {one.name for one in checkout.selected[bundle.place]}
            devices[ring.model].setdefault(wanted_labels(bundle).get("device", ""), bundle)
    bare = [
        one.name
        for one in checkout.clusters.clusters
        if not (one.labels.get("device") and one.labels.get("ring"))
    ]
    file = checkout.tree.gitrepo.file
    if bare:
        yield checkout.at(
            UNLABELLED, file, 1, f"{len(bare)} of {len(checkout.clusters.clusters)}: {_some(bare)}"
        )
    for cluster in checkout.clusters.clusters:
        if wrong := bad_values(cluster.labels.values()):
            yield checkout.at(UNLABELLED, file, 1, f"{cluster.name}: {wrong[0]!r} is no label")
    yield from _strange(checkout, {device for rows in devices.values() for device in rows})
    for model, rows in sorted(devices.items()):
        for device, bundle in sorted(rows.items()):
            lost = [
                one.name
                for one in checkout.clusters.labelled([("device", device)])
                if one.name not in taken[model] and one.labels.get("ring")
            ]
            if device and lost:
                text = f"of device {device}, {len(lost)} get no {model}: {_some(lost)}"
                yield checkout.found(NO_FOLDER, bundle, ("overrideTargets",), text)


def _strange(checkout: Checkout, known: set[str]) -> Iterator[Finding]:
    """Clusters of a device that no folder is for."""
    rows: dict[str, list[str]] = defaultdict(list)
    for cluster in checkout.clusters.clusters:
        device = cluster.labels.get("device")
        if device and cluster.labels.get("ring") and device not in known:
            rows[device].append(cluster.name)
    for device, names in sorted(rows.items()):
        text = f"no folder is for device {device}, of {len(names)}: {_some(names)}"
        yield checkout.at(NO_FOLDER, checkout.tree.gitrepo.file, 1, text)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
