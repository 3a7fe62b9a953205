"""Fleet's own word: Kubernetes objects as kubectl prints them, or the rows of `fleet monitor`.

Fields are those of `pkg/apis/fleet.cattle.io/v1alpha1` and of `internal/cmd/cli/monitor.go` in
rancher/fleet. Anything else in the report is left alone, so that another version's may be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from engines.errors import InputError
from release.reports.report import Deployment, Report, each_once

CLUSTER = "fleet.cattle.io/cluster"
BUNDLE = "fleet.cattle.io/bundle-name"
COMMIT = "fleet.cattle.io/commit"

CLUSTER_NAMESPACE = "fleet.cattle.io/cluster-namespace"
DEFAULT_NAMESPACE = "fleet-default"

_API = "fleet.cattle.io/v1alpha1"
KINDS = ("BundleDeployment", "Bundle", "Cluster")
MONITORED = ("bundledeployments", "bundles", "clusters", "controller", "diagnostics", "gitrepos")
"""Keys of `fleet monitor`, which leaves out those of which there is nothing."""


def is_kubectl(content: Any) -> bool:
    """Whether it is what `kubectl get … -o json` prints: a list, or one object by itself."""
    if not isinstance(content, dict):
        return False
    return isinstance(content.get("items"), list) or content.get("kind") in KINDS


def is_monitor(content: Any) -> bool:
    """Whether it is what `fleet monitor` prints."""
    return isinstance(content, dict) and "timestamp" in content and bool(content.keys() & MONITORED)


def from_kubectl(content: Mapping[str, Any], name: str, at: datetime) -> Report:
    """The report of Kubernetes objects."""
    items = [one for one in content.get("items", [content]) if isinstance(one, dict)]
    ours = [one for one in items if "fleet.cattle.io" in str(one.get("apiVersion", _API))]
    by_kind = {kind: [one for one in ours if one.get("kind") == kind] for kind in KINDS}
    kinds = ((_text(one, "kind"), one.get("apiVersion")) for one in items)
    others = sorted({f"{kind} of {api}" for kind, api in kinds if kind})
    if others and not any(by_kind.values()):
        # It would say that no cluster fails.
        raise InputError(
            f"Expected Fleet's {', '.join(KINDS)} objects in {name}, got others: "
            f"{', '.join(others[:3])}. Ask for them with `kubectl get bundles,bundledeployments,"
            "clusters.fleet.cattle.io -A -o json`."
        )
    found = (_deployment(one) for one in by_kind["BundleDeployment"])
    paused = {_text(_map(one, "metadata"), "name") for one in _paused(by_kind["Bundle"])}
    return Report(
        name=name,
        at=at,
        deployments=each_once(one for one in found if one is not None),
        paused_bundles=frozenset(paused),
        labels={
            _cluster(one): {
                str(key): str(value) for key, value in _map(one, "metadata", "labels").items()
            }
            for one in by_kind["Cluster"]
        },
        heard={
            _cluster(one): heard
            for one in by_kind["Cluster"]
            for heard in [moment(_map(one, "status", "agent").get("lastSeen"))]
            if heard is not None
        },
    )


def from_monitor(content: Mapping[str, Any], name: str, at: datetime) -> Report:
    """The report of `fleet monitor`, which names a cluster by its namespace on Fleet's side."""
    listed = content.get("bundledeployments")
    rows = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return Report(
        name=name,
        at=moment(content.get("timestamp")) or at,
        deployments=each_once(
            Deployment(
                bundle=_text(one, "name"),
                cluster=_text(one, "namespace"),
                namespace=_text(one, "namespace"),
                commit=_text(one, "commit"),
                staged=_text(one, "stagedDeploymentID") or _text(one, "deploymentID"),
                given=_text(one, "deploymentID"),
                applied=_text(one, "appliedDeploymentID"),
                ready=one.get("ready") is True and not _text(one, "errorMessage"),
                message=_text(one, "errorMessage") or _text(one, "readyMessage"),
            )
            for one in rows
        ),
    )


def moment(value: Any) -> datetime | None:
    """A time as Kubernetes writes one; None for anything else."""
    try:
        found = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _deployment(item: Mapping[str, Any]) -> Deployment | None:
    labels = {str(key): str(value) for key, value in _map(item, "metadata", "labels").items()}
    if BUNDLE not in labels or CLUSTER not in labels:
        return None
    cluster = _named(labels.get(CLUSTER_NAMESPACE, ""), labels[CLUSTER])
    spec, status = _map(item, "spec"), _map(item, "status")
    ready, deployed = _condition(status, "Ready"), _condition(status, "Deployed")
    worst = deployed if deployed.get("status") == "False" else ready
    return Deployment(
        bundle=labels[BUNDLE],
        cluster=cluster,
        namespace=_text(_map(item, "metadata"), "namespace") or cluster,
        commit=labels.get(COMMIT, ""),
        staged=_text(spec, "stagedDeploymentID") or _text(spec, "deploymentID"),
        given=_text(spec, "deploymentID"),
        applied=_text(status, "appliedDeploymentID"),
        # What failed to deploy leaves `ready` as it was before.
        ready=status.get("ready") is True and worst.get("status") != "False",
        paused=spec.get("paused") is True,
        message=_text(worst, "message"),
        since=moment(worst.get("lastUpdateTime") or worst.get("lastTransitionTime")),
    )


def _cluster(item: Mapping[str, Any]) -> str:
    meta = _map(item, "metadata")
    return _named(_text(meta, "namespace"), _text(meta, "name"))


def _named(namespace: str, name: str) -> str:
    return name if namespace in ("", DEFAULT_NAMESPACE) else f"{namespace}/{name}"


def _paused(bundles: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in bundles if _map(one, "spec").get("paused") is True]


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    conditions = status.get("conditions")
    for one in conditions if isinstance(conditions, list) else []:
        if isinstance(one, dict) and one.get("type") == kind:
            return one
    return {}


def _map(value: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _text(value: Mapping[str, Any], key: str) -> str:
    found = value.get(key)
    return found if isinstance(found, str) else ""
