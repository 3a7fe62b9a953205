"""What a move would do, for people to see before it does."""

from __future__ import annotations

from dataclasses import dataclass

from engines.errors import JetrailError
from release.gitops.history import Commit
from release.moves.move import Move
from release.moves.place import Place
from release.moves.rules import RuleResult
from release.rollout.release_yaml import ReleaseValues


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One ring that gets another release."""

    action: str
    """`promote` or `roll back`."""
    place: Place
    source: str
    """Where the release comes from, in words."""
    runs: ReleaseValues | None
    since: Commit | None
    """The commit that gave the ring what it runs."""
    will_run: ReleaseValues
    answers: tuple[RuleResult, ...]
    reach: tuple[str, ...] = ()
    """Whether Fleet will reach the ring's clusters, and if not, what holds it, by a report; and
    whether their pods will start."""
    move: Move | None
    """None where the ring runs it already."""
    refusal: JetrailError | None = None
    """Why the move is not made, for people to see the rest of the plan too."""
