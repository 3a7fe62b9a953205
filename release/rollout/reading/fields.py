"""The keys of fleet.yaml: what each holds and since which Fleet it is known.

Fleet decodes non-strictly: a key that it does not know vanishes without a word, one in another case
(`Helm`) counts, and a value of a wrong type fails the file. From the Go types of
`pkg/apis/fleet.cattle.io/v1alpha1` (v0.12.0 to v0.16.1).
"""

from __future__ import annotations

from dataclasses import dataclass

TEXT, TRUTH, INTEGER, AMOUNT = "text", "truth value", "whole number", "number or percentage"
TEXTS, WORDS, VALUES, ANY = "list of texts", "map of texts", "map", "anything"


@dataclass(frozen=True)
class Key:
    """One key: a kind of above, or a structure of `STRUCTURES`; `many` makes it a list."""

    kind: str
    many: bool = False
    since: tuple[int, ...] = ()
    ignored_in_target: bool = False
    """Whether a target's own one is decoded and then thrown away when options are merged."""


def _of(kind: str, *names: str, ignored_in_target: bool = False) -> dict[str, Key]:
    return {name: Key(kind, ignored_in_target=ignored_in_target) for name in names}


CRITERIA = {  # which clusters a target or a partition is for
    **_of(TEXT, "name", "clusterName", "clusterGroup"),
    **_of("Selector", "clusterSelector", "clusterGroupSelector"),
}

OPTIONS = {  # of a deployment: what a bundle says, and its targets otherwise
    **_of(TEXT, "defaultNamespace", "namespace", "serviceAccount"),
    "createNamespace": Key(TRUTH, since=(0, 16, 1)),
    "helm": Key("Helm"),
    "kustomize": Key("Kustomize"),
    "yaml": Key("Yaml"),
    "diff": Key("Diff"),
    "correctDrift": Key("CorrectDrift"),
    "keepResources": Key(TRUTH),
    "forceSyncGeneration": Key(INTEGER),
    "downstreamResources": Key("DownstreamResource", many=True, since=(0, 14)),
    **_of(TRUTH, "deleteNamespace", "deleteCRDResources", ignored_in_target=True),
    **_of("Ignore", "ignore", ignored_in_target=True),
    # Applied from every target of the bundle to every cluster, so they are no secret of a target.
    **_of(WORDS, "namespaceLabels", "namespaceAnnotations", ignored_in_target=True),
}

DROPPED = {  # at the top: read, and then what Fleet itself knows is taken
    **_of(TEXT, "generateName", "selfLink", "uid", "resourceVersion", "contentsId", "valuesHash"),
    **_of(INTEGER, "generation", "deletionGracePeriodSeconds"),
    "finalizers": Key(TEXTS),
}

STRUCTURES: dict[str, dict[str, Key]] = {
    "FleetYaml": {
        **OPTIONS,
        "name": Key(TEXT),
        "labels": Key(WORDS),
        "annotations": Key(WORDS),
        "paused": Key(TRUTH),
        "rolloutStrategy": Key("Rollout"),
        "targetCustomizationMode": Key(TEXT, since=(0, 16)),
        "targets": Key("Target", many=True),
        "targetRestrictions": Key("GitTarget", many=True),
        "targetCustomizations": Key("Target", many=True),
        "overrideTargets": Key("GitTarget", many=True),
        "dependsOn": Key("Dependency", many=True),
        "imageScans": Key("ImageScan", many=True),
    },
    "Target": {**OPTIONS, **CRITERIA, "doNotDeploy": Key(TRUTH)},
    "GitTarget": CRITERIA,
    "Helm": {
        **_of(TEXT, "chart", "repo", "releaseName", "version"),
        "valuesFiles": Key(TEXTS),
        "values": Key(VALUES),
        "templateValues": Key(WORDS, since=(0, 12)),
        "valuesFrom": Key("ValuesFrom", many=True),
        "timeoutSeconds": Key(INTEGER),
        "maxHistory": Key(INTEGER, ignored_in_target=True),
        **_of(TRUTH, "force", "takeOwnership", "waitForJobs", "atomic", "disableDNS"),
        **_of(TRUTH, "disablePreProcess"),
        **_of(TRUTH, "skipSchemaValidation", "disableDependencyUpdate", ignored_in_target=True),
    },
    "Rollout": {
        **_of(AMOUNT, "maxUnavailable", "maxUnavailablePartitions", "autoPartitionSize"),
        "autoPartitionThreshold": Key(INTEGER, since=(0, 15)),
        "maxNew": Key(INTEGER, since=(0, 16)),
        "partitions": Key("Partition", many=True),
    },
    "Partition": {**CRITERIA, "maxUnavailable": Key(AMOUNT)},
    "Selector": {"matchLabels": Key(WORDS), "matchExpressions": Key("Expression", many=True)},
    "Expression": {**_of(TEXT, "key", "operator"), "values": Key(TEXTS)},
    "Kustomize": {"dir": Key(TEXT)},
    "Yaml": {"overlays": Key(TEXTS)},
    "Diff": {"comparePatches": Key("ComparePatch", many=True)},
    "ComparePatch": {
        **_of(TEXT, "apiVersion", "kind", "name", "namespace"),
        "jsonPointers": Key(TEXTS),
        "operations": Key("Operation", many=True),
    },
    "Operation": _of(TEXT, "op", "path", "value"),
    "CorrectDrift": _of(TRUTH, "enabled", "force", "keepFailHistory"),
    "DownstreamResource": _of(TEXT, "kind", "name"),
    "Ignore": {"conditions": Key(WORDS, many=True)},
    "ValuesFrom": {"configMapKeyRef": Key("KeyRef"), "secretKeyRef": Key("KeyRef")},
    "KeyRef": _of(TEXT, "name", "namespace", "key"),
    "Dependency": {
        "name": Key(TEXT),
        "selector": Key("Selector"),
        "acceptedStates": Key(TEXTS, since=(0, 15)),
    },
    # Read and refused, unless switched on: what is in it does not matter here.
    "ImageScan": {**_of(TEXT, "name", "image", "tagName"), "policy": Key(ANY)},
}
