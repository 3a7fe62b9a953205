"""One reconcile of one bundle: who is created, who is told to change (`target/partition.go`).

Fleet looks at every cluster each time. Here counts are kept up to date by what changes, so that a
reconcile costs what it does and not what there is; tests compare it with the long way round.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from release.rollout.simulation.partitions import MAX_NEW, Partition, limit


@dataclass(slots=True)
class BundleDeployment:
    """What Fleet knows of a bundle on one cluster: a BundleDeployment."""

    want: str
    """What the cluster should have by now."""
    exists: bool = False
    told: str = ""
    """`spec.deploymentID`: what the agent may deploy."""
    applied: str = ""
    """`status.appliedDeploymentID`: what the agent says it deployed."""
    ready: bool = False
    paused: bool = False

    @property
    def unavailable(self) -> bool:
        """`status.go:isUnavailable`; a cluster that is offline keeps what it said last."""
        return self.exists and (self.applied != self.told or not self.ready)

    @property
    def done(self) -> bool:
        """Up to date and available, as a partition counts it."""
        return self.exists and self.told == self.applied == self.want and self.ready

    @property
    def waits(self) -> bool:
        """Whether it may be told to change, as far as it goes by itself."""
        return self.exists and not self.paused and self.told != self.want


@dataclass(slots=True)
class Reconciled:
    """What one reconcile did."""

    created: list[int] = field(default_factory=list)
    told: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Gates:
    """The limits of a bundle's rollout."""

    unavailable: int
    """Over all clusters of the bundle."""
    partitions: int
    """Partitions that may be unavailable before later ones are not looked at."""
    new: int = MAX_NEW


def gates_of(rollout: Mapping[str, Any], count: int, partitions: int) -> Gates:
    """The gates of `rolloutStrategy` for `count` clusters. Raises BadAmount."""
    new = rollout.get("maxNew")
    return Gates(
        unavailable=limit(count, rollout.get("maxUnavailable")),
        partitions=limit(partitions, rollout.get("maxUnavailablePartitions"), 0),
        new=MAX_NEW if new is None else new,
    )


