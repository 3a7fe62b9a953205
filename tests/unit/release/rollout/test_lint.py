"""Each rule of lint: a folder in order, and one thing wrong with it at a time."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from factories.signed import Signer, statement_of, write_files
from jsonschema import Draft4Validator
from typer.testing import CliRunner

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.cli import commands
from release.image.chart import CONTENT
from release.image.distribution import Client
from release.records import attestation_path
from release.rollout.lint.rules import RULES, SUBJECTS
from release.steps import lint as step
from release.steps.lint import explained, lint
from tests.unit.release.rollout.folders import (
    CLEAN,
    CONFIG,
    DIGEST,
    FOLDER,
    GPU,
    LIMIT,
    ROOT,
    SITE,
    SITES,
    TAG,
    Edit,
    add,
    copy,
    findings,
    image,
    quarantine,
    runs,
    swap,
    write,
)

CUSTOM = "targetCustomizations:\n  - name: one\n    clusterName: site-1\n"
PARTITIONS = """rolloutStrategy:
  partitions:
    - {name: first, maxUnavailable: 1, clusterSelector: {matchLabels: {half: one}}}
    - {name: rest, maxUnavailable: 1, clusterSelector: {matchLabels: {half: two}}}
"""
POD = """kind: Deployment
spec:
  strategy: {rollingUpdate: {maxSurge: 1}}
  template:
    spec:
      containers:
        - startupProbe: {periodSeconds: 1}
          resources: {limits: {nvidia.com/gpu: 1}}
"""
RINGS = "schema: 1\nrings: [{name: canary}]\n"
MAIN = "kind: GitRepo\nspec:\n  paths: [release/fleet/*/*/*]\n  branch: main\n"
OTHER_BRANCH = MAIN.replace("main", "fleet")
OTHER = "release/fleet/other/x86-openvino/canary"

SIGNERS = {name: Signer(name) for name in ("ours", "others")}


def key(name: str) -> Edit:
    def edit(root: Path) -> None:
        folder = Workspace(root=root).trusted_keys
        folder.mkdir(parents=True, exist_ok=True)
        SIGNERS[name].record().write(folder / f"{name}.json")

    return edit


def signed(name: str) -> Edit:
    """The statement of the release, by that key."""

    def edit(root: Path) -> None:
        write_files(root / "signed")
        path = attestation_path(Workspace(root=root), TAG)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SIGNERS[name].envelope(statement_of(root / "signed")))

    return edit


Case = tuple[str, int | None, str, list[Edit]]
"""Code, line in fleet.yaml where it is there, Fleet's version, what is wrong."""

