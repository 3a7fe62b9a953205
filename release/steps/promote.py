"""promote: a ring gets the release of the ring below, by one commit on the branch of Fleet."""

from __future__ import annotations

from collections.abc import Callable

from engines.config.workspace import Workspace
from release.moves.perform import perform_in_ring
from release.moves.planned import Planned
from release.moves.promotion import Wish, plan_promotion
from release.say import Say

Show = Callable[[Planned], None]


def promote(
    workspace: Workspace, wish: Wish, *, dry_run: bool, request: bool = False, show: Show, say: Say
) -> Planned:
    """Promote as `wish` says; `show` gets the plan before anything is done.

    Raises InputError, WrongEngine for a record that does not add up, GateFailed where a rule
    refuses, ServiceError where the branch cannot be fetched or pushed, and Conflict where somebody
    else moved one of the two rings.
    """
    return perform_in_ring(
        workspace,
        lambda snapshot, view: plan_promotion(snapshot, workspace, wish, view),
        dry_run=dry_run,
        request=request,
        show=show,
        say=say,
    )
