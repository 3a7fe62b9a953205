"""Other cases of the same traps, each by the rule that must find it; and what is no trap at all."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.unit.release.rollout.folders import (
    CONFIG,
    FOLDER,
    GPU,
    LIMIT,
    SITE,
    SITES,
    TAG,
    Edit,
    add,
    copy,
    findings,
    runs,
    swap,
    write,
)

CHART = "  chart: oci://registry.example.com/jetrail/charts/inference\n"
ONE = "targetCustomizations:\n  - name: one\n    clusterSelector: {matchLabels: {site: a}}\n"
HALVES = """rolloutStrategy:
  partitions:
    - {name: first, maxUnavailable: 1, clusterSelector: {matchLabels: {half: one}}}
    - {name: second, maxUnavailable: 1, clusterSelector: {matchLabels: {half: two}}}
    - {name: rest, maxUnavailable: 1, clusterSelector: {matchLabels: {half: rest}}}
"""
VALUES = "    cameras: []\n"
POD = """\
kind: {kind}
spec:
  template:
    spec:
      containers:
        - {probe}
"""
BUDGET = "kind: PodDisruptionBudget\nspec: {{selector: {{matchLabels: {{app: x}}}}, {says}}}\n"
RINGS = "[{key: ring, operator: In, values: [canary, b]}]"
TEMPLATE = """\
{{- if .Values.pdb }}
kind: PodDisruptionBudget
metadata:
  name: {{ .Release.Name }}
