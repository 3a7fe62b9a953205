"""What lint finds in a ring's folder once it has the release that is to go there."""

from __future__ import annotations

from engines.config.workspace import Workspace
from release.moves.place import Place
from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding
from release.rollout.lint.rules import run
from release.rollout.reading.tree import read_tree
from release.rollout.reading.version import parse_version


def errors_with(view: Workspace, place: Place, content: bytes) -> list[Finding]:
    """The errors in a ring's folder with `content` as its release.yaml. `view` is a copy of the
    branch's files, in which that is written."""
    path = view.root / place.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    version = parse_version(None)
    found = run(Checkout(view, read_tree(view.root, version), version, None), None)
    return [
        one for one in found if one.severity == "error" and one.file.startswith(f"{place.folder}/")
    ]
