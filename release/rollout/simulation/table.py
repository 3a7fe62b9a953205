"""A played sync for a terminal of 80 columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from release.rollout.simulation.outcome import STATES, Outcome
from release.rollout.simulation.play import Step
from release.rollout.simulation.result import Simulation, reached
from release.rollout.simulation.sync import BundleChange

WIDTH = 80
STEPS = 8
"""Moments that are shown of one bundle; more are put together."""
BUNDLES = 20
"""Bundles that are shown one by one."""
ROWS = 12
"""Partitions that are shown of one bundle."""
NAME, NAME_MOST = 22, 29
"""Columns for a partition's name: Fleet's own, such as `Partition 75000 - 100000`, are not cut."""

_COLUMNS = {
    "ready": "ready",
    "broken": "bad",
    "retried": "bad",
    "silent": "silent",
    "working": "busy",
    "held": "held",
    "paused": "paused",
    "current": "same",
}


def lines(simulation: Simulation) -> Iterator[str]:
    """Lines of at most 80 columns, except where a name or a tag is longer."""
    asked, sync = simulation.asked, simulation.sync
    clusters = _count(len(simulation.inventory.clusters), "cluster")
    yield f"Fleet {simulation.version}, {clusters}, {asked.minutes} minutes"
    yield simulation.base
    if asked.bad:
        yield f"bad image: {asked.bad}"
    if simulation.offline:
        yield f"offline: {_named(sorted(simulation.offline))}"
    for note in simulation.notes:
        yield from _wrapped(f"note: {note}")
    for change in sync.changes[:BUNDLES]:
        yield ""
        yield from _change(change)
    if len(sync.changes) > BUNDLES:
        yield ""
        yield from _wrapped(_others(sync.changes[BUNDLES:]))
    yield ""
    yield from _end(simulation)


def _others(changes: list[BundleChange]) -> str:
    """Bundles that are not shown one by one: how their clusters end."""
    total: Counter[str] = Counter()
    for change in changes:
        total.update(change.outcome.counts if change.outcome else {"stopped or uninstalled": 1})
    ends = ", ".join(f"{count:,} {state}" for state, count in total.most_common())
    return f"{_count(len(changes), 'bundle')} more change (--json has all): {ends}"


def _end(simulation: Simulation) -> Iterator[str]:
    same = _count(simulation.sync.same, "bundle")
    if not simulation.sync.changes:
        yield "nothing changes on any cluster"
    elif simulation.sync.same:
        yield f"{same} more: nothing changes"
    if simulation.asked.bad:
        names = simulation.reached
        yield from _wrapped(
            f"the bad image was tried on {_count(len(names), 'cluster')}: {_named(names)}"
            if names
            else "the bad image reached no cluster"
        )


def _change(change: BundleChange) -> Iterator[str]:
    yield change.folder
    if change.stops:
        yield from _wrapped(change.refusal, "  ")
    if change.started_from:
        yield f"  clusters stand where the bad image stopped, played from {change.started_from}"
    if change.added:
        yield from _wrapped(f"new on {_named(change.added)}", "  ")
    if change.removed:
        yield from _wrapped(f"uninstalled from {_named(change.removed)}", "  ")
    if change.outcome is None:
        return
    yield from _partitions(change.outcome)
    yield from _moments(change.outcome)
    yield from _reasons(change)


def _partitions(outcome: Outcome) -> Iterator[str]:
    """A row for each partition: how many of its clusters end how."""
    rows = Counter((one.partition, _COLUMNS.get(one.state, "apart")) for one in outcome.fates)
    columns = [one for one in dict.fromkeys(_COLUMNS.values()) if any(c == one for _, c in rows)]
    head = "".join(f"{name:>8}" for name in ("all", "may", *columns))
    shown = outcome.played.partitions[:ROWS]
    wide = max(NAME, *(min(len(one.name), NAME_MOST) + 1 for one in shown))
    yield f"  {'partition':{wide}}{head}"
    for one in shown:
        numbers = [len(one.members), one.limit, *(rows[one.name, name] for name in columns)]
        name = one.name if len(one.name) < wide else f"{one.name[: wide - 2]}…"
        yield f"  {name or '(no name)':{wide}}" + "".join(f"{n:>8}" for n in numbers)
    more = len(outcome.played.partitions) - ROWS
    if more > 0:
        yield f"  and {more} partitions more"


def _moments(outcome: Outcome) -> Iterator[str]:
    """When how many clusters were told; the last line says when all were done."""
    seconds: dict[int, list[Step]] = {}
    for step in outcome.played.steps:
        seconds.setdefault(step.second, []).append(step)
    moments = list(seconds.items())
    shown = moments if len(moments) <= STEPS else [*moments[: STEPS - 1], moments[-1]]
    for second, steps in shown:
        if len(moments) > STEPS and second == shown[-1][0]:
            yield f"  {'…':>7}  {len(moments) - STEPS} moments more"
        told = [name for step in steps for name in step.told]
        created = sum(len(step.created) for step in steps)
        new = f"{created} created, " if created else ""
        yield f"  {clock(second):>7}  {new}{len(told)} told: {_named(told, 3)}"
    if outcome.done_s is not None:
        yield f"  {clock(outcome.done_s):>7}  all are ready"


def _reasons(change: BundleChange) -> Iterator[str]:
    assert change.outcome is not None
    tried = reached(change)
    if tried:
        words = STATES[tried[0].state].partition("; ")[2]
        yield from _wrapped(
            f"bad image tried on {len(tried)} of {_count(len(change.outcome.fates), 'cluster')}: "
            f"{_named([one.name for one in tried], 4)}{'; ' + words if words else ''}",
            "  ",
        )
    for why, count in change.outcome.holds.items():
        yield from _wrapped(f"{count} held by {why}", "  ")
    for state in ("apart", "paused", "silent", "working"):
        names = [one.name for one in change.outcome.fates if one.state == state]
        if names:
            yield from _wrapped(f"{len(names)}, each {STATES[state]}: {_named(names, 4)}", "  ")


def clock(second: int) -> str:
    """Minutes and seconds since Fleet saw the commit."""
    return f"{second // 60}:{second % 60:02}"


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _named(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    """Broken at spaces; a word that is longer than a line stays whole."""
    line = indent
    for word in text.split():
        if len(line) + len(word) > WIDTH and line.strip():
            yield line.rstrip()
            line = f"{indent}  "
        line += f"{word} "
    yield line.rstrip()