CASES: list[Case] = [
    # files
    ("file-unreadable", 4, "0.16", [swap("helm:\n", "helm: {\n")]),
    ("file-unreadable", 2, "0.16", [swap("helm:\n", "<<<<<<< HEAD\nhelm:\n=======\n")]),
    ("file-unreadable", 5, "0.16", [swap("version: 0.1.0", "version: 1.0")]),
    ("file-unreadable", 20, "0.15", [add("imageScans: [{image: x, tagName: y}]\n")]),
    ("key-unknown", 12, "0.16", [swap("rolloutStrategy", "rolloutStrategi")]),
    ("key-dropped", 14, "0.15", [swap("Unavailable: 1\n", "Unavailable: 1\n  maxNew: 5\n")]),
    ("value-unknown", 20, "0.16", [add("targetCustomizationMode: all\n")]),
    (
        *("bundles-not-looked-at", None, "0.16"),
        [write("release/fleet/gitrepo.yaml", "kind: GitRepo\nspec: {bundles: [{base: x}]}\n")],
    ),
    ("key-case", 2, "0.16", [swap("helm:", "Helm:")]),
    ("key-twice", 20, "0.16", [add("defaultNamespace: other\n")]),
    ("number-octal", 13, "0.16", [swap("maxUnavailable: 1\n", "maxUnavailable: 010\n")]),
    ("more-documents", 1, "0.16", [add("---\nhelm: {}\n")]),
    ("key-ignored-in-target", 23, "0.16", [add(f"{CUSTOM}    deleteNamespace: true\n")]),
    ("key-ignored-in-target", 23, "0.16", [add(f"{CUSTOM}    helm: {{maxHistory: 3}}\n")]),
    (
        *("namespace-labels-everywhere", 23, "0.16"),
        [add(f"{CUSTOM}    namespaceLabels: {{a: b}}\n")],
    ),
    ("same-bundle-name", 1, "0.16", [add("name: x\n"), write(f"{OTHER}/fleet.yaml", "name: x\n")]),
    ("folder-not-read", None, "0.16", [write("release/fleet/a/fleet.yaml", SITE)]),
    (
        *("loose-files", None, "0.16"),
        [
            write("release/fleet/gitrepo.yaml", "kind: GitRepo\nspec: {paths: [release/loose]}\n"),
            write("release/loose/cm.yaml", CONFIG),
        ],
    ),
    ("folder-within-folder", 1, "0.16", [copy(f"{FOLDER}/old")]),
    ("paused", 20, "0.16", [add("paused: true\n")]),
    (
        "paused",
        None,
        "0.16",
        [write("release/fleet/gitrepo.yaml", "kind: GitRepo\nspec: {paused: true}\n")],
    ),
    (
        *("branch-not-read", None, "0.16"),
        [write("release/rings.yaml", RINGS), write("release/fleet/gitrepo.yaml", OTHER_BRANCH)],
    ),
    (
        *("branch-not-read", None, "0.16"),
        [
            write("release/rings.yaml", RINGS),
            write("release/fleet/gitrepo.yaml", f"{MAIN}  revision: v1\n"),
        ],
    ),
    # targets
    (
        *("ring-without-folder", None, "0.16"),
        [write("release/rings.yaml", "schema: 1\nrings: [{name: canary}, {name: pilot}]\n")],
    ),
    (
        *("ring-unknown", 1, "0.16"),
        [write("release/rings.yaml", "schema: 1\nrings: [{name: first}, {name: pilot}]\n")],
    ),
    ("target-matches-nothing", 20, "0.16", [add("  - name: second\n")]),
    ("target-matches-all", 20, "0.16", [add("  - clusterSelector: {}\n")]),
    ("no-targets", 1, "0.16", [swap("overrideTargets:", "targetCustomizations:")]),
    ("selector-of-another-folder", 16, "0.16", [swap("ring: canary", "ring: pilot")]),
    ("selector-of-another-folder", 16, "0.16", [swap("device: x86-openvino", "device: dgpu-x86")]),
    (
        *("two-folders", 14, "0.16"),
        [copy("release/fleet/meter/x86-openvino/pilot")],
    ),
    ("same-target-name", 23, "0.16", [add(f"{CUSTOM}  - {{name: one, clusterName: b}}\n")]),
    (
        *("same-target-name", 20, "0.16"),
        [add("targetCustomizations: [{name: target001, clusterName: a}, {clusterName: b}]\n")],
    ),
    ("illegal-target-name", 21, "0.16", [add(CUSTOM.replace("one", "a b"))]),
    ("illegal-target-name", 21, "0.16", [add(CUSTOM.replace("one", "values.yaml"))]),
    ("template-may-fail", 8, "0.16", [swap("cameras: []", "x: '${ .ClusterLabels.site }'")]),
    # partitions
    ("no-limit", 1, "0.16", [swap(LIMIT, "")]),
    ("no-limit", 13, "0.16", [swap("maxUnavailable: 1", "maxUnavailable: 100%")]),
    ("max-zero", 13, "0.16", [swap("maxUnavailable: 1", "maxUnavailable: 0")]),
    ("bad-amount", 13, "0.16", [swap("maxUnavailable: 1", "maxUnavailable: some")]),
    ("bad-amount", 13, "0.16", [swap("maxUnavailable: 1", "maxUnavailable: '0'")]),
    ("quoted-number", 13, "0.16", [swap("maxUnavailable: 1", "maxUnavailable: '2'")]),
    (
        *("bundle-wide-limit", 13, "0.16"),
        [swap(LIMIT, PARTITIONS.replace("  partitions", "  maxUnavailable: 1\n  partitions"))],
    ),
    (
        *("no-gate", 13, "0.16"),
        [swap(LIMIT, PARTITIONS.replace("  part", "  maxUnavailablePartitions: 2\n  part"))],
    ),
    (
        *("partition-without-limit", 14, "0.16"),
        [swap(LIMIT, PARTITIONS.replace("first, maxUnavailable: 1", "first"))],
    ),
    (
        *("no-gate", 14, "0.16"),
        [
            swap(
                LIMIT, PARTITIONS.replace("first, maxUnavailable: 1", "first, maxUnavailable: 100%")
            )
        ],
    ),
    (
        *("partition-never-starts", 14, "0.16"),
        [swap(LIMIT, PARTITIONS.replace("first, maxUnavailable: 1", "first, maxUnavailable: 0"))],
    ),
    (
        *("partition-never-starts", 15, "0.16"),
        [swap(LIMIT, PARTITIONS.replace(", clusterSelector: {matchLabels: {half: two}}", ""))],
    ),
    (
        *("rings-coupled", 13, "0.16"),
        [
            swap(
                LIMIT,
                PARTITIONS.replace("half: one", "ring: canary").replace("half: two", "ring: b"),
            )
        ],
    ),
    # chart
    (
        *("chart-outside", 4, "0.16"),
        [
            swap(
                "oci://registry.example.com/jetrail/charts/inference",
                "../../../../charts/inference",
            ),
            write("release/charts/inference/Chart.yaml", "name: x"),
        ],
    ),
    ("chart-missing", 4, "0.16", [swap("oci://registry.example.com/jetrail/charts", "charts")]),
    (
        "nothing-deployed",
        2,
        "0.16",
        [swap("  chart: oci://registry.example.com/jetrail/charts/inference\n", "")],
    ),
    ("oci-repo-alone", 4, "0.15", [swap("  chart: oci", "  repo: oci")]),
    ("chart-of-another-version", 5, "0.16", [swap("version: 0.1.0", "version: 0.0.9")]),
    ("chart-unpinned", 4, "0.16", [swap("  version: 0.1.0\n", "")]),
    ("release-name", 3, "0.16", [swap("releaseName: meter", f"releaseName: {'m' * 54}")]),
    ("release-name", 3, "0.16", [swap("releaseName: meter", "releaseName: Meter")]),
    ("same-release", 3, "0.16", [copy(OTHER)]),
    ("atomic", 3, "0.16", [swap("helm:\n", "helm:\n  atomic: true\n")]),
    ("atomic", 3, "0.15", [swap("helm:\n", "helm:\n  atomic: true\n  timeoutSeconds: 60\n")]),
    ("atomic", 3, "0.14", [swap("helm:\n", "helm:\n  atomic: true\n")]),
    ("timeout", 3, "0.15", [swap("helm:\n", "helm:\n  timeoutSeconds: 60\n")]),
    (
        *("cannot-switch-off", 24, "0.16"),
        [swap("helm:\n", "helm:\n  force: true\n"), add(f"{CUSTOM}    helm: {{force: false}}\n")],
    ),
    ("namespace-not-cleared", 1, "0.16", [swap("Namespace: inference", "Namespace: '-'")]),
    ("depends-on-nobody", 20, "0.16", [add("dependsOn: [{name: nobody}]\n")]),
    (
        *("probe-too-short", 11, "0.16"),
        [swap("cameras: []", "healthcheck: {startupSeconds: 20}")],
    ),
    ("surge-without-gpu", 11, "0.16", [swap("    cameras: []\n", GPU)]),
    (
        *("disruption-budget", None, "0.16"),
        [
            write(
                f"{FOLDER}/budget.yaml",
                "apiVersion: policy/v1\nkind: PodDisruptionBudget\nspec: {minAvailable: 1}\n",
            )
        ],
    ),
    (
        *("probe-too-short", 11, "0.16"),
        [swap("cameras: []", "pod: {startupProbe: {periodSeconds: 2, failureThreshold: 5}}")],
    ),
    ("probe-too-short", None, "0.16", [write(f"{FOLDER}/pod.yaml", POD)]),
    ("surge-without-gpu", None, "0.16", [write(f"{FOLDER}/pod.yaml", POD)]),
    (
        "disruption-budget",
        11,
        "0.16",
        [swap("cameras: []", "podDisruptionBudget: {enabled: true}")],
    ),
    # values
    ("values-files-ignored", 6, "0.15", [swap("  chart: oci", "  repo: oci")]),
    (
        "release-not-named",
        6,
        "0.16",
        [swap("release.yaml", "../x.yaml"), write("release/fleet/meter/x86-openvino/x.yaml", "")],
    ),
    (
        *("release-overridden", 6, "0.16"),
        [swap("- release.yaml", "- release.yaml\n    - x.yaml"), write(f"{FOLDER}/x.yaml", "")],
    ),
    (
        *("release-overridden", 23, "0.16"),
        [add(f"{CUSTOM}    helm: {{values: {{image: {{tag: x}}}}}}\n")],
    ),
    (
        "values-too-large",
        2,
        "0.16",
        [write(f"{FOLDER}/release.yaml", f"cameras: [{'x' * 1_100_000}]")],
    ),
    (
        "values-too-large",
        2,
        "0.16",
        [write(f"{FOLDER}/release.yaml", f"cameras: [{'x' * 900_000}]")],
    ),
    ("values-refused", 11, "0.16", [swap("cameras: []", "cameras: 3")]),
    ("values-refused", 8, "0.16", [swap("cameras: []", "camera: []")]),
    ("values-refused", 11, "0.16", [swap("cameras: []", "alerts: {confidenceTreshold: 0.5}")]),
    ("values-refused", 11, "0.16", [swap("cameras: []", "resources: {limits: {memory: 4GB}}")]),
    (
        *("values-refused", 23, "0.16"),
        [add(f"{CUSTOM}    helm: {{values: {{alerts: {{confidenceThreshold: 2}}}}}}\n")],
    ),
    (
        *("values-not-merged", 23, "0.16"),
        [
            swap("cameras: []", "cameras: [a]"),
            add(f"{CUSTOM}    helm: {{values: {{cameras: [b]}}}}\n"),
        ],
    ),
    # tags
    ("tag-malformed", None, "0.16", [runs(TAG, text="image: {tag: latest}\n")]),
    ("tag-malformed", None, "0.16", [runs(TAG, text="image: 3\n")]),
    ("release-edited", None, "0.16", [runs(TAG, text=f"image: {{tag: '{TAG}@{DIGEST}'}}\n")]),
    ("tag-of-another-device", None, "0.16", [runs("v1.0-dgpu-x86-fp16-3f2a91c04b7e")]),
    ("tag-without-digest", None, "0.16", [runs(TAG, None)]),
    (
        "tag-of-another-image",
        None,
        "0.16",
        [runs(TAG), image("sha256:" + "1" * 64, "r.example.com/m")],
    ),
    ("tag-unknown", None, "0.16", [runs("v1.0-x86-openvino-fp16-aaaaaaaaaaaa")]),
    ("tag-quarantined", None, "0.16", [runs(TAG), quarantine]),
    ("tag-not-trusted", None, "0.16", [runs(TAG), key("ours")]),
    ("tag-not-trusted", None, "0.16", [runs(TAG), key("ours"), signed("others")]),
    ("tag-not-pushed", None, "0.16", [runs(TAG), image(DIGEST)]),
    ("image-without-runtime", None, "0.16", [runs(TAG), image(DIGEST, "registry.example.com/m")]),
    # sites
    (
        *("password-in-git", None, "0.16"),
        [swap("cameras: []", "cameras: ['rtsp://admin:secret@10.0.0.3/stream']")],
    ),
    (
        *("password-in-git", None, "0.16"),
        [swap("cameras: []", "cameras: ['rtsp://10.0.0.3/1?user=admin&password=secret']")],
    ),
    (
        *("site-selects-another", None, "0.16"),
        [
            write(
                "release/fleet/gitrepo.yaml",
                "kind: GitRepo\nspec: {paths: [release/fleet/sites/*]}\n",
            ),
            write("release/fleet/sites/gate/fleet.yaml", SITE),
            write("release/fleet/sites/gate/configmap.yaml", CONFIG),
        ],
    ),
    (
        *("site-without-config", None, "0.16"),
        [
            write(
                "release/fleet/gitrepo.yaml",
                "kind: GitRepo\nspec: {paths: [release/fleet/sites/*]}\n",
            ),
            write("release/fleet/sites/dock/fleet.yaml", SITE),
            write("release/fleet/sites/dock/other.yaml", CONFIG),
        ],
    ),
    (
        *("site-without-config", None, "0.16"),
        [
            write("release/fleet/gitrepo.yaml", SITES),
            write("release/fleet/sites/dock/fleet.yaml", SITE),
            write("release/fleet/sites/dock/configmap.yaml", CONFIG.replace("canary", "A b")),
        ],
    ),
    (
        *("site-selects-another", None, "0.16"),
        [
            write("release/fleet/gitrepo.yaml", SITES),
            write("release/fleet/sites/dock/fleet.yaml", SITE),
            write("release/fleet/sites/dock/configmap.yaml", CONFIG.replace("dock", "gate")),
        ],
    ),
    (
        *("site-in-another-namespace", None, "0.16"),
        [
            write("release/fleet/gitrepo.yaml", SITES),
            write("release/fleet/sites/dock/fleet.yaml", SITE),
            write("release/fleet/sites/dock/configmap.yaml", CONFIG),
            swap("defaultNamespace: inference", "defaultNamespace: plant"),
        ],
    ),
    ("allowed-for-nothing", 2, "0.16", [swap("helm:\n", "helm:  # lint: allow atomic\n")]),
]

