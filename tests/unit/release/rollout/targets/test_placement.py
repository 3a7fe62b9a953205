"""Which clusters get a bundle, and with which values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from factories.fleet import EVERYWHERE, bundle, inventory, of, values_of

from release.rollout.clusters.inventory import Cluster, Group
from release.rollout.reading.version import parse_version
from release.rollout.targets.options import merge
from release.rollout.targets.placement import BundleStops, place

NEWEST = parse_version(None)
CLUSTERS = of(
    [
        Cluster("a", {"ring": "canary", "site": "7"}, groups=("docks",)),
        Cluster("b", {"ring": "pilot", "management.cattle.io/cluster-display-name": "Bay"}),
        Cluster("c"),
    ],
    {"docks": Group("docks", {"kind": "dock"})},
)


def names(root: Path, text: str, version: str = "0.16.1") -> list[str]:
    made = bundle(root, text, version)
    return [one.cluster.name for one in place(made, CLUSTERS, parse_version(version))]


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("[{clusterSelector: {}}]", ["a", "b", "c"]),
        ("[{name: x}]", []),
        ("[]", []),
        ("[{clusterSelector: {matchLabels: {ring: canary}}}]", ["a"]),
        ("[{clusterName: b}, {clusterName: c, clusterSelector: {matchLabels: {ring: x}}}]", ["b"]),
        ("[{clusterName: Bay}]", ["b"]),
        ("[{clusterGroup: docks}]", ["a"]),
        ("[{clusterGroupSelector: {matchLabels: {kind: dock}}}]", ["a"]),
        ("[{clusterGroupSelector: {}}]", ["a", "b", "c"]),
        (
            "[{clusterSelector: {matchExpressions: [{key: ring, operator: NotIn, values: [x]}]}}]",
            ["a", "b", "c"],
        ),
        (
            "[{clusterSelector: {matchExpressions: [{key: ring, operator: Exists}]}}]",
            ["a", "b"],
        ),
    ],
)
def test_who_gets_it(tmp_path: Path, targets: str, expected: list[str]) -> None:
    assert names(tmp_path, f"overrideTargets: {targets}") == expected


def test_customizations_choose_nobody(tmp_path: Path) -> None:
    text = "overrideTargets: [{clusterName: a}]\ntargetCustomizations: [{clusterSelector: {}}]"
    assert names(tmp_path, text) == ["a"]


def test_without_any_target_customizations_choose(tmp_path: Path) -> None:
    assert names(tmp_path, "overrideTargets: []\ntargetCustomizations: [{clusterName: b}]") == ["b"]


@pytest.mark.parametrize(
    ("mode", "version", "expected"),
    [
        ("AllMatches", "0.16", {"x": 1, "w": 2, "z": 2}),
        ("AllMatches", "0.15", {"x": 1, "w": 1}),
        ("FirstMatch", "0.16", {"x": 1, "w": 1}),
    ],
)
def test_first_match_or_all(
    tmp_path: Path, mode: str, version: str, expected: dict[str, int]
) -> None:
    text = f"""{EVERYWHERE}targetCustomizationMode: {mode}
