"""A folder as the bundle that Fleet makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from factories.fleet import CHART, EVERYWHERE, bundle, inventory, values_of

from release.rollout.reading.bundle import BundleSource, Unreadable, read_bundle
from release.rollout.reading.gitrepo import read_gitrepo
from release.rollout.reading.names import bundle_name
from release.rollout.reading.tree import read_tree
from release.rollout.reading.version import parse_version

ALL = inventory("a")


def test_values_files_are_laid_over_values(tmp_path: Path) -> None:
    text = EVERYWHERE + (
        "helm: {chart: x, valuesFiles: [one.yaml, two.yaml], values: {a: {b: 1, c: 1}, l: [1]}}"
    )
    made = bundle(tmp_path, text, one_yaml="a: {c: 2}\nl: [2, 3]\n", two_yaml="a: {d: 3}\n")
    assert values_of(made, ALL, "a") == {"a": {"b": 1, "c": 2, "d": 3}, "l": [2, 3]}
    assert made.content.files == ()


def test_a_bundle_without_a_chart_reads_no_values_files(tmp_path: Path) -> None:
    """They are left out of what is deployed all the same."""
    made = bundle(tmp_path, EVERYWHERE + "helm: {valuesFiles: [one.yaml]}", one_yaml="a: 1")
    assert made.options["helm"].get("values") is None


@pytest.mark.parametrize(("version", "expected"), [("0.15", None), ("0.16", {"a": 1})])
def test_a_repo_alone_is_a_chart_from_0_16_on(
    tmp_path: Path, version: str, expected: object
) -> None:
    text = EVERYWHERE + "helm: {repo: 'oci://x/y', valuesFiles: [one.yaml]}"
    made = bundle(tmp_path, text, version, one_yaml="a: 1")
    assert made.options["helm"].get("values") == expected
    assert bool(made.content.charts) == (version == "0.16")


def test_a_chart_outside_the_folder_is_not_deployed(tmp_path: Path) -> None:
    (tmp_path / "release" / "fleet" / "model" / "chart").mkdir(parents=True)
    made = bundle(tmp_path, EVERYWHERE + "helm: {chart: ../../chart}")
    assert made.empty
    assert not bundle(tmp_path, EVERYWHERE + CHART).empty


def test_targets_get_names_and_the_bundle_s_chart(tmp_path: Path) -> None:
    text = (
        "helm: {chart: c, version: '1'}\n"
        "targetCustomizations: [{helm: {}}, {name: x}, {helm: {version: '2'}}]"
    )
    made = bundle(tmp_path, text)
    assert [one.criteria.name for one in made.targets] == [
        *("target000", "x", "target002", "default"),
    ]
    assert made.targets[0].options["helm"] == {"repo": "", "chart": "c", "version": "1"}
    assert made.targets[2].options["helm"]["version"] == "2"


def test_unknown_keys_vanish_and_other_case_counts(tmp_path: Path) -> None:
    made = bundle(tmp_path, "Helm: {Chart: c, valuess: {}}\nrolloutStrategi: {}\n")
    assert made.options["helm"] == {"chart": "c"}
    assert made.decoded.unknown == [("Helm", "valuess"), ("rolloutStrategi",)]
    assert ("Helm",) in made.decoded.other_case


def test_keys_that_a_version_drops(tmp_path: Path) -> None:
    text = (
        "rolloutStrategy: {maxNew: 5, autoPartitionThreshold: 3}\n"
        "targetCustomizationMode: AllMatches"
    )
    assert bundle(tmp_path, text, "0.14").rollout == {}
    assert bundle(tmp_path, text, "0.15").rollout == {"autoPartitionThreshold": 3}
    new = bundle(tmp_path, text, "0.16")
    assert new.rollout["maxNew"] == 5
    assert new.all_matches


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("a: [", 2, "did not find expected"),
        ("- a\n", 1, "not a map"),
        ("x: 1\nhelm:\n  version: 1.0\n", 3, "helm.version is not a text"),
        ("helm:\n  atomic: 'true'\n", 2, "not a truth value"),
        ("rolloutStrategy: {maxUnavailable: 0.5}", 1, "not a number or percentage"),
        ("helm: {chart: c, valuesFiles: [gone.yaml]}", 1, "is not there"),
        ("helm: {chart: c, valuesFiles: [../../../../../../etc/passwd]}", 1, "outside"),
        ('helm: {chart: "a\\0"}', 1, "zero byte"),
        ("imageScans: [{image: x, tagName: y}]", 1, "switched off"),
        ("dependsOn: [{}]", 1, "wants a `name`"),
        ("dependsOn: [{name: x, acceptedStates: [Redy]}]", 1, "no state"),
        ("overrideTargets:\n- {}\n- clusterSelector: {matchLabels: {a b: c}}", 3, "no label"),
        (
            "targets: [{clusterSelector: {matchExpressions: [{key: a, operator: I}]}}]",
            *(1, "no operator"),
        ),
    ],
)
def test_what_fleet_fails_on(tmp_path: Path, text: str, line: int, reason: str) -> None:
    with pytest.raises(Unreadable, match=reason) as error:
        bundle(tmp_path, text)
    assert error.value.line == line


def test_a_number_is_made_text_in_targets_and_not_in_partitions(tmp_path: Path) -> None:
    made = bundle(tmp_path, "overrideTargets: [{clusterSelector: {matchLabels: {dock: 1}}}]")
    assert made.restrictions[0].selector is not None
    assert made.restrictions[0].selector.matches({"dock": "1"})
    with pytest.raises(Unreadable, match="text, in quotes"):
        bundle(
            tmp_path,
            "rolloutStrategy: {partitions: [{clusterSelector: {matchLabels: {dock: 1}}}]}",
        )


def test_names_of_bundles() -> None:
    assert bundle_name("repo", Path("a/b")) == "repo-a-b"
    assert bundle_name("repo", Path("A/b_c")) == "repo-a-b-c-4af3178c"
    long = bundle_name("jetrail", Path("release/fleet/meter-yolov8n/x86-openvino/production"))
    assert long == "jetrail-release-fleet-meter-yolov8n-x86-openvin-ba0e4"
    assert len(long) == 53


GITREPO = """apiVersion: fleet.cattle.io/v1alpha1
kind: GitRepo
metadata: {name: shop, namespace: edge}
spec:
  {paused: true, targetNamespace: ns, paths: [fleet/*/x, /loose, ../out], targets: []}
"""


def test_the_folders_of_a_gitrepo(tmp_path: Path) -> None:
    root = tmp_path / "repo"
    for folder in ("fleet/a/x/deeper", "fleet/b/y", "fleet/.c/x", "loose/in"):
        (root / folder).mkdir(parents=True)
    for file in ("fleet/a/x/fleet.yaml", "fleet/a/x/deeper/fleet.yml", "fleet/.c/x/fleet.yaml"):
        (root / file).write_text("helm: {chart: c}")
    (root / "loose" / "in" / "cm.yaml").write_text("kind: ConfigMap")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fleet.yaml").write_text("helm: {chart: c}")
    (root / "release" / "fleet").mkdir(parents=True)
    (root / "release" / "fleet" / "gitrepo.yaml").write_text(GITREPO)
    tree = read_tree(root, parse_version(None))
    assert [one.place for one in tree.bundles] == [
        *("fleet/.c/x", "fleet/a/x", "fleet/a/x/deeper", "loose"),
    ]
    assert tree.gitrepo.namespace == "edge"
    assert all(one.paused and one.options["namespace"] == "ns" for one in tree.bundles)


@pytest.mark.parametrize("text", ["kind: Other", "[", "- a"])
def test_a_gitrepo_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "g.yaml").write_text(text)
    with pytest.raises(Unreadable):
        read_gitrepo(tmp_path / "g.yaml")


def test_one_broken_folder_is_kept_beside_the_others(tmp_path: Path) -> None:
    for name, text in (("a", "helm: ["), ("b", CHART)):
        folder = tmp_path / "release" / "fleet" / "m" / "t" / name
        folder.mkdir(parents=True)
        (folder / "fleet.yaml").write_text(text)
    tree = read_tree(tmp_path, parse_version(None))
    assert [one.place for one in tree.bundles] == ["release/fleet/m/t/b"]
    assert [one.line for one in tree.unreadable] == [2]


def test_files_that_are_deployed(tmp_path: Path) -> None:
    """By their whole names: values of a chart in the folder are its own."""
    made = bundle(tmp_path, "helm: {chart: chart, valuesFiles: [release.yaml]}\n", release_yaml="")
    for name in (
        "chart/release.yaml",
        "chart/fleet.yaml",
        "chart/skip.yaml",
        "old/a.yaml",
        "a.yaml",
    ):
        (made.folder / name).parent.mkdir(exist_ok=True)
        (made.folder / name).write_text("a: 1\n")
    (made.folder / ".fleetignore").write_text("# what stays here\n\nold/*\n[^b].yaml  \n")
    (made.folder / "chart" / ".fleetignore").write_text("skip.*\n")
    again = read_bundle(made.folder, BundleSource(root=tmp_path, version=parse_version("0.12")))
    assert again.content.files == ("chart/fleet.yaml", "chart/release.yaml")


@pytest.mark.parametrize(
    ("target", "version", "said"),
    [
        ("inside.yaml", "0.16", None),
        ("../outside.yaml", "0.15", None),
        ("../outside.yaml", "0.16", "leads out of the folder"),
        ("../ring", "0.12", "leads to a folder"),
        ("nowhere", "0.12", "leads nowhere"),
    ],
)
def test_links(tmp_path: Path, target: str, version: str, said: str | None) -> None:
    made = bundle(tmp_path, "helm: {releaseName: x}\n", inside_yaml="a: 1\n")
    (made.folder.parent / "outside.yaml").write_text("a: 1\n")
    (made.folder / "link.yaml").symlink_to(target)
    source = BundleSource(root=tmp_path, version=parse_version(version))
    if said is None:
        assert read_bundle(made.folder, source).content.files == ("inside.yaml", "link.yaml")
        return
    with pytest.raises(Unreadable, match=said):
        read_bundle(made.folder, source)


def options_under(root: Path, spec: str, text: str) -> dict[str, object]:
    folder = root / "release" / "fleet" / "m" / "t" / "canary"
    folder.mkdir(parents=True)
    (folder / "fleet.yaml").write_text(text)
    (root / "release" / "fleet" / "gitrepo.yaml").write_text(
        f"kind: GitRepo\nspec: {{paths: [release/fleet/m], {spec}}}\n"
    )
    (made,) = read_tree(root, parse_version(None)).bundles
    return dict(made.options)


@pytest.mark.parametrize(
    ("spec", "text", "expected"),
    [
        ("", "forceSyncGeneration: 3", {}),
        ("forceSyncGeneration: 4", "forceSyncGeneration: 3", {"forceSyncGeneration": 4}),
        ("serviceAccount: robot", "serviceAccount: me", {"serviceAccount": "robot"}),
        ("", "serviceAccount: me", {"serviceAccount": "me"}),
        ("keepResources: true", "{}", {"keepResources": True}),
        ("keepResources: false", "keepResources: true", {"keepResources": True}),
    ],
)
def test_what_a_gitrepo_says_of_every_deployment(
    tmp_path: Path, spec: str, text: str, expected: dict[str, object]
) -> None:
    assert options_under(tmp_path, spec, text) == expected
