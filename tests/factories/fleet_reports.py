"""What `kubectl get bundles,bundledeployments,clusters -A -o json` prints, in small."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

READY = {"ready": True, "applied": True, "given": True, "message": "", "paused": False}


def deployment(bundle: str, cluster: str, commit: str, **differs: Any) -> dict[str, Any]:
    """One BundleDeployment; `differs` are keys of READY, `since` and `error`."""
    is_ = {**READY, **differs}
    new, old = f"s-{commit[:12]}:new", "s-before:old"
    return {
        "apiVersion": "fleet.cattle.io/v1alpha1",
        "kind": "BundleDeployment",
        "metadata": {
            "name": bundle,
            "namespace": f"cluster-fleet-default-{cluster}-0123456789ab",
            "labels": {
                "fleet.cattle.io/bundle-name": bundle,
                "fleet.cattle.io/bundle-namespace": "fleet-default",
                "fleet.cattle.io/cluster": cluster,
                "fleet.cattle.io/cluster-namespace": "fleet-default",
                "fleet.cattle.io/commit": commit,
                "fleet.cattle.io/repo-name": "jetrail",
            },
        },
        "spec": {
            "stagedDeploymentID": new,
            "deploymentID": new if is_["given"] else old,
            "paused": is_["paused"],
        },
        "status": {
            "appliedDeploymentID": new if is_["given"] and is_["applied"] else old,
            "ready": is_["ready"],
            "conditions": [
                {
                    "type": "Deployed",
                    "status": "False" if is_.get("error") else "True",
                    "message": is_.get("error", ""),
                },
                {
                    "type": "Ready",
                    "status": str(bool(is_["ready"])),
                    "message": is_["message"],
                    "lastUpdateTime": is_.get("since", "2026-01-01T00:00:00Z"),
                },
            ],
        },
    }


def cluster(name: str, last_seen: str, **labels: str) -> dict[str, Any]:
    """One Cluster."""
    return {
        "kind": "Cluster",
        "metadata": {"name": name, "namespace": "fleet-default", "labels": labels},
        "status": {"agent": {"lastSeen": last_seen}},
    }


def bundle(name: str, *, paused: bool = False) -> dict[str, Any]:
    """One Bundle."""
    return {"kind": "Bundle", "metadata": {"name": name}, "spec": {"paused": paused}}


def write_report(path: Path, items: Iterable[dict[str, Any]]) -> str:
    """The list as a file; gives its path as people type it."""
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(items)}))
    return str(path)