CLUSTERS = """clusters:
  - {name: a, labels: {device: x86-openvino, ring: canary, half: one}}
  - {name: b, labels: {device: x86-openvino, ring: canary, half: one}}
  - {name: c, labels: {device: x86-openvino, ring: canary, half: two}}
  - {name: d, labels: {device: x86-openvino, ring: canary, half: two}}
"""
D = "  - {name: d, labels: {device: x86-openvino, ring: canary, half: two}}\n"

AGAINST: list[tuple[str, str, list[Edit]]] = [
    (
        *("site-in-another-ring", CLUSTERS.replace("ring: canary", "ring: pilot, site: dock")),
        [
            write("release/fleet/gitrepo.yaml", SITES),
            write("release/fleet/sites/dock/fleet.yaml", SITE),
            write("release/fleet/sites/dock/configmap.yaml", CONFIG),
        ],
    ),
    ("no-folder", CLUSTERS.replace("canary, half: two", "later, half: two"), []),
    ("no-folder", f"{CLUSTERS}  - {{name: e, labels: {{device: x87, ring: canary}}}}\n", []),
    ("cluster-unlabelled", f"{CLUSTERS}  - name: e\n", []),
    (
        "cluster-unlabelled",
        '{"items": [{"kind": "Cluster", "metadata": {"name": "e", "labels": {"device": "a b"}}}]}',
        [],
    ),
    ("nobody-selected", CLUSTERS.replace("ring: canary", "ring: pilot"), []),
    ("template-fails", CLUSTERS, [swap("cameras: []", "x: '${ .ClusterLabels.site }'")]),
    ("template-unknown", CLUSTERS, [swap("cameras: []", "x: '${ randAlpha 3 }'")]),
    (
        *("label-missing", CLUSTERS),
        [swap("cameras: []", "x: global.fleet.clusterLabels.site")],
    ),
    ("customization-never", CLUSTERS, [add(CUSTOM)]),
    (
        *("customization-never", CLUSTERS),
        [add("targetCustomizations:\n  - clusterSelector: {}\n  - {clusterName: a}\n")],
    ),
    (
        *("no-customization", CLUSTERS),
        [add("targetCustomizations: [{clusterName: a, helm: {values: {cameras: []}}}]\n")],
    ),
    ("two-folders", CLUSTERS, [copy("release/fleet/meter/x86-openvino/pilot")]),
    (
        "no-gate",
        "\n".join(
            row.replace("one", "two") if "name: b" in row else row for row in CLUSTERS.splitlines()
        ),
        [swap(LIMIT, PARTITIONS)],
    ),
    (
        "cluster-in-no-partition",
        CLUSTERS.replace(D, D.replace("half: two", "x: y")),
        [swap(LIMIT, PARTITIONS)],
    ),
    (
        *("cluster-in-two-partitions", CLUSTERS),
        [swap(LIMIT, PARTITIONS.replace("{matchLabels: {half: two}}", "{}"))],
    ),
    (
        "tag-measured-elsewhere",
        CLUSTERS.replace("half: one", "half: one, architecture: other"),
        [runs(TAG), key("ours"), signed("ours")],
    ),
    (
        "partition-never-starts",
        CLUSTERS.replace("half: one", "half: two"),
        [swap(LIMIT, PARTITIONS)],
    ),
]


