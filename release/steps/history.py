"""history: which ring got which release, when and by whom."""

from __future__ import annotations

from engines.config.workspace import Workspace
from release.gitops.branch import open_gitops
from release.gitops.history import changes
from release.moves.ledger import Entry, entries, released
from release.moves.place import chosen_places


def history(
    workspace: Workspace, model: str | None, target: str | None, ring: str | None
) -> list[Entry]:
    """Every commit of Fleet's branch by which a ring got another release, the latest first; only
    those of `model`, `target` and `ring` where they are given. What a ring ran that is gone by now,
    as of a model that was removed, is told too: somebody may ask because of an accident.

    Raises InputError where the branch knows none of them, and ServiceError where it cannot be
    fetched.
    """
    snapshot = open_gitops(workspace).fetch()
    ever = changes(snapshot, "release/fleet")
    chosen = chosen_places(snapshot, model, target, ring, gone=released(ever))
    return entries(snapshot, chosen, ever)
