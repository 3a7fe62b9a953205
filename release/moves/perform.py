"""A move from its plan to MLflow: the way that every command that moves something goes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from engines.config.workspace import Workspace
from release.gitops.branch import Snapshot, open_gitops
from release.lock import exclusive
from release.moves.aliases import follow
from release.moves.carry_out import carry_out
from release.moves.planned import Planned

Say = Callable[[str], None]
Plan = Callable[[Snapshot, Path], Planned]
"""Plans a move on the branch as it is now; the path is an empty folder to read its files in."""


def perform(
    workspace: Workspace, plan: Plan, *, dry_run: bool, show: Callable[[Planned], None], say: Say
) -> Planned:
    """Plan a move, show it, and unless `dry_run` make its commit, push it and tell MLflow.

    What is there already is not made again, so that a command that was killed is completed by the
    next. Raises what `plan` raises, ServiceError where the branch cannot be fetched or pushed, and
    Conflict where somebody else moved the ring meanwhile.
    """
    with exclusive(workspace), tempfile.TemporaryDirectory() as view:
        snapshot = open_gitops(workspace).fetch()
        planned = plan(snapshot, Path(view))
        show(planned)
        if dry_run:
            return planned
        if planned.move is not None:
            snapshot = carry_out(snapshot, planned.move, say)
            say(f"Pushed {snapshot.commit[:12]} to {snapshot.gitops.shown}")
        if not snapshot.gitops.bring_here(snapshot.commit):
            say("This clone does not stand on it yet: `git pull`")
        follow(workspace, planned.place, planned.will_run, say)
    return planned
