"""history: which ring got which release, when and by whom."""

from __future__ import annotations

from dataclasses import replace

from engines.config.workspace import Workspace
from release.gitops.branch import Snapshot, open_gitops
from release.gitops.history import changes, merged
from release.moves.ledger import Entry, entries, released
from release.moves.move import TRAILERS
from release.moves.place import chosen_places


def history(
    workspace: Workspace, model: str | None, target: str | None, ring: str | None, limit: int
) -> list[Entry]:
    """The last `limit` commits of Fleet's branch by which a ring got another release, the latest
    first; only those of `model`, `target` and `ring` where they are given. What a ring ran that is
    gone by now, as of a model that was removed, is told too: somebody may ask because of an
    accident. A merge has the trailers of what it merged.

    Raises InputError where the branch knows none of them, and ServiceError where it cannot be
    fetched.
    """
    snapshot = open_gitops(workspace).fetch()
    ever = changes(snapshot, "release/fleet")
    chosen = chosen_places(snapshot, model, target, ring, gone=released(ever))
    return [_told(snapshot, one) for one in entries(snapshot, chosen, ever)[:limit]]


def _told(snapshot: Snapshot, entry: Entry) -> Entry:
    """Past a merge button's commit: the merge request's own says what was overridden, and why."""
    commit = entry.commit
    if any(commit.trailer(key) is not None for key in TRAILERS):
        return entry
    own = merged(snapshot, commit, entry.place.path)
    return replace(entry, commit=replace(commit, trailers=own.trailers)) if own else entry
