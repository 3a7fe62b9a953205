"""`release/fleet/sites/<site>/`: what Fleet brings to the cluster with the label `site: <site>`.

    fleet.yaml        selects that cluster, and no other
    configmap.yaml    ConfigMap `jetrail-site`, whose key site.yaml is a Site

A folder of its own and not a part of a ring's: a changed camera of one site is no rollout of a
ring, and values of all sites in one bundle would not fit Fleet's Secret of 1 MiB. People's from
then on.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from engines.config.site import Site
from engines.config.workspace import Workspace
from engines.config.yaml import at_its_line, line_of, load_yaml, parse_bytes, parse_yaml
from engines.errors import InputError
from engines.files import TEMPORARY_PREFIX, atomic_folders, listed

CONFIG_MAP = "jetrail-site"
KEY = "site.yaml"
NAMESPACE = "inference"

_HEAD = """\
# Site {site}, whose cluster has the label `site: {site}`. Yours to edit: `release add-site` and
# `release sites import` wrote it once.
"""


def site_folder(workspace: Workspace, site: str) -> Path:
    """`release/fleet/sites/<site>`."""
    return workspace.fleet / "sites" / site


def site_names(workspace: Workspace) -> list[str]:
    """The sites that have a folder."""
    found = (path for path in listed(workspace.fleet / "sites", "*") if path.is_dir())
    return sorted(one.name for one in found if not one.name.startswith(TEMPORARY_PREFIX))


def write_site(workspace: Workspace, site: Site) -> Path:
    """Lay out a new site's folder. Raises InputError where it is there."""
    folder = site_folder(workspace, site.site)
    if folder.exists():
        raise InputError(
            f"Expected a new site, got {site.site!r}, which {workspace.relative(folder)} is of. "
            "Edit its configmap.yaml, or choose another name."
        )
    write_sites(workspace, [site])
    return folder


def write_sites(workspace: Workspace, sites: Iterable[Site]) -> None:
    """Lay out folders that are not there yet, each whole or not at all."""
    with atomic_folders(workspace.fleet / "sites") as new:
        for site in sites:
            (new / site.site).mkdir()
            for name, text in texts(site).items():
                (new / site.site / name).write_text(text, encoding="utf-8")


def texts(site: Site) -> dict[str, str]:
    """The files of a site's folder."""
    selector = {"matchLabels": {"site": site.site}}
    fleet = {
        "defaultNamespace": NAMESPACE,
        "helm": {"releaseName": f"site-{site.site}"},
        "overrideTargets": [{"name": "site", "clusterSelector": selector}],
    }
    config_map = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE},
        "data": {
            KEY: _Block(_dump(site.model_dump(mode="json", by_alias=True, exclude_none=True)))
        },
    }
    head = _HEAD.format(site=site.site)
    return {"fleet.yaml": head + _dump(fleet), "configmap.yaml": head + _dump(config_map)}


def read_site(workspace: Workspace, name: str) -> Site:
    """The site of a folder, checked. Raises InputError with the file and what is wrong in it."""
    folder = site_folder(workspace, name)
    site = _site(folder / "configmap.yaml")
    if site.site != name:
        raise InputError(
            f"Expected site {name!r} in {folder / 'configmap.yaml'}, got {site.site!r}. Name the "
            "folder as the site, or fix `site`."
        )
    targets = _targets(folder / "fleet.yaml")
    wanted = {"matchLabels": {"site": name}}
    if [one.get("clusterSelector") for one in targets] != [wanted]:
        raise InputError(
            f"Expected one target in overrideTargets of {folder / 'fleet.yaml'} that selects by "
            f"the label `site: {name}` and by nothing else. Fix it, or the ConfigMap reaches other "
            "clusters or none."
        )
    return site


def _site(path: Path) -> Site:
    _mapping(path)  # says where there is none
    return parse_site(path.read_bytes(), str(path))


def parse_site(content: bytes, name: str) -> Site:
    """The site in a ConfigMap, a file called `name`. Raises InputError where there is none."""
    found = parse_yaml(content, name)
    found = found if isinstance(found, dict) else {}
    data, meta = found.get("data"), found.get("metadata")
    text = data.get(KEY) if isinstance(data, dict) else None
    named = meta.get("name") if isinstance(meta, dict) else None
    if found.get("kind") != "ConfigMap" or named != CONFIG_MAP or not isinstance(text, str):
        raise InputError(
            f"Expected a ConfigMap {CONFIG_MAP!r} with the key {KEY!r} in {name}, which pods read. "
            "Bring it back with `git checkout`, or add the site again."
        )
    line = line_of(content, ("data", KEY)) or 0
    return parse_bytes(Site, at_its_line(text, line), f"{name}: {KEY}")


def _targets(path: Path) -> list[dict[str, Any]]:
    found = _mapping(path).get("overrideTargets")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(
            f"Expected {path}, but it is not there. Bring it back with `git checkout`, or add the "
            "site again."
        )
    content = load_yaml(path)
    return content if isinstance(content, dict) else {}


class _Block(str):
    """Text that YAML shows as it is, line by line."""

    __slots__ = ()


def _dump(content: Any) -> str:
    yaml = YAML()
    yaml.width = 4096
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        _Block,
        lambda representer, text: representer.represent_scalar(
            "tag:yaml.org,2002:str", str(text), style="|"
        ),
    )
    text = io.StringIO()
    yaml.dump(content, text)
    return text.getvalue()
