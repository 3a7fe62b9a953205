"""What became of each cluster, and who holds those that were never told."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

from release.rollout.simulation.play import Played

STATES = {
    "current": "had it already",
    "ready": "runs it and is ready",
    "broken": "was told a bad image, which never gets ready",
    "retried": "was told a bad image; Helm rolls it back and Fleet tries again for ever",
    "silent": "was told, but is offline and has not answered",
    "working": "was told, and is not done when time is up",
    "paused": "is paused, so it is told nothing",
    "held": "was never told",
    "apart": "is in no partition, so it is never created and never told",
}
"""State of a cluster at the end, and what it means."""

NAMED = 3
"""Clusters that a reason names before it counts the rest."""


@dataclass(frozen=True)
class Fate:
    """One cluster at the end."""

    name: str
    state: str
    partition: str
    tag: str
    """`image.tag` of what it should have."""
    told_s: int | None = None
    ready_s: int | None = None
    why: str = ""
    """Who holds it, where it is held."""


class Outcome:
    """The end of one bundle's play."""

    def __init__(self, played: Played) -> None:
        self.played = played
        self._reached = played.reconciler.reached()
        self._partition: dict[int, int] = {}
        for at, partition in enumerate(played.partitions):
            for member in partition.members:
                self._partition.setdefault(member, at)

        self._states = [self._state(at) for at in range(len(played.placements))]
        self._reasons: dict[int, str] = {}

    @cached_property
    def fates(self) -> list[Fate]:
        """Every cluster, by name."""
        return [self._fate(at) for at in range(len(self.played.placements))]

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many clusters are in each state; states without one are left out."""
        found = Counter(one.state for one in self.fates)
        return {state: found[state] for state in STATES if found[state]}

    @cached_property
    def holds(self) -> dict[str, int]:
        """Each reason for which clusters are held, and how many."""
        return dict(Counter(one.why for one in self.fates if one.state == "held"))

    @property
    def done_s(self) -> int | None:
        """When the last cluster was ready; None where not all are."""
        if set(self.counts) - {"current", "ready"}:
            return None
        return max(self.played.ready_s.values(), default=0)

    def _fate(self, at: int) -> Fate:
        placement, state = self.played.placements[at], self._states[at]
        home = self._partition.get(at)
        return Fate(
            name=placement.cluster.name,
            state=state,
            partition="" if home is None else self.played.partitions[home].name,
            tag=placement.tag,
            told_s=self.played.told_s.get(at),
            ready_s=self.played.ready_s.get(at) if state == "ready" else None,
            why=self._reason(home) if state == "held" and home is not None else "",
        )

    def _state(self, at: int) -> str:
        one = self.played.deployments[at]
        if at in self.played.courses:
            found = self.played.courses[at].state
            late = at in self.played.unfinished and found == "ready"
            return "working" if late and not one.done else found
        if one.done:
            return "current"
        if at not in self._partition:
            return "apart"
        if one.paused:
            return "paused"
        return "broken" if one.told == one.want else "held"

    def _reason(self, home: int) -> str:
        if home not in self._reasons:
            self._reasons[home] = self._why(home)
        return self._reasons[home]

    def _why(self, home: int) -> str:
        """Why a cluster of partition `home` is not told."""
        played, gates = self.played, self.played.reconciler.gates
        if home >= self._reached:
            return self._before
        limit = played.partitions[home].limit
        if 0 in (limit, gates.unavailable):
            return "maxUnavailable 0 never changes a cluster that is ready"
        down = sum(played.deployments[at].unavailable for at in played.partitions[home].members)
        if down >= limit:
            names = self._names(played.partitions[home].members)
            return f"{names}: {limit} of its partition may be unavailable"
        if played.reconciler.unavailable >= gates.unavailable:
            return f"{self._all_names}: {gates.unavailable} of the whole bundle may be unavailable"
        return "its turn had not come"

    @cached_property
    def _all_names(self) -> str:
        return self._names(range(len(self.played.deployments)))

    @cached_property
    def _before(self) -> str:
        """What keeps partitions from being looked at that are not reached."""
        stuck = [at for at in range(self._reached) if self.played.reconciler.stuck(at)]
        rows = [self.played.partitions[at] for at in stuck]
        return " and ".join(
            f"{self._names(one.members)} in the partition before, {one.name!r}" for one in rows
        )

    def _names(self, members: range | tuple[int, ...]) -> str:
        """The clusters of `members` that are not done though told or paused, the first by name."""
        names = [
            f"{self.played.placements[at].cluster.name} ({self._word(at)})"
            for at in members
            if self._word(at)
        ]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + more if names else "clusters that are not done"

    def _word(self, at: int) -> str:
        state = self._states[at]
        words = {"broken": "not ready", "retried": "retried for ever", "silent": "offline"}
        return words.get(state, state if state in ("paused", "working") else "")