def test_the_folder_is_in_order(root: Path) -> None:
    assert findings(root) == findings(root, clusters=CLUSTERS) == []
    assert findings(root, "0.12") == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_each_rule(root: Path, case: Case) -> None:
    code, line, version, edits = case
    for edit in edits:
        edit(root)
    found = [one for one in findings(root, version) if one.rule.code == code]
    assert found, [one.rule.code for one in findings(root, version)]
    if line is not None:
        assert line in [one.line for one in found if one.file.endswith("fleet.yaml")]


@pytest.mark.parametrize("case", AGAINST, ids=lambda case: case[0])
def test_each_rule_against_clusters(root: Path, case: tuple[str, str, list[Edit]]) -> None:
    code, clusters, edits = case
    for edit in edits:
        edit(root)
    found = findings(root, clusters=clusters)
    assert code in [one.rule.code for one in found], [one.rule.code for one in found]


def test_no_rule_is_without_a_test() -> None:
    of_the_registry = {"chart-not-in-registry", "tag-not-in-registry"}
    tried = {case[0] for case in CASES} | {case[0] for case in AGAINST} | of_the_registry
    assert tried == set(RULES)


def test_a_release_that_a_trusted_key_signed(root: Path) -> None:
    """Until there is one, nobody's signature counts, which the first promotion says."""
    runs(TAG)(root)
    assert findings(root) == []
    for edit in (signed("ours"), key("ours")):
        edit(root)
        assert findings(root) == []
    key("others")(root)
    (root / "release/trust/keys/ours.json").unlink()
    (found,) = findings(root)
    assert (found.rule.code, found.line) == ("tag-not-trusted", 3)
    assert "which is none of the trusted keys" in found.text


