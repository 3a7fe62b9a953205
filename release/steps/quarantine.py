"""quarantine: a release goes to no ring any more, by one commit on the branch of Fleet."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone

from engines.config.workspace import Workspace
from release.moves.perform import perform
from release.moves.quarantine import PlannedQuarantine, plan_quarantine
from release.say import Say

Show = Callable[[PlannedQuarantine], None]


def quarantine(
    workspace: Workspace,
    tag: str,
    why: str,
    *,
    lift: bool,
    dry_run: bool,
    request: bool = False,
    show: Show,
    say: Say,
) -> PlannedQuarantine:
    """Quarantine the release `tag`, or with `lift` let it go to rings again.

    Raises InputError, ServiceError where the branch cannot be fetched or pushed, and Conflict where
    somebody else did the same meanwhile.
    """
    now = datetime.now(timezone.utc)
    return perform(
        workspace,
        lambda snapshot, view: plan_quarantine(snapshot, workspace, tag, why, now, view, lift=lift),
        dry_run=dry_run,
        request=request,
        show=show,
        say=say,
    )
