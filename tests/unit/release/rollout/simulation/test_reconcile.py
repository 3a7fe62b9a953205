"""The quick reconcile against the long way round, and what the rules promise."""

from __future__ import annotations

from copy import deepcopy

from factories.long_way import reconcile
from hypothesis import given, settings
from hypothesis import strategies as st

from release.rollout.simulation.partitions import Partition
from release.rollout.simulation.reconcile import BundleDeployment, Gates, Reconciler

CONTENT = st.sampled_from(["old", "new", ""])
ROW = st.builds(
    BundleDeployment,
    want=st.sampled_from(["new", "newer"]),
    exists=st.booleans(),
    told=CONTENT,
    applied=CONTENT,
    ready=st.booleans(),
    paused=st.sampled_from([False, False, False, True]),
)


@st.composite
def rollouts(
    draw: st.DrawFn, overlapping: bool = True
) -> tuple[list[BundleDeployment], list[Partition], Gates]:
    rows = draw(st.lists(ROW, min_size=1, max_size=12))
    for row in rows:
        if not row.exists:
            row.told = row.applied = ""
            row.ready = False
    homes = [draw(st.sets(st.integers(0, 3), max_size=2 if overlapping else 1)) for _ in rows]
    partitions = [
        Partition(
            f"p{number}",
            tuple(at for at, home in enumerate(homes) if number in home),
            draw(st.integers(0, 4)),
        )
        for number in range(4)
    ]
    gates = Gates(draw(st.integers(0, 6)), draw(st.integers(0, 2)), draw(st.integers(0, 3)))
    return rows, partitions, gates


REPORTS = st.lists(st.tuples(st.integers(0, 11), st.booleans(), st.booleans()), max_size=10)


@settings(deadline=None, max_examples=200)
@given(rollouts(), st.lists(REPORTS, min_size=1, max_size=5))
def test_quick_and_long_way_agree(
    rollout: tuple[list[BundleDeployment], list[Partition], Gates],
    rounds: list[list[tuple[int, bool, bool]]],
) -> None:
    rows, partitions, gates = rollout
    slow = deepcopy(rows)
    quick = Reconciler(rows, partitions, gates)
    for reports in rounds:
        change = quick.reconcile()
        expected = reconcile(slow, partitions, gates)
        assert change.created == expected.created
        assert sorted(change.told) == sorted(expected.told)
        assert rows == slow
        assert quick.unavailable == sum(one.unavailable for one in slow)
        for at, deployed, ready in reports:
            if at < len(rows) and rows[at].exists:
                applied = rows[at].told if deployed else rows[at].applied
                quick.report(at, applied, ready)
                slow[at].applied, slow[at].ready = applied, ready


@settings(deadline=None, max_examples=200)
@given(rollouts(overlapping=False))
def test_a_reconcile_makes_no_more_unavailable_than_the_rules_allow(
    rollout: tuple[list[BundleDeployment], list[Partition], Gates],
) -> None:
    rows, partitions, gates = rollout
    before = [one.exists and not one.unavailable for one in rows]
    existed = [one.exists for one in rows]
    quick = Reconciler(rows, partitions, gates)
    already = sum(one.unavailable for one in rows)
    quick.reconcile()
    lost = {at for at, one in enumerate(rows) if before[at] and one.unavailable}
    assert len(lost) <= max(0, gates.unavailable - already)
    for partition in partitions:
        down = sum(rows[at].exists and not before[at] for at in partition.members)
        new = sum(not existed[at] and rows[at].exists for at in partition.members)
        room = max(0, partition.limit - (down - new))
        assert len(lost & set(partition.members)) <= room
    assert not any(rows[at].paused for at in lost)


@settings(deadline=None)
@given(rollouts())
def test_a_second_reconcile_of_the_same_state_tells_nobody_twice(
    rollout: tuple[list[BundleDeployment], list[Partition], Gates],
) -> None:
    rows, partitions, gates = rollout
    quick = Reconciler(rows, partitions, gates)
    first = set(quick.reconcile().told)
    assert not first & set(quick.reconcile().told)