class Reconciler:
    """The deployments of one bundle, in the order of their clusters' names."""

    def __init__(
        self, deployments: Sequence[BundleDeployment], partitions: Sequence[Partition], gates: Gates
    ) -> None:
        self.deployments = deployments
        self.partitions = partitions
        self.gates = gates
        self._of: list[list[int]] = [[] for _ in deployments]
        for at, partition in enumerate(partitions):
            for member in partition.members:
                self._of[member].append(at)
        self._overlap = any(len(one) > 1 for one in self._of)
        self._unavailable = 0
        self._down = [0] * len(partitions)
        self._open = [len(one.members) for one in partitions]
        self._next_new = [0] * len(partitions)
        self._ready: list[list[int]] = [[] for _ in partitions]
        self._broken: list[set[int]] = [set() for _ in partitions]
        self._known = [(False, False)] * len(deployments)
        self._stuck = _Ordered()
        self._to_create, self._to_mend, self._to_tell = _Ordered(), _Ordered(), _Ordered()
        for at in range(len(deployments)):
            self._refresh(at)
        for at in range(len(partitions)):
            self._sort(at)

    def reconcile(self) -> Reconciled:
        """One reconcile: create, tell, and stop at the first partition that is not passed."""
        change, unavailable = Reconciled(), self._unavailable
        # Fleet counts before it begins, which only shows where a cluster is in two partitions.
        down = list(self._down) if self._overlap else self._down
        at = self._next(-1, change, unavailable)
        while at is not None:
            unavailable = self._visit(at, change, unavailable, down[at])
            at = self._next(at, change, unavailable)
        return change

    def _next(self, at: int, change: Reconciled, unavailable: int) -> int | None:
        """The next partition after `at` that is looked at and where something can be done."""
        if self._overlap:
            found = at + 1 if at + 1 < len(self.partitions) else None
        else:
            kinds = [self._to_mend]
            kinds += [self._to_create] * (len(change.created) < self.gates.new)
            kinds += [self._to_tell] * (unavailable < self.gates.unavailable)
            after = [kind.after(at) for kind in kinds]
            found = min((one for one in after if one is not None), default=None)
        last = self._stuck.nth(self.gates.partitions)
        return None if found is None or (last is not None and last < found) else found

    def _visit(self, at: int, change: Reconciled, unavailable: int, here: int) -> int:
        """Create and tell in one partition; gives how many of the bundle are unavailable then."""
        self._create(at, change)
        for member in sorted(self._broken[at]):
            self._tell(member, change)
        waiting, most = self._ready[at], self.partitions[at].limit
        while waiting and unavailable < self.gates.unavailable and here < most:
            member = heapq.heappop(waiting)
            one = self.deployments[member]
            if one.waits and not one.unavailable:
                unavailable, here = unavailable + 1, here + 1
                self._tell(member, change)
        self._sort(at)
        return unavailable

    def report(self, at: int, applied: str, ready: bool) -> None:
        """The agent of cluster `at` says what it deployed and whether it is ready."""
        one = self.deployments[at]
        one.applied, one.ready = applied, ready
        self._refresh(at)

    @property
    def unavailable(self) -> int:
        """How many clusters of the bundle are unavailable now."""
        return self._unavailable

    def reached(self) -> int:
        """How many partitions, from the first, a reconcile looks at now."""
        last = self._stuck.nth(self.gates.partitions)
        return len(self.partitions) if last is None else last + 1

    def stuck(self, at: int) -> bool:
        """Whether more of the partition are not done than may be."""
        return self._open[at] > self.partitions[at].limit

    def _create(self, at: int, change: Reconciled) -> None:
        members = self.partitions[at].members
        while self._next_new[at] < len(members) and len(change.created) < self.gates.new:
            member = members[self._next_new[at]]
            self._next_new[at] += 1
            if not self.deployments[member].exists:
                self.deployments[member].exists = True
                change.created.append(member)
                self._refresh(member)

    def _tell(self, member: int, change: Reconciled) -> None:
        one = self.deployments[member]
        if one.waits:
            one.told = one.want
            change.told.append(member)
            self._refresh(member)

    def _refresh(self, at: int) -> None:
        """Bring counts and lists up to date with one deployment."""
        one = self.deployments[at]
        was_down, was_done = self._known[at]
        down, done, waits = one.unavailable, one.done, one.waits
        self._known[at] = down, done
        self._unavailable += down - was_down
        for partition in self._of[at]:
            self._down[partition] += down - was_down
            self._open[partition] -= done - was_done
            if waits and down:
                self._broken[partition].add(at)
            else:
                self._broken[partition].discard(at)
            if waits and not down:
                heapq.heappush(self._ready[partition], at)
            self._sort(partition)

    def _sort(self, at: int) -> None:
        """Put a partition on the lists of those where there is something to do."""
        members, most = self.partitions[at].members, self.partitions[at].limit
        self._stuck.put(at, self._open[at] > most)
        self._to_create.put(at, self._next_new[at] < len(members))
        self._to_mend.put(at, bool(self._broken[at]))
        self._to_tell.put(at, bool(self._ready[at]) and self._down[at] < most)


class _Ordered:
    """A set of partitions, in order."""

    def __init__(self) -> None:
        self._rows: list[int] = []

    def put(self, at: int, there: bool) -> None:
        """Make `at` a member or not."""
        place = bisect.bisect_left(self._rows, at)
        known = place < len(self._rows) and self._rows[place] == at
        if there and not known:
            self._rows.insert(place, at)
        elif known and not there:
            del self._rows[place]

    def after(self, at: int) -> int | None:
        """The first member beyond `at`."""
        place = bisect.bisect_right(self._rows, at)
        return self._rows[place] if place < len(self._rows) else None

    def nth(self, count: int) -> int | None:
        """The member before which there are `count`; below 0 the first one counts."""
        place = max(count, 0)
        return self._rows[place] if place < len(self._rows) else None
