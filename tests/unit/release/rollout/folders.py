"""A repository with one folder that is in order, for lint, and edits that break it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from engines.config.workspace import Workspace
from release.packed import image_path
from release.records import Quarantine, quarantine_path
from release.rollout.lint.finding import Finding
from release.rollout.release_yaml import NOTHING, dump, values_of
from release.steps.lint import lint
from tests.unit.release.publications import IMAGE, PUBLICATION, record

ROOT = Path(__file__).parents[4]
FOLDER = "release/fleet/meter/x86-openvino/canary"
DIGEST = "sha256:" + "0" * 64
CLEAN = """defaultNamespace: inference
helm:
  releaseName: meter
  chart: oci://registry.example.com/jetrail/charts/inference
  version: 0.1.0
  valuesFiles:
    - release.yaml
  values:
    image:
      repository: registry.example.com/jetrail/meter
    cameras: []
rolloutStrategy:
  maxUnavailable: 1
overrideTargets:
  - name: canary
    clusterSelector:
      matchLabels:
        device: x86-openvino
        ring: canary
"""
SITES = "kind: GitRepo\nspec: {paths: [release/fleet/*/*/*, release/fleet/sites/*]}\n"
SITE = """overrideTargets: [{name: site, clusterSelector: {matchLabels: {site: dock}}}]
"""
CONFIG = """kind: ConfigMap
metadata: {name: jetrail-site, namespace: inference}
data:
  site.yaml: "{schema: 1, site: dock, target: x86-openvino, ring: canary}"
"""
LIMIT = "rolloutStrategy:\n  maxUnavailable: 1\n"

TAG = PUBLICATION.release
GPU = "    resources: {limits: {memory: 1Gi, nvidia.com/gpu: 1}}\n"

Edit = Callable[[Path], None]


def write(name: str, text: str) -> Edit:
    """Another file."""

    def edit(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)

    return edit


def copy(folder: str) -> Edit:
    """The same folder once more."""

    def edit(root: Path) -> None:
        shutil.copytree(root / FOLDER, root / folder)

    return edit


def swap(old: str, new: str) -> Edit:
    """Another text in fleet.yaml."""

    def edit(root: Path) -> None:
        path = root / FOLDER / "fleet.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return edit


def add(text: str) -> Edit:
    """More at the end of fleet.yaml."""
    return swap("        ring: canary\n", f"        ring: canary\n{text}")


def runs(tag: str, digest: str | None = DIGEST, text: str | None = None) -> Edit:
    """The release that the ring runs, with its records."""

    def edit(root: Path) -> None:
        workspace = Workspace(root=root)
        record(workspace, PUBLICATION)
        content = dump(values_of(PUBLICATION, digest))
        content = content.replace(PUBLICATION.release, tag)
        (root / FOLDER / "release.yaml").write_text(text or content)

    return edit


def image(digest: str, *repositories: str) -> Edit:
    def edit(root: Path) -> None:
        about = {"release": PUBLICATION.release, "digest": digest, "repositories": repositories}
        written = IMAGE.model_copy(update=about)
        written.write(image_path(Workspace(root=root), PUBLICATION.release))

    return edit


def quarantine(root: Path) -> None:
    written = Quarantine(
        release=PUBLICATION.release, why="no boxes", by="A <a@b.c>", at="2026-01-01T00:00:00Z"
    )
    written.write(quarantine_path(Workspace(root=root), PUBLICATION.release))


def make_root(folder: Path) -> Path:
    """A repository with one folder that is in order, and the chart."""
    root = folder / "clone"
    (root / FOLDER).mkdir(parents=True)
    (root / "models").mkdir()
    (root / "dvc.yaml").write_text("")
    (root / FOLDER / "fleet.yaml").write_text(CLEAN)
    (root / FOLDER / "release.yaml").write_text(dump(NOTHING))
    chart = root / "release" / "charts" / "inference"
    chart.mkdir(parents=True)
    (chart / "Chart.yaml").write_text("version: 0.1.0\n")
    for name in ("values.yaml", "values.schema.json"):
        shutil.copy(ROOT / "release" / "charts" / "inference" / name, chart)
    return root


def findings(root: Path, version: str = "0.16", clusters: str | None = None) -> list[Finding]:
    path = None
    if clusters is not None:
        path = root.parent / "clusters.yaml"
        path.write_text(clusters)
    workspace = Workspace(root=root)
    return list(lint(workspace, fleet_version=version, clusters=path).findings)
