"""`fleet.yaml`, people's file beside release.yaml, as far as a command must know it: from which
repository a ring's clusters pull."""

from __future__ import annotations

from typing import Any

from engines.config.rings import load_rings
from engines.config.workspace import Workspace
from engines.config.yaml import load_yaml
from engines.errors import InputError
from release.records import Publication


def repository_of(workspace: Workspace, publication: Publication, ring: str | None = None) -> str:
    """`image.repository` of a ring of the release's model and target; default: of the first.

    Raises InputError where the file does not name one.
    """
    ring = ring or load_rings(workspace).names[0]
    path = workspace.ring(publication.model, publication.target, ring) / "fleet.yaml"
    found: Any = load_yaml(path) if path.is_file() else {}
    for key in ("helm", "values", "image", "repository"):
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, str) or not found:
        raise InputError(
            f"Expected helm.values.image.repository in {workspace.relative(path)}, from which the "
            "clusters pull, but it is not there. Write it there, or give --registry."
        )
    return found
