"""One reconcile the long way round, every cluster looked at: what the quick one is compared with.

Written from the description of Fleet's rollout, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence

from release.rollout.simulation.partitions import Partition
from release.rollout.simulation.reconcile import BundleDeployment, Gates, Reconciled


def reconcile(
    rows: Sequence[BundleDeployment], partitions: Sequence[Partition], gates: Gates
) -> Reconciled:
    """Change `rows` as one reconcile does, and say what it did."""
    change = Reconciled()
    unavailable = sum(one.unavailable for one in rows)
    down = [sum(rows[at].unavailable for at in one.members) for one in partitions]
    stuck = 0
    for number, partition in enumerate(partitions):
        for at in partition.members:
            if not rows[at].exists and len(change.created) < gates.new:
                rows[at].exists = True
                change.created.append(at)
        for at in partition.members:
            one = rows[at]
            broken = one.unavailable
            room = unavailable < gates.unavailable and down[number] < partition.limit
            if not one.exists or one.paused or one.told == one.want or not (broken or room):
                continue
            if not broken:
                unavailable += 1
                down[number] += 1
            one.told = one.want
            change.told.append(at)
        if sum(not rows[at].done for at in partition.members) > partition.limit:
            stuck += 1
        if stuck > gates.partitions:
            break
    return change
