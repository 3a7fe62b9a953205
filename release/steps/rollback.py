"""rollback: a ring gets back what it had before, by one commit on the branch of Fleet."""

from __future__ import annotations

from collections.abc import Callable

from engines.config.workspace import Workspace
from release.moves.perform import perform_in_ring
from release.moves.place import Place
from release.moves.planned import Planned
from release.moves.rollback import plan_rollback
from release.reports.report import Report
from release.say import Say

Show = Callable[[Planned], None]


def rollback(
    workspace: Workspace,
    place: Place,
    *,
    to: str | None,
    why: str | None,
    dry_run: bool,
    request: bool = False,
    report: Report | None = None,
    show: Show,
    say: Say,
) -> Planned:
    """Roll one ring back; `show` gets the plan before anything is done.

    Raises InputError, ServiceError where the branch cannot be fetched or pushed, and Conflict where
    somebody else moved the ring.
    """
    return perform_in_ring(
        workspace,
        lambda snapshot, view: plan_rollback(snapshot, workspace, place, to, why, view, report),
        dry_run=dry_run,
        request=request,
        show=show,
        say=say,
    )