def test_a_cluster_whose_system_was_updated(root: Path) -> None:
    for edit in (runs(TAG), signed("ours")):
        edit(root)
    measured = statement_of(root / "signed").predicate
    here = f"architecture: {measured.device.architecture}"
    same = CLUSTERS.replace("half: one", f"half: one, {here}, backend: {measured.backend}")
    other = same.replace(here, "architecture: m68k")
    # Nobody trusts the statement yet, so nothing is known of what it was measured on.
    assert findings(root, clusters=other) == []
    key("ours")(root)
    assert findings(root, clusters=same) == []
    found = findings(root, clusters=other)
    assert [one.rule.code for one in found] == ["tag-measured-elsewhere"]
    assert f"was measured on backend {measured.backend}, {here.replace(':', '')}, but a has " in (
        found[0].text
    )


def test_a_gitrepo_of_the_branch_that_moves_go_to(root: Path) -> None:
    write("release/rings.yaml", RINGS)(root)
    for text in (MAIN, MAIN.replace("  branch: main\n", ""), f"{MAIN}  revision: main\n"):
        write("release/fleet/gitrepo.yaml", text)(root)
        assert findings(root) == []
    write("release/fleet/gitrepo.yaml", OTHER_BRANCH)(root)
    (found,) = findings(root)
    assert (found.file, found.line) == ("release/fleet/gitrepo.yaml", 4)
    assert found.text == "moves go to the branch main, but Fleet reads the branch fleet"