helm: {{chart: c}}
targetCustomizations:
- {{clusterSelector: {{}}, helm: {{values: {{x: 1, w: 1}}}}}}
- {{clusterName: a, helm: {{values: {{w: 2, z: 2}}}}}}
- {{clusterName: b, doNotDeploy: true}}
"""
    made = bundle(tmp_path, text, version)
    assert values_of(made, CLUSTERS, "a", version) == expected
    gone = {"a", "c"} if (mode, version) == ("AllMatches", "0.16") else {"a", "b", "c"}
    assert set(names(tmp_path, text, version)) == gone


def test_merging_options() -> None:
    base: dict[str, Any] = {
        "defaultNamespace": "base",
        "helm": {
            **{"atomic": True, "timeoutSeconds": 30, "maxHistory": 3, "version": "1"},
            **{"values": {"m": {"a": 1}, "l": [1]}, "templateValues": {"t": "1"}},
            "valuesFrom": [{"secretKeyRef": {"name": "s", "key": "k"}}],
        },
        "yaml": {"overlays": ["one"]},
        "keepResources": True,
    }
    target: dict[str, Any] = {
        "defaultNamespace": "-",
        "deleteNamespace": True,
        "helm": {
            **{"atomic": False, "timeoutSeconds": -1, "maxHistory": 9, "force": True},
            **{"values": {"m": {"b": None}, "l": []}, "templateValues": {"t": "2"}},
            "valuesFrom": [
                {"secretKeyRef": {"name": "s", "key": "k", "namespace": ""}},
                {"configMapKeyRef": {"name": "s", "key": "k"}},
            ],
        },
        "yaml": {"overlays": ["two"]},
    }
    merged = merge(base, target, NEWEST)
    helm = merged["helm"]
    assert helm["atomic"] is helm["force"] is True
    assert (helm["timeoutSeconds"], helm["maxHistory"], helm["version"]) == (0, 3, "1")
    assert helm["values"] == {"m": {"a": 1, "b": None}, "l": []}
    assert helm["templateValues"] == {"t": "2"}
    assert len(helm["valuesFrom"]) == 2
    assert len(merge(base, target, parse_version("0.15"))["helm"]["valuesFrom"]) == 3
    assert merged["yaml"] == {"overlays": ["one", "two"]}
    assert merged["defaultNamespace"] == "-"
    assert merged["keepResources"] is True
    assert "deleteNamespace" not in merged
    assert base["helm"]["values"] == {"m": {"a": 1}, "l": [1]}


def filled(root: Path, value: str, name: str = "a", more: str = "") -> Any:
    one = f"overrideTargets: [{{clusterName: {name}}}]\n"
    made = bundle(root, f"{one}helm: {{chart: c, values: {{v: {value}}}{more}}}\n")
    return values_of(made, CLUSTERS, name)["v"]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("'${ .ClusterLabels.site }'", 7),
        ("'x-${ .ClusterLabels.site }'", "x-7"),
        ("'${ .ClusterName }/${ .ClusterNamespace }'", "a/fleet-default"),
        ("'${ get .ClusterLabels `nope` | default `none` }'", "none"),
        ("'${ if hasKey .ClusterLabels `site` }yes${ else }no${ end }'", True),
        ("'${ index .ClusterLabels `nope` }'", "<no value>"),
        ("global.fleet.clusterLabels.site", "7"),
        ("global.fleet.clusterLabels.nope", ""),
        ("[global.fleet.clusterLabels.site]", ["global.fleet.clusterLabels.site"]),
        ("[{x: global.fleet.clusterLabels.ring}]", [{"x": "canary"}]),
        ("'#${/* a comment */} ${ .ClusterName }'", "# a"),
        ("'${ range $k, $v := .ClusterLabels }${ $k }${ end }'", "ringsite"),
    ],
)
def test_templates(tmp_path: Path, template: str, expected: object) -> None:
    assert filled(tmp_path, template) == expected


def test_a_cluster_without_labels_keeps_the_template(tmp_path: Path) -> None:
    assert filled(tmp_path, "'${ .ClusterLabels.site }'", "c") == "${ .ClusterLabels.site }"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("'${ .ClusterLabels.site }'", "there is no 'site'"),
        ("'${ .ClusterLabels.site'", "without `}`"),
        ("'${ if .ClusterName }'", "without `end`"),
        ("'${ nosuch }'", "function `nosuch`"),
        ("'${ fail `no` }'", "no"),
        ("'${ template `x` }'", "`template`"),
    ],
)
def test_one_cluster_stops_the_bundle_for_all(tmp_path: Path, template: str, reason: str) -> None:
    made = bundle(tmp_path, f"{EVERYWHERE}helm: {{chart: c, values: {{v: {template}}}}}\n")
    clusters = [*inventory("x", ring="pilot").clusters, Cluster("y", {"ring": "pilot"})]
    with pytest.raises(BundleStops, match=reason) as error:
        place(made, of(clusters), NEWEST)
    assert error.value.cluster in ("x", "y")


def test_templates_switched_off(tmp_path: Path) -> None:
    template = "'${ .ClusterLabels.nope }'"
    assert filled(tmp_path, template, more=", disablePreProcess: true") == template.strip("'")


def test_template_values_are_yaml(tmp_path: Path) -> None:
    text = EVERYWHERE + (
        "helm: {chart: c, values: {v: 1}, templateValues: {v: '[1, ${ .ClusterName }]', w: x}}"
    )
    assert values_of(bundle(tmp_path, text), CLUSTERS, "a") == {"v": [1, "a"], "w": "x"}


def test_clusters_with_the_same_content_share_an_id(tmp_path: Path) -> None:
    text = EVERYWHERE + "helm: {chart: c, values: {v: '${ get .ClusterLabels `ring` }'}}"
    clusters = [Cluster(f"c{at}", {"ring": "canary" if at < 3 else "pilot"}) for at in range(5)]
    ids = [one.deployment_id for one in place(bundle(tmp_path, text), of(clusters), NEWEST)]
    assert len(set(ids)) == 2
    assert len(set(ids[:3])) == 1
