"""history: which ring got which release, when and by whom."""

from __future__ import annotations

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.gitops.branch import open_gitops
from release.moves.ledger import Entry, entries
from release.moves.place import places


def history(
    workspace: Workspace, model: str | None, target: str | None, ring: str | None
) -> list[Entry]:
    """Every commit of Fleet's branch by which a ring got another release, the latest first; only
    those of `model`, `target` and `ring` where they are given.

    Raises InputError where the branch knows none of them, and ServiceError where it cannot be
    fetched.
    """
    snapshot = open_gitops(workspace).fetch()
    wanted = places(snapshot)
    for what, name in (("model", model), ("target", target), ("ring", ring)):
        known = sorted({str(getattr(one, what)) for one in wanted})
        if name is not None and name not in known:
            raise InputError(
                f"Expected one of the {what}s that {snapshot.gitops.shown} has in release/fleet: "
                f"{', '.join(known) or 'none'}; got {name!r}."
            )
        wanted = [one for one in wanted if name in (None, getattr(one, what))]
    return entries(snapshot, wanted)