def test_a_ring_whose_folder_somebody_took_away(root: Path) -> None:
    rings = "schema: 1\nrings: [{name: canary}, {name: pilot}]\n"
    for edit in (write("release/rings.yaml", rings), copy("release/fleet/meter/dgpu-x86/canary")):
        edit(root)
    said = [one.text for one in findings(root) if one.rule.code == "ring-without-folder"]
    assert said == ["pilot has no folder of meter on dgpu-x86, x86-openvino"]
    for target in ("dgpu-x86", "x86-openvino"):
        write(f"release/fleet/meter/{target}/pilot/fleet.yaml", "helm: {\n")(root)
    # What Fleet cannot read is there all the same.
    assert "ring-without-folder" not in [one.rule.code for one in findings(root)]


@pytest.mark.parametrize("filled", ["global.fleet.clusterLabels.registry", '"${ .ClusterName }/m"'])
def test_what_fleet_fills_in_is_not_held_against_the_schema(root: Path, filled: str) -> None:
    swap("registry.example.com/jetrail/meter", filled)(root)
    assert findings(root) == []


def test_a_label_that_is_a_value_is_missed_where_it_is_not(root: Path) -> None:
    swap("cameras: []", "x: global.fleet.clusterLabels.half")(root)
    clusters = CLUSTERS.replace(", half: two", "")
    said = [
        one.text for one in findings(root, clusters=clusters) if one.rule.code == "label-missing"
    ]
    assert said == ["'half', of 4 clusters 2 lack it: c, d"]
    assert "label-missing" not in [one.rule.code for one in findings(root, clusters=CLUSTERS)]


