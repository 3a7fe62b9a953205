"""What Fleet would bring to one site: releases, values and the site's own ConfigMap."""

from __future__ import annotations

import base64
import gzip
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from engines.config.rings import load_rings
from engines.config.site import Site
from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import listed
from release.image.chart import name_and_version
from release.rollout.clusters.inventory import Cluster, Inventory
from release.rollout.reading.tree import read_tree, readable
from release.rollout.reading.version import parse_version
from release.rollout.targets.options import namespace_of
from release.rollout.targets.placement import BundleStops, TargetedCluster, place
from release.sites.folder import read_site, site_folder
from release.tags import Tag, parse_tag


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """One Helm release of the site."""

    name: str
    namespace: str
    tag: Tag
    repository: str
    runtime: str
    """`name@sha256:…` of the runtime's image that the engine is mounted into; empty: the release's
    image has it."""
    chart: str
    """The version of the chart that its fleet.yaml pins."""
    values: dict[str, Any]
    """As Fleet would merge them for this very cluster."""


def deployed_at(workspace: Workspace, name: str) -> tuple[Site, list[Deployed]]:
    """A site, and what runs there by the files of this clone. Raises InputError where nothing does,
    a tag has no digest, or Fleet cannot read one of the files."""
    site = read_site(workspace, name)
    labels = {
        "device": load_target(workspace, site.target).fleet_label,
        "ring": site.ring,
        "site": name,
    }
    version = parse_version(None)
    inventory = Inventory((Cluster(name, labels),))
    found = []
    for bundle in readable(read_tree(workspace.root, version)).bundles:
        try:
            placed = place(bundle, inventory, version)
        except BundleStops as error:
            raise InputError(f"{bundle.place}: {error}. Fix it, see `release lint`.") from error
        found += [_deployed(bundle.place, one) for one in placed if one.tag]
    if not found:
        rings = load_rings(workspace).names
        if site.ring not in rings:
            raise InputError(
                f"Expected one of the rings {', '.join(rings)} in {site_folder(workspace, name)}, "
                f"got {site.ring!r}. Fix it there, and the label of its cluster."
            )
        shown = ", ".join(f"{key}={value}" for key, value in labels.items())
        raise InputError(
            f"Expected a release for {name}, whose cluster has the labels {shown}, but no ring of "
            "this clone gives it one. Promote one to its ring and `git pull`."
        )
    return site, found


def _deployed(where: str, one: TargetedCluster) -> Deployed:
    tag = parse_tag(one.tag)
    if tag.digest is None:
        raise InputError(
            f"Expected a tag with a digest in {where}, got {one.tag}. Pack it, and write the ring."
        )
    helm = one.options.get("helm") or {}
    values = dict(helm.get("values") or {})
    return Deployed(
        name=str(helm.get("releaseName") or "inference"),
        namespace=namespace_of(one.options),
        tag=tag,
        repository=str((values.get("image") or {}).get("repository") or ""),
        runtime=str((values.get("runtime") or {}).get("image") or ""),
        chart=str(helm.get("version") or ""),
        values=values,
    )


def chart_archive(folder: Path, deployed: Sequence[Deployed]) -> tuple[str, bytes]:
    """The chart as Helm packs one: `<name>-<version>.tgz` and its bytes, the same each time. Raises
    InputError where a ring of `deployed` pins another version."""
    name, version = name_and_version(folder)
    for one in deployed:
        if one.chart != version:
            raise InputError(
                f"Expected the chart {one.chart or 'without a version'} that the fleet.yaml of "
                f"{one.tag.name} pins, but {folder} is {version}. Pack the bundle in a "
                "clone of the commit with that chart, or have the ring pin the new one first."
            )
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in _files(folder):
            data = path.read_bytes()
            entry = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return f"{name}-{version}.tgz", gzip.compress(packed.getvalue(), mtime=0)


def helm_manifest(one: Deployed, chart: bytes) -> bytes:
    """What K3s' own Helm controller installs, with the chart in it: no network is asked
    (https://docs.k3s.io/add-ons/helm)."""
    spec = {
        "chartContent": base64.b64encode(chart).decode(),
        "targetNamespace": one.namespace,
        "createNamespace": True,
        "valuesContent": _dump(one.values),
    }
    meta = {"name": one.name, "namespace": "kube-system"}
    content = {"apiVersion": "helm.cattle.io/v1", "kind": "HelmChart", "metadata": meta}
    return _dump({**content, "spec": spec}).encode()


def values_file(one: Deployed) -> bytes:
    """The values of a release as a file, for people and for `helm`."""
    return _dump(one.values).encode()


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in listed(folder, "**/*") if path.is_file())


def _dump(content: Any) -> str:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()
