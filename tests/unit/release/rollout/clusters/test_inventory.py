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


EMPTY = (
    *("clusters: []", "clusters:\n", '{"clusters": []}'),
    # What kubectl prints where it finds none, for example in another namespace.
    *('{"kind": "List", "items": []}', '{"kind": "ClusterList", "items": []}'),
)


@pytest.mark.parametrize("text", EMPTY)
def test_no_cluster_at_all(tmp_path: Path, text: str) -> None:
    """Nothing would be played, and a release manager would read that nothing happens."""
    with pytest.raises(InputError, match=r"at least one cluster in .*, got none\. .* without -A"):
        read_inventory(written(tmp_path, text))


def test_yes_and_no(tmp_path: Path) -> None:
    words = ("true", "Yes", "on", "y", "false", "No", "off", "n", "", "~")
    rows = "".join(f"  - {{name: c{at}, paused: {word}}}\n" for at, word in enumerate(words))
    found = read_inventory(written(tmp_path, f"clusters:\n{rows}"))
    assert [one.paused for one in found.clusters] == [True] * 4 + [False] * 6


def test_what_stands_once(tmp_path: Path) -> None:
    text = """x-all: &all {ring: canary}
clusters:
  - name: a
    labels: {<<: *all, site: a}
"""
    found = read_inventory(written(tmp_path, text))
    assert found.clusters[0].labels == {"ring": "canary", "site": "a"}


RANCHER = {"apiVersion": "management.cattle.io/v3", "kind": "Cluster", "metadata": {"name": "a"}}
SLIPS = {
    "a key misspelt": ("clusters:\n- name: a\n  lables: {}\n", "entry 1 (line 2) of", "labels?"),
    "in another case": ("clusters:\n- {name: a, Labels: {}}\n", "line 2", "the key 'Labels'"),
    "less indented": ("clusters:\n- name: a\n  labels:\n  ring: b\n", "line 2", "key 'ring'"),
    "at the top": ("clusters: [{name: a}]\ngroup: []\n", "the key 'group'", "groups?"),
    "another top": ("cluster: [{name: a}]\n", "the key 'cluster'", "clusters?"),
    "labels as a list": ("clusters: [{name: a, labels: [b=c]}]", "under `labels`", "got a list"),
    "labels as text": ("clusters: [{name: a, labels: b=c}]", "under `labels`", "got 'b=c'"),
    "a label as a map": ("clusters: [{name: a, labels: {b: {c: d}}}]", "`labels.b`", "keys with"),
    "a label as a number": ('{"clusters": [{"name": "a", "labels": {"b": 1}}]}', "quotes", "got 1"),
    "a label with a space": ("clusters: [{name: a, labels: {b: 'c '}}]", "Kubernetes", "'c '"),
    "annotations": ("clusters: [{name: a, annotations: b}]", "under `annotations`", "got 'b'"),
    "values": ("clusters: [{name: a, templateValues: [b]}]", "`templateValues`", "got a list"),
    "a number as name": ('{"clusters": [{"name": 3}]}', "text, in quotes, under `name`", "got 3"),
    "a namespace": ("clusters: [{name: a, namespace: {b: c}}]", "under `namespace`", "keys with"),
    "paused": ("clusters: [{name: a, paused: maybe}]", "true or false under `paused`", "'maybe'"),
    "offline": ("clusters: [{name: a, offline: 1}]", "true or false under `offline`", "got '1'"),
    "a group's selector": (
        *("clusters: [{name: a}]\ngroups: [{name: b, selector: [c]}]", "`selector`", "got a list"),
    ),
    "a group's misspelt selector": (
        "clusters: [{name: a}]\ngroups: [{name: b, selector: {matchlabels: {c: d}}}]",
        *("selector of groups, entry 1 (line 2)", "matchLabels?"),
    ),
    "a group's labels to match": (
        "clusters: [{name: a}]\ngroups: [{name: b, selector: {matchLabels: [c]}}]",
        *("under `matchLabels`", "got a list"),
    ),
    "a group's expressions": (
        "clusters: [{name: a}]\ngroups: [{name: b, selector: {matchExpressions: {c: d}}}]",
        *("under `matchExpressions`", "keys with values"),
    ),
    "a group without a name": (
        *("clusters: [{name: a}]\ngroups: [{labels: {}}]", "groups, entry 1 (line 2)", "has none"),
    ),
    "a key twice": ("clusters:\n- name: a\n  name: b\n", "'name' a second time", "line 3"),
    "a key twice in JSON": ('{"clusters": [], "clusters": []}', "'clusters'", "there twice"),
    "the top twice": ("clusters: [{name: a}]\nclusters: [{name: b}]\n", "second time", "line 2"),
    "marks of a merge": ("clusters:\n<<<<<<< HEAD\n- name: a\n=======\n", "both sides", "merge"),
    "marks in JSON": ('{"items": [\n<<<<<<< HEAD\n', "both sides", "merge"),
    "no indentation": ("clusters:\n - name: a\n labels: {}\n", "line 3", "neither"),
    "JSON lines": (f"{json.dumps(CLUSTER)}\n{json.dumps(CLUSTER)}\n", "line 2", "one list"),
    "a list": (json.dumps([CLUSTER]), "at its top is", "a list"),
    "metadata as a list": ('{"items": [{"kind": "Cluster", "metadata": [1]}]}', "metadata", "list"),
    "metadata as text": ('{"items": [{"kind": "Cluster", "metadata": "a"}]}', "metadata", "'a'"),
    "a spec as a list": (
        '{"items": [{"kind": "Cluster", "metadata": {"name": "a"}, "spec": ["b"]}]}',
        *("under `spec`", "got a list"),
    ),
    "not all objects": (json.dumps({"kind": "List", "items": [CLUSTER, 3]}), "entry 2", "got 3"),
    "Rancher's own": (
        json.dumps({"kind": "List", "items": [RANCHER]}),
        *("Fleet's Cluster objects", "Cluster of management.cattle.io/v3"),
    ),
    "of Fleet, but others": ("kind: GitRepo\nspec: {}\n", "Fleet's Cluster objects", "GitRepo"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_slips(tmp_path: Path, name: str) -> None:
    """Each was a cluster without labels, a group of all clusters, a traceback, or a sentence that
    said nothing of the slip."""
    text, *said = SLIPS[name]
    with pytest.raises(InputError) as caught:
        read_inventory(written(tmp_path, text))
    for part in (*said, str(tmp_path / "clusters.yaml")):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("clusters: [{name: a}, {name: a}]", "a more than once"),
        ("clusters: [{labels: {}}]", r"entry 1 \(line 1\), has none"),
        ("clusters: [{name: a}, {name: [x]}]", r"entry 2 \(line 1\) of .* got a list"),
        ("clusters: {a: {}}", "list of maps under `clusters`"),
        ("clusters: [a]", "list of maps"),
        ("[", "got neither"),
        ("{", "got neither"),
        ("", "got neither"),
        ("kind: Pod", "got others: Pod"),
        ('{"items": 3}', "list of maps under `items`"),
        ('{"items": [{"kind": "Pod"}]}', "got others: Pod"),
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