spec: {minAvailable: 1}
{{- end }}
"""
WORKLOAD = """\
kind: Deployment
spec: {{replicas: {count}, template: {{metadata: {{labels: {{app: x, tier: y}}}}}}}}
"""


def helm(line: str) -> Edit:
    return swap("helm:\n", f"helm:\n  {line}\n")


def target(text: str) -> Edit:
    return add(f"{ONE}    {text}\n")


def value(text: str) -> Edit:
    return swap(VALUES, f"    {text}\n")


def inside(folder: str, old: str, new: str) -> Edit:
    """Another text in the fleet.yaml of another folder."""

    def edit(root: Path) -> None:
        path = root / folder / "fleet.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return edit


def in_bytes(name: str, old: bytes, new: bytes) -> Edit:
    """Another text in a file of the folder, line ends as they are."""

    def edit(root: Path) -> None:
        path = root / FOLDER / name
        path.write_bytes(path.read_bytes().replace(old, new))

    return edit


def other_ending(root: Path) -> None:
    """What Fleet reads where there is no fleet.yaml."""
    (root / FOLDER / "fleet.yaml").rename(root / FOLDER / "fleet.yml")


def own_chart(root: Path) -> None:
    """The chart in a folder of its own inside the folder, as every Fleet deploys it."""
    shutil.copytree(root / "release/charts/inference", root / FOLDER / "chart")


def partitions(old: str, new: str) -> Edit:
    assert old in HALVES
    return swap(LIMIT, HALVES.replace(old, new))


def chart(at: str) -> Edit:
    return swap(CHART, f"  chart: {at}\n")


def link(root: Path) -> None:
    """A chart that a link brings into the folder."""
    (root / FOLDER / "chart").symlink_to(root / "release/charts/inference")


FOUND: list[tuple[str, str, list[Edit]]] = [
    # A chart outside the bundle's own folder.
    ("chart-outside", "0.16", [chart("../../../charts/inference")]),
    ("chart-outside", "0.12", [chart("./../canary/../pilot/chart")]),
    ("chart-outside", "0.16", [chart("/release/charts/inference")]),
    ("chart-outside", "0.16", [target("helm: {chart: ../chart}")]),
    ("file-unreadable", "0.12", [chart("chart"), link]),
    ("file-unreadable", "0.16", [chart("chart"), link]),
    ("chart-missing", "0.16", [chart("inference")]),
    ("chart-missing", "0.16", [chart("Chart"), own_chart]),
    ("nothing-deployed", "0.16", [swap(CHART, ""), swap("  version: 0.1.0\n", "")]),
    ("chart-unpinned", "0.16", [swap("version: 0.1.0", "version: '>=0.1.0'")]),
    ("chart-unpinned", "0.16", [swap("version: 0.1.0", "version: 0.1.x")]),
    ("chart-unpinned", "0.16", [swap("version: 0.1.0", "version: '*'")]),
    # Two folders of one model for one cluster.
    (
        "two-folders",
        "0.16",
        [
            swap("ring: canary", "ring: canary\n      matchExpressions: []"),
            copy("release/fleet/meter/x86-openvino/pilot"),
        ],
    ),
    (
        "two-folders",
        "0.16",
        [
            swap("        ring: canary\n", f"      matchExpressions: {RINGS}\n"),
            copy("release/fleet/meter/x86-openvino/pilot"),
            inside("release/fleet/meter/x86-openvino/pilot", "[canary, b]", "[b, production]"),
        ],
    ),
    # A folder in a folder.
    ("folder-within-folder", "0.12", [write(f"{FOLDER}/a/fleet.yml", SITE)]),
    ("folder-within-folder", "0.16", [write(f"{FOLDER}/a/b/fleet.yaml", SITE)]),
    # Limits and partitions.
    ("no-gate", "0.16", [partitions("  part", "  maxUnavailablePartitions: 1\n  part")]),
    ("no-gate", "0.16", [partitions("  part", "  maxUnavailablePartitions: 0%\n  part")]),
    ("no-gate", "0.16", [partitions("  part", "  maxUnavailablePartitions: 67%\n  part")]),
    ("no-gate", "0.16", [partitions("second, maxUnavailable: 1", "second, maxUnavailable: 150%")]),
    ("no-gate", "0.16", [partitions("first, maxUnavailable: 1", "first")]),
    ("no-gate", "0.16", [partitions(LIMIT[:0], ""), swap("first, maxUnavailable: 1", "first")]),
    (
        "partition-never-starts",
        "0.16",
        [partitions("rest, maxUnavailable: 1", "rest, maxUnavailable: -1")],
    ),
    (
        "partition-never-starts",
        "0.16",
        [
            partitions(
                "{name: rest, maxUnavailable: 1, clusterSelector: {matchLabels: {half: rest}}}",
                "{name: rest, maxUnavailable: 1}",
            )
        ],
    ),
    ("max-zero", "0.16", [swap("maxUnavailable: 1", "maxUnavailable: -3")]),
    ("max-zero", "0.16", [partitions("  part", "  maxUnavailable: 0\n  part")]),
    ("bad-amount", "0.16", [partitions("first, maxUnavailable: 1", "first, maxUnavailable: half")]),
    ("bad-amount", "0.16", [swap(LIMIT, f"{LIMIT}  autoPartitionSize: a quarter\n")]),
    ("bad-amount", "0.16", [swap("maxUnavailable: 1", "maxUnavailable: '10 %'")]),
    ("bundle-wide-limit", "0.16", [partitions("  part", "  maxUnavailable: 50%\n  part")]),
    ("no-limit", "0.16", [swap(LIMIT, "rolloutStrategy: {autoPartitionSize: 1}\n")]),
    ("no-limit", "0.16", [swap("maxUnavailable: 1", "maxUnavailable: 250%")]),
    # atomic and timeouts, by version.
    ("atomic", "0.14", [target("helm: {atomic: true}")]),
    (
        "atomic",
        "0.14",
        [helm("timeoutSeconds: 60"), target("helm: {atomic: true, timeoutSeconds: -1}")],
    ),
    ("atomic", "0.15", [helm("timeoutSeconds: 60"), target("helm: {atomic: true}")]),
    ("atomic", "0.12", [helm("atomic: yes")]),
    ("timeout", "0.16", [target("helm: {timeoutSeconds: 5}")]),
    # Keys that a version drops or ignores, and what a target cannot do.
    ("key-dropped", "0.15", [add("targetCustomizationMode: AllMatches\n")]),
    ("key-dropped", "0.14", [swap(LIMIT, f"{LIMIT}  autoPartitionThreshold: 5\n")]),
    ("key-dropped", "0.13", [add("downstreamResources: [{kind: Secret, name: x}]\n")]),
    ("key-dropped", "0.16.0", [add("createNamespace: true\n")]),
    (
        "key-dropped",
        "0.12",
        [write("release/fleet/gitrepo.yaml", "kind: GitRepo\nspec: {bundles: [{base: x}]}\n")],
    ),
    (
        "bundles-not-looked-at",
        "0.13",
        [write("release/fleet/gitrepo.yaml", "kind: GitRepo\nspec: {bundles: [{base: x}]}\n")],
    ),
    ("value-unknown", "0.16", [add("targetCustomizationMode: allMatches\n")]),
    ("value-unknown", "0.16", [add("targetCustomizationMode: All\n")]),
    ("key-unknown", "0.16", [swap("chart: oci", "charts: oci")]),
    ("key-unknown", "0.16", [swap("  - name: canary\n", "  - name: canary\n    namespace: x\n")]),
    ("key-unknown", "0.16", [swap("        ring", "        ring: canary\n      x-ring")]),
    ("key-case", "0.16", [swap("overrideTargets:", "overridetargets:")]),
    (
        "key-twice",
        "0.16",
        [swap("        ring: canary\n", "        ring: a\n        ring: canary\n")],
    ),
    ("key-ignored-in-target", "0.16", [target("helm: {skipSchemaValidation: true}")]),
    ("key-ignored-in-target", "0.16", [target("ignore: {conditions: []}")]),
    ("namespace-labels-everywhere", "0.16", [target("namespaceAnnotations: {a: b}")]),
    (
        "cannot-switch-off",
        "0.16",
        [helm("disablePreProcess: true"), target("helm: {disablePreProcess: false}")],
    ),
    ("cannot-switch-off", "0.16", [add("keepResources: true\n"), target("keepResources: false")]),
    (
        "cannot-switch-off",
        "0.14",
        [helm("timeoutSeconds: 60"), target("helm: {timeoutSeconds: 0}")],
    ),
    # Names of targets and releases.
    (
        "same-target-name",
        "0.16",
        [add("targetCustomizations: [{clusterName: a}, {name: target000, clusterName: b}]\n")],
    ),
    (
        "same-target-name",
        "0.16",
        [
            add(
                "targets: [{name: x, clusterName: a}]\n"
                "targetCustomizations: [{name: x, clusterName: b}]\n"
            )
        ],
    ),
    ("illegal-target-name", "0.16", [add("targetCustomizations: [{name: a/b, clusterName: a}]\n")]),
    ("illegal-target-name", "0.16", [add("targetCustomizations: [{name: ä, clusterName: a}]\n")]),
    ("release-name", "0.16", [swap("releaseName: meter", "releaseName: meter..one")]),
    ("release-name", "0.16", [swap("releaseName: meter", "releaseName: meter_one")]),
    ("release-name", "0.16", [target(f"helm: {{releaseName: {'m' * 60}}}")]),
    ("release-name", "0.16", [swap("releaseName: meter", "releaseName: '${ .ClusterName }'")]),
    # Templates.
    ("template-may-fail", "0.16", [target("helm: {values: {x: '${ .ClusterLabels.dock }'}}")]),
    ("template-may-fail", "0.16", [helm("templateValues: {x: '${ .ClusterLabels.dock }'}")]),
    ("template-may-fail", "0.16", [value("x: '${ .ClusterAnnotations.dock }'")]),
    ("template-may-fail", "0.16", [value("x: '${ with .ClusterLabels }${ .dock }${ end }'")]),
    ("template-may-fail", "0.16", [value("x: '${ nothing }'")]),
    # Values.
    ("values-refused", "0.16", [value("healthcheck: {inferenceTest: maybe}")]),
    ("values-refused", "0.16", [target("helm: {values: {resources: 3}}")]),
    ("release-overridden", "0.16", [target("helm: {values: {model: {version: '9'}}}")]),
    (
        "release-overridden",
        "0.16",
        [target("helm: {valuesFiles: [x.yaml]}"), write(f"{FOLDER}/x.yaml", "image: {tag: x}")],
    ),
    ("release-not-named", "0.16", [swap("  valuesFiles:\n    - release.yaml\n", "")]),
    (
        "values-not-merged",
        "0.16",
        [value("tolerations: [{key: a}]"), target("helm: {values: {tolerations: []}}")],
    ),
    # Pods.
    ("probe-too-short", "0.16", [target("helm: {values: {healthcheck: {startupSeconds: 5}}}")]),
    (
        "probe-too-short",
        "0.16",
        [
            write(
                f"{FOLDER}/p.yaml",
                POD.format(kind="DaemonSet", probe="livenessProbe: {initialDelaySeconds: 10}"),
            )
        ],
    ),
    (
        "probe-too-short",
        "0.16",
        [
            write(
                f"{FOLDER}/p.yaml",
                POD.format(kind="StatefulSet", probe="startupProbe: {httpGet: {}}"),
            )
        ],
    ),
    (
        "probe-too-short",
        "0.16",
        [write(f"{FOLDER}/p.yaml", "kind: Deployment\nspec: {progressDeadlineSeconds: 20}\n")],
    ),
    (
        "probe-too-short",
        "0.16",
        [
            write(
                f"{FOLDER}/c/templates/p.yaml",
                "{{- if .Values.x }}\n"
                + POD.format(kind="Deployment", probe="startupProbe: {periodSeconds: 1}")
                + "{{- end }}\n",
            )
        ],
    ),
    (
        "surge-without-gpu",
        "0.16",
        [target("helm: {values: {resources: {limits: {nvidia.com/gpu: 1}}}}")],
    ),
    ("surge-without-gpu", "0.16", [value("resources: {limits: {nvidia.com/mig-1g.5gb: 1}}")]),
    (
        "surge-without-gpu",
        "0.16",
        [
            value(
                "resources: {limits: {nvidia.com/gpu: 1}}\n    "
                "strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 25%}}"
            )
        ],
    ),
    (
        "disruption-budget",
        "0.16",
        [write(f"{FOLDER}/b.yaml", BUDGET.format(says="maxUnavailable: 0%"))],
    ),
    (
        "disruption-budget",
        "0.16",
        [write(f"{FOLDER}/b.yaml", BUDGET.format(says="minAvailable: 50%"))],
    ),
    (
        "disruption-budget",
        "0.16",
        [
            write(
                f"{FOLDER}/b.yaml",
                BUDGET.format(says="minAvailable: 1") + "---\n" + WORKLOAD.format(count=1),
            )
        ],
    ),
    (
        "disruption-budget",
        "0.16",
        [write(f"{FOLDER}/c/templates/b.yaml", TEMPLATE)],
    ),
    ("disruption-budget", "0.16", [target("helm: {values: {pdb: {minAvailable: 100%}}}")]),
    # Tags and sites.
    ("tag-malformed", "0.16", [runs(TAG, text="model: {path: x}\n")]),
    ("tag-malformed", "0.16", [runs(TAG, text=f"image: {{tag: '{TAG}@sha256:12'}}\n")]),
    (
        "release-edited",
        "0.16",
        [
            runs(TAG),
            in_bytes("release.yaml", b"image:", b"# mine\nimage:"),
        ],
    ),
    (
        "password-in-git",
        "0.16",
        [write(f"{FOLDER}/secret.yaml", "kind: Secret\nstringData: {password: x}\n")],
    ),
    ("password-in-git", "0.16", [write(f"{FOLDER}/more/cams.yaml", "cameras: [rtsp://u:p@h/1]\n")]),
    ("password-in-git", "0.16", [target("helm: {values: {cameras: ['rtsp://u:p%40@h/1']}}")]),
    (
        "site-selects-another",
        "0.16",
        [
            write("release/fleet/gitrepo.yaml", SITES),
            write("release/fleet/sites/dock/fleet.yaml", SITE.replace("site: dock", "sites: dock")),
            write("release/fleet/sites/dock/configmap.yaml", CONFIG),
        ],
    ),
    (
        "site-without-config",
        "0.16",
        [
            write("release/fleet/gitrepo.yaml", SITES),
            write("release/fleet/sites/dock/fleet.yaml", SITE),
            write(
                "release/fleet/sites/dock/configmap.yaml",
                CONFIG.replace("ring: canary", "ring: canary, camera: 1"),
            ),
        ],
    ),
]

ANCHORS = """x-where: &where {device: x86-openvino, ring: canary}
overrideTargets:
  - {name: canary, clusterSelector: {matchLabels: *where}}