def test_what_is_fine_in_one_version_is_not_in_another(root: Path) -> None:
    swap("helm:\n", "helm:\n  atomic: true\n  timeoutSeconds: 60\n")(root)
    assert [one.rule.code for one in findings(root, "0.14")] == []
    assert [one.rule.code for one in findings(root, "0.15")] == ["atomic"]


def test_a_release_with_all_its_records_is_in_order(root: Path) -> None:
    runtime = f"cameras: []\n    runtime: {{image: registry.example.com/base@{DIGEST}}}"
    mounted = swap("cameras: []", runtime)
    for edit in (runs(TAG), image(DIGEST, "registry.example.com/jetrail/meter"), mounted):
        edit(root)
    assert findings(root) == []
    workspace = Workspace(root=root)
    asked: list[tuple[str, str]] = []

    def absent(repository: str, digest: str) -> str:
        asked.append((repository, digest))
        return "not found"

    found = lint(workspace, in_registry=absent)
    assert [one.rule.code for one in found.findings] == [
        "chart-not-in-registry",
        "tag-not-in-registry",
    ]
    assert asked == [
        ("registry.example.com/jetrail/meter", DIGEST),
        ("registry.example.com/jetrail/charts/inference", "0.1.0"),
    ]
    assert not lint(workspace, in_registry=lambda repository, digest: "").findings


