"""add-site: a new site's folder, with its ConfigMap and the cluster that it goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engines.config.rings import load_rings
from engines.config.site import Site
from engines.config.target import load_target
from engines.config.workspace import Workspace
from release.lock import exclusive
from release.sites.folder import write_site
from release.sites.inventory import camera_of, make_site


@dataclass(frozen=True, kw_only=True)
class AddedSite:
    """What was laid out, and the labels that its cluster needs."""

    site: Site
    folder: Path
    labels: dict[str, str]


def add_site(
    workspace: Workspace,
    name: str,
    *,
    target: str,
    ring: str,
    cameras: Sequence[str],
    location: str,
    confidence: float | None,
) -> AddedSite:
    """Lay out `release/fleet/sites/<name>/`. Raises InputError for a site that is there, for names
    that there are not, and for addresses with credentials."""
    label = load_target(workspace, target).fleet_label
    fields: dict[str, Any] = {"site": name, "target": target, "location": location}
    fields["ring"] = load_rings(workspace).ring(ring).name
    fields["cameras"] = [camera_of(one, number) for number, one in enumerate(cameras, 1)]
    if confidence is not None:
        fields["alerts"] = {"confidenceThreshold": confidence}
    site = make_site("add-site", fields)
    with exclusive(workspace):
        folder = write_site(workspace, site)
    return AddedSite(site=site, folder=folder, labels={"device": label, "ring": ring, "site": name})