rolloutStrategy: {maxUnavailable: &most 10%}
defaultNamespace: inference
helm:
  values:
    cameras: []  # none yet
    image: {repository: registry.example.com/jetrail/meter}
  valuesFiles: [release.yaml]
  version: 0.1.0
  chart: "oci://registry.example.com/jetrail/charts/inference"
  releaseName: 'meter'
"""
GOOD: dict[str, list[Edit]] = {
    "another order, flow style, anchors": [write(f"{FOLDER}/fleet.yaml", ANCHORS)],
    "CRLF": [in_bytes("fleet.yaml", b"\n", b"\r\n")],
    "CRLF in release.yaml": [
        runs(TAG, None),
        in_bytes("release.yaml", b"\n", b"\r\n"),
    ],
    "BOM and comments": [
        in_bytes("fleet.yaml", b"defaultN", b"\xef\xbb\xbf# Ours.\n---\ndefaultN")
    ],
    "fleet.yml": [other_ending],
    "two more targets": [
        copy("release/fleet/meter/dgpu-x86/canary"),
        inside("release/fleet/meter/dgpu-x86/canary", "device: x86-openvino", "device: dgpu-x86"),
    ],
    "another model": [
        copy("release/fleet/gauge/x86-openvino/canary"),
        inside("release/fleet/gauge/x86-openvino/canary", "Name: meter", "Name: gauge"),
    ],
    "three rings": [
        edit
        for ring in ("pilot", "production")
        for edit in (
            copy(f"release/fleet/meter/x86-openvino/{ring}"),
            inside(f"release/fleet/meter/x86-openvino/{ring}", "ring: canary", f"ring: {ring}"),
        )
    ],
    "a chart inside the folder": [own_chart, chart("./chart"), swap("  version: 0.1.0\n", "")],
    "a chart in a Helm repository": [
        swap(CHART, "  repo: https://charts.example.com\n  chart: inference\n")
    ],
    "a chart by its digest": [
        swap(CHART, f"  chart: oci://r.example.com:5000/charts/x@sha256:{'a' * 64}\n"),
        swap("  version: 0.1.0\n", ""),
    ],
    "a chart from git": [
        swap(CHART, "  chart: git::https://git.example.com/charts//inference?ref=v1\n"),
        swap("  version: 0.1.0\n", ""),
    ],
    "a chart from GitHub": [
        swap(CHART, "  chart: github.com/example/charts//inference?ref=v1\n"),
        swap("  version: 0.1.0\n", ""),
    ],
    "a label with a default": [value("""x: '${ get .ClusterLabels "dock" | default "none" }'""")],
    "a label behind hasKey": [
        value("""x: '${ if hasKey .ClusterLabels "dock" }${ .ClusterLabels.dock }${ end }'""")
    ],
    "a label that is demanded": [value("x: '${ .ClusterLabels.ring }'")],
    "a label that has to exist": [
        swap(
            "        ring: canary\n",
            "        ring: canary\n      matchExpressions: [{key: site, operator: Exists}]\n",
        ),
        value("x: '${ .ClusterLabels.site }'"),
    ],
    "a label that a customization demands": [
        target("helm: {values: {x: '${ .ClusterLabels.site }'}}")
    ],
    "templates switched off": [
        value("x: '${ .ClusterLabels.dock }'"),
        helm("disablePreProcess: true"),
    ],
    "three good partitions": [swap(LIMIT, HALVES)],
    "the last partition at once": [
        partitions("rest, maxUnavailable: 1", "rest, maxUnavailable: 100%")
    ],
    "atomic with a time before Helm 4": [helm("atomic: true\n  timeoutSeconds: 600")],
    "atomic of a target with the bundle's time": [
        helm("timeoutSeconds: 600"),
        target("helm: {atomic: true}"),
    ],
    "a shared GPU": [value("resources: {limits: {nvidia.com/gpu.shared: 1}}")],
    "no GPU": [value("resources: {limits: {nvidia.com/gpu: 0}}")],
    "a GPU and Recreate": [value("strategy: Recreate"), swap("    strategy", GPU + "    strategy")],
    "liveness behind startup": [
        write(
            f"{FOLDER}/p.yaml",
            POD.format(
                kind="Deployment",
                probe="{startupProbe: {failureThreshold: 60}, livenessProbe: {periodSeconds: 5}}",
            ),
        )
    ],
    "a budget over three replicas": [
        write(
            f"{FOLDER}/b.yaml",
            BUDGET.format(says="minAvailable: 1") + "---\n" + WORKLOAD.format(count=3),
        )
    ],
    "a budget that lets one go": [
        write(f"{FOLDER}/b.yaml", BUDGET.format(says="maxUnavailable: 1"))
    ],
    "a Secret's name": [
        write(f"{FOLDER}/secret.yaml", "kind: ExternalSecret\nspec: {target: {name: gate-login}}\n")
    ],
    "a camera's user without a password": [value("cameras: ['rtsp://10.0.0.3/1']")],
    "a customization that adds to a map": [
        target("helm: {values: {alerts: {confidenceThreshold: 0.5}}}")
    ],
    "a label `ring` of several values for another folder's device": [
        copy("release/fleet/meter/dgpu-x86/canary"),
        inside("release/fleet/meter/dgpu-x86/canary", "device: x86-openvino", "device: dgpu-x86"),
        swap("helm:\n", "# A word.\n\nhelm:\n"),
    ],
    "files that Fleet leaves out": [
        write(f"{FOLDER}/.fleetignore", "# ours\nnotes.yaml\nold/*\n"),
        write(f"{FOLDER}/notes.yaml", BUDGET.format(says="minAvailable: 1")),
        write(f"{FOLDER}/old/p.yaml", BUDGET.format(says="minAvailable: 1")),
        write(f"{FOLDER}/.hidden/p.yaml", BUDGET.format(says="minAvailable: 1")),
    ],
    "a folder that a .fleetignore keeps out of the one above": [
        write(f"{FOLDER}/.fleetignore", "dock/*\n"),
        write(f"{FOLDER}/dock/fleet.yaml", SITE),
        write(f"{FOLDER}/dock/cm.yaml", CONFIG),
    ],
    "a folder that begins with another one's name": [
        copy(f"{FOLDER}-2"),
        inside(f"{FOLDER}-2", "ring: canary", "ring: canary-2"),
    ],
}


@pytest.mark.parametrize("case", FOUND, ids=lambda case: case[0])
def test_found(root: Path, case: tuple[str, str, list[Edit]]) -> None:
    code, version, edits = case
    for edit in edits:
        edit(root)
    found = findings(root, version)
    assert code in [one.rule.code for one in found], found


def test_how_bad_a_folder_in_a_folder_is(root: Path) -> None:
    """For other clusters it rolls out what nobody changed; for the same ones it is a second pod."""
    write(f"{FOLDER}/dock/fleet.yaml", SITE)(root)
    write(f"{FOLDER}/dock/cm.yaml", CONFIG)(root)
    copy(f"{FOLDER}/old")(root)
    found = [one for one in findings(root) if one.rule.code == "folder-within-folder"]
    text = f"the bundle of {FOLDER} ships what lies here too"
    # `old` is a copy with `dock` in it: each is told of the folder right above it.
    assert {(one.file.removeprefix(f"{FOLDER}/"), one.severity, one.text) for one in found} == {
        ("dock/fleet.yaml", "warning", text),
        ("old/dock/fleet.yaml", "warning", text.replace(FOLDER, f"{FOLDER}/old")),
        ("old/fleet.yaml", "error", f"{text}, to the same clusters"),
    }


@pytest.mark.parametrize("name", GOOD)
def test_no_false_alarm(root: Path, name: str) -> None:
    for edit in GOOD[name]:
        edit(root)
    version = "0.14" if name.startswith("atomic") else "0.16"
    found = findings(root, version)
    if name == "CRLF in release.yaml":  # a release on paper, of which no image was packed
        found = [one for one in found if one.rule.code != "tag-without-digest"]
    assert [(one.rule.code, one.text) for one in found] == []
