"""A move from its plan to the pushed commit: the way of every command that moves something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar

from engines.config.workspace import Workspace
from engines.errors import JetrailError
from engines.files import temporary_folder
from release.gitops.branch import UNMOVED, Snapshot, open_gitops
from release.gitops.clone import bring_here
from release.gitops.git import CannotWrite
from release.lock import exclusive
from release.moves.aliases import follow
from release.moves.carry_out import carry_out, propose
from release.moves.move import Move
from release.moves.planned import Planned
from release.say import Say


class Plan(Protocol):
    """What people see before a move."""

    @property
    def move(self) -> Move | None:
        """None where there is nothing to do."""

    @property
    def refusal(self) -> JetrailError | None:
        """Why it is not done."""


SomePlan = TypeVar("SomePlan", bound=Plan)
Planner = Callable[[Snapshot, Path], SomePlan]
"""Plans a move on the branch as it is now; the path is an empty folder to read its files in."""


def perform(
    workspace: Workspace,
    planner: Planner[SomePlan],
    *,
    dry_run: bool,
    request: bool = False,
    show: Callable[[SomePlan], None],
    say: Say,
) -> SomePlan:
    """Plan a move, show it, and unless `dry_run` make its commit and push it; or with `request` ask
    for it by a merge request.

    What is there already is not made again, so that a command that was killed is completed by the
    next. Raises what `planner` raises and what its plan is refused with, ServiceError where the
    branch cannot be fetched or pushed, and Conflict where somebody else changed what the move rests
    on.
    """
    with exclusive(workspace), temporary_folder() as view, _nothing_moved():
        snapshot = open_gitops(workspace).fetch()
        planned = planner(snapshot, view)
        show(planned)
        if planned.refusal is not None:
            raise planned.refusal
        if dry_run:
            return planned
        if request:
            if planned.move is not None:
                say(f"Merge request: {propose(snapshot, planned.move)}")
            return planned
        if planned.move is not None:
            snapshot = carry_out(snapshot, planned.move, say)
            say(f"Pushed {snapshot.commit[:12]} to {snapshot.gitops.shown}")
        wanted = bring_here(snapshot)
        if wanted is not None:
            say(f"This clone does not stand on it yet: {wanted}")
    return planned


@contextmanager
def _nothing_moved() -> Iterator[None]:
    """Where git cannot write before the push, nothing was moved; a push itself and what comes after
    it say how far they got."""
    try:
        yield
    except CannotWrite as error:
        raise error.but(UNMOVED) from error


def perform_in_ring(
    workspace: Workspace,
    planner: Planner[Planned],
    *,
    dry_run: bool,
    request: bool = False,
    show: Callable[[Planned], None],
    say: Say,
) -> Planned:
    """As `perform`, for a move that gives a ring another release: MLflow is told too."""
    planned = perform(workspace, planner, dry_run=dry_run, request=request, show=show, say=say)
    if not dry_run and not request:
        follow(workspace, planned.place, planned.will_run, say)
    return planned
