"""Inventories: ours and kubectl's, and what is wrong with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engines.errors import InputError
from release.rollout.clusters.inventory import read_inventory


def written(root: Path, text: str) -> Path:
    path = root / "clusters.yaml"
    path.write_text(text)
    return path


def test_ours(tmp_path: Path) -> None:
    text = """clusters:
  - name: b
    labels: {site: 0010, ring: yes}
    paused: true
  - {name: a, offline: true}
groups:
  - {name: docks, labels: {x: y}, selector: {matchLabels: {site: "0010"}}}
  - {name: broken, selector: {matchExpressions: [{key: a, operator: I}]}}
"""
    found = read_inventory(written(tmp_path, text))
    assert [one.name for one in found.clusters] == ["a", "b"]
    assert found.clusters[0].offline
    assert dict(found.clusters[0].labels) == {}
    assert found.clusters[1].labels == {"site": "0010", "ring": "yes"}
    assert found.clusters[1].paused
    assert found.clusters[1].groups == ("docks",)
    assert list(found.groups) == ["docks"]


CLUSTER = {
    "apiVersion": "fleet.cattle.io/v1alpha1",
    "kind": "Cluster",
    "metadata": {"name": "a", "namespace": "fleet-default", "labels": {"ring": "canary"}},
    "spec": {"paused": True, "templateValues": {"n": 1}},
}
ELSEWHERE = CLUSTER | {"metadata": {"name": "a", "namespace": "fleet-local"}}
GROUP = {
    "kind": "ClusterGroup",
    "metadata": {"name": "docks", "labels": {"x": "y"}},
    "spec": {"selector": {"matchLabels": {"ring": "canary"}}},
}


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "List", "items": [CLUSTER, GROUP, ELSEWHERE, {"kind": "Bundle"}]},
        {"kind": "ClusterList", "items": [{k: v for k, v in CLUSTER.items() if k != "kind"}]},
        CLUSTER,
    ],
)
def test_kubectl_s(tmp_path: Path, document: dict[str, object]) -> None:
    found = read_inventory(written(tmp_path, json.dumps(document)))
    assert [one.name for one in found.clusters] == ["a"]
    assert found.clusters[0].paused
    assert found.clusters[0].template_values == {"n": 1}
    assert found.left_out == ("items" in document and len(document["items"]) > 3)  # type: ignore[arg-type]


def test_kubectl_s_groups(tmp_path: Path) -> None:
    found = read_inventory(written(tmp_path, json.dumps({"items": [CLUSTER, GROUP]})))
    assert found.clusters[0].groups == ("docks",)


def test_no_cluster_at_all(tmp_path: Path) -> None:
    assert read_inventory(written(tmp_path, "clusters: []")).clusters == ()
    text = json.dumps({"kind": "ClusterList", "items": []})
    assert read_inventory(written(tmp_path, text)).clusters == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("clusters: [{name: a}, {name: a}]", "a more than once"),
        ("clusters: [{labels: {}}]", "entry 1, has none"),
        ("clusters: [{name: a}, {name: [x]}]", "entry 2, has none"),
        ("clusters: {a: {}}", "list of maps under `clusters`"),
        ("clusters: [a]", "list of maps"),
        ("[", "got neither"),
        ("{", "got neither"),
        ("", "got neither"),
        ("kind: Pod", "got neither"),
        ('{"items": 3}', "got neither"),
        ('{"items": [{"kind": "Pod"}]}', "got neither"),
        ("clusters: [{name: a, namespace: other}]", "other namespaces"),
    ],
)
def test_what_is_none(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_inventory(written(tmp_path, text))


def test_not_there_and_no_text(tmp_path: Path) -> None:
    gone = tmp_path / "my clusters.yaml"
    with pytest.raises(InputError, match=f"nothing is there. .* > '{gone}'` writes one"):
        read_inventory(gone)
    (tmp_path / "x").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(InputError, match="UTF-8"):
        read_inventory(tmp_path / "x")


def test_a_hundred_thousand(tmp_path: Path) -> None:
    items = [{"kind": "Cluster", "metadata": {"name": f"c{at:06}"}} for at in range(100_000)]
    found = read_inventory(written(tmp_path, json.dumps({"items": items})))
    assert len(found.clusters) == 100_000