def test_the_registry_is_asked(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry that has one digest, as `Client` speaks to it."""

    class Answers:
        def __init__(self, **words: object) -> None:
            assert str(words["repository"]) == "registry.example.com/jetrail/meter"

        def manifest(self, digest: str) -> bytes | None:
            return b"{}" if digest == DIGEST else None

    monkeypatch.setattr(step, "Client", Answers)
    ask = step.asks_registry(Workspace(root=root), print)
    assert ask("registry.example.com/jetrail/meter", DIGEST) == ""
    assert ask("registry.example.com/jetrail/meter", "sha256:1") == "not found"


def test_the_chart_of_the_registry_is_held_against_that_of_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody edited it and raised no version: clusters run what is there."""
    chart = tmp_path / "release" / "charts" / "inference"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("name: inference\nversion: 0.1.1\n")
    (chart / "templates" / "pod.yaml").write_text("{}\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(chart, "inference")
    layers = json.dumps({"layers": [{"mediaType": CONTENT, "digest": "d"}]}).encode()
    monkeypatch.setattr(Client, "manifest", lambda *_: layers)
    monkeypatch.setattr(Client, "blob", lambda *_: packed.getvalue())

    def ask(version: str) -> str:
        asks = step.asks_registry(Workspace(root=tmp_path), print)
        return asks("registry.example.com/jetrail/charts/inference", version)

    assert ask("0.1.1") == ""
    (chart / "templates" / "pod.yaml").write_text("{a: b}\n")
    assert ask("0.1.1") == "templates/pod.yaml of release/charts/inference is another one there"
    assert ask("0.1.0") == ""  # nobody has that one here


def test_clusters_that_pull_from_where_nobody_pushed_to(root: Path) -> None:
    mounted = swap("cameras: []", f"cameras: []\n    runtime: {{image: r.example.com/b@{DIGEST}}}")
    for edit in (runs(TAG), image(DIGEST, "registry.example.com/elsewhere/meter"), mounted):
        edit(root)
    (found,) = findings(root)
    assert (found.rule.code, found.file) == ("tag-not-pushed", f"{FOLDER}/fleet.yaml")
    assert found.text == (
        "it was pushed to registry.example.com/elsewhere/meter, but clusters pull "
        "registry.example.com/jetrail/meter"
    )
    swap("/jetrail/meter\n", "/jetrail/meter  # lint: allow tag-not-pushed: a mirror\n")(root)
    assert findings(root) == []


def test_a_comment_allows(root: Path) -> None:
    swap("    cameras: []\n", GPU)(root)
    assert [one.rule.code for one in findings(root)] == ["surge-without-gpu"]
    swap("gpu: 1}}", "gpu: 1}}  # lint: allow surge-without-gpu: they share it")(root)
    assert findings(root) == []


def test_crlf_and_anchors_are_no_trouble(root: Path) -> None:
    text = CLEAN.replace("maxUnavailable: 1", "maxUnavailable: &one 1\n  maxNew: *one")
    (root / FOLDER / "fleet.yaml").write_bytes(text.replace("\n", "\r\n").encode())
    assert findings(root) == []


def test_our_own_folders_are_in_order() -> None:
    for version in ("0.12", "0.13", "0.14", "0.15", "0.16"):
        assert lint(Workspace(root=ROOT), fleet_version=version).text == "nothing found"


def test_formats(root: Path) -> None:
    swap("maxUnavailable: 1", "maxUnavailable: 0")(root)
    add("    x: y\n")(root)
    workspace = Workspace(root=root)
    text = lint(workspace).text.splitlines()
    assert text[0] == (
        f"{FOLDER}/fleet.yaml:13: error: max-zero: maxUnavailable 0 never changes a cluster that "
        "is ready."
    )
    assert text[-1] == "2 errors"
    sarif = json.loads(lint(workspace, form="sarif").text)
    run = sarif["runs"][0]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == list(RULES)
    result = run["results"][0]
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == f"{FOLDER}/fleet.yaml"
    assert place["region"] == {"startLine": 13}
    schema = json.loads((ROOT / "tests/documented/sarif-schema-2.1.0.json").read_text())
    assert [one.message for one in Draft4Validator(schema).iter_errors(sarif)] == []
    rows = json.loads(lint(workspace, form="gitlab").text)
    assert {"description", "check_name", "fingerprint", "severity", "location"} == set(rows[0])
    assert rows[0]["severity"] == "critical"
    assert len({row["fingerprint"] for row in rows}) == 2
    for (
        row
    ) in rows:  # https://docs.gitlab.com/ci/testing/code_quality, "Code Quality report format"
        assert row["severity"] in ("info", "minor", "major", "critical", "blocker")
        path = row["location"]["path"]
        assert not path.startswith((".", "/"))
        assert (root / path).is_file()
        assert row["location"]["lines"]["begin"] >= 1


def test_bad_input(root: Path) -> None:
    with pytest.raises(InputError, match="text, sarif, gitlab"):
        lint(Workspace(root=root), form="xml")
    with pytest.raises(InputError, match="a more than once"):
        findings(root, clusters="clusters: [{name: a}, {name: a}]")
    with pytest.raises(InputError, match="the code of a rule"):
        explained("nobody")


def test_explained() -> None:
    assert explained("atomic").startswith("atomic (error)\n")
    for rule in RULES.values():
        assert rule.title.endswith(".")
        assert rule.why.endswith(".")
        assert len(rule.title) <= 80


@pytest.mark.parametrize(
    ("edit", "code"),
    [(None, 0), (swap(LIMIT, ""), 0), (swap("Unavailable: 1", "Unavailable: 0"), 2)],
)
def test_exit_codes(
    root: Path, monkeypatch: pytest.MonkeyPatch, edit: Edit | None, code: int
) -> None:
    if edit:
        edit(root)
    monkeypatch.chdir(root)
    assert CliRunner().invoke(commands, ["lint"]).exit_code == code
    assert CliRunner().invoke(commands, ["lint", "--explain", "atomic"]).exit_code == 0


def test_the_table_in_the_docs_has_every_rule() -> None:
    text = (ROOT / "docs" / "rollout.md").read_text()
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    table = {
        row[1].strip().strip("`"): (row[2].strip(), row[3].strip()) for row in rows if len(row) > 4
    }
    for rows_of in SUBJECTS.values():
        for rule in rows_of:
            assert table[rule.code] == (rule.severity, rule.title), rule.code
