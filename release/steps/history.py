"""history: which ring got which release, when and by whom."""

from __future__ import annotations

from engines.config.workspace import Workspace
from release.gitops.branch import open_gitops
from release.moves.ledger import Entry, entries
from release.moves.place import places


def history(
    workspace: Workspace, model: str | None, target: str | None, ring: str | None
) -> list[Entry]:
    """Every commit of Fleet's branch by which a ring got another release, the latest first; only
    those of `model`, `target` and `ring` where they are given.

    Raises InputError, and ServiceError where the branch cannot be fetched.
    """
    snapshot = open_gitops(workspace).fetch()
    wanted = [
        one
        for one in places(snapshot)
        if model in (None, one.model) and target in (None, one.target) and ring in (None, one.ring)
    ]
    return entries(snapshot, wanted)
