"""Which rings have a release that does harm: by what sites say, over time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from engines.config.rings import Rings, Watch
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import TEMPORARY_PREFIX
from engines.records.record import Part, Record
from release.gitops.branch import Snapshot
from release.gitops.history import Commit
from release.moves.ledger import since
from release.moves.place import Place, places, read_at, values_at
from release.moves.seen import Seen, named, see
from release.reports.report import Report
from release.say import in_utc
from release.tags import parse_tag

AHEAD = timedelta(minutes=10)
"""By which a report may be of a later time than this machine's clock."""


class Message(Part):
    """What people are to hear of a rollback, and who did."""

    title: str
    why: str
    done: str = ""
    chat_told: bool = False
    issue_told: bool = False


class Memory(Record):
    """Since when each cluster fails with each release: Fleet's own time begins anew with every
    message, and a pod that crashes again and again has many. And whom nobody told yet."""

    written_by: ClassVar[str] = "release watch"

    failing: dict[str, datetime] = Field(default_factory=dict)
    """`<folder of the ring> <release> <cluster>` to when it was seen failing first."""
    untold: dict[str, Message] = Field(default_factory=dict)
    """`<folder of the ring> <release>` to what people have not heard yet."""
    stuck: list[str] = Field(default_factory=list)
    """`<folder of the ring> <release>` that had nothing to go back to: people hear it once."""


def memory_file(workspace: Workspace) -> Path:
    """Beside the lock; git leaves it out."""
    return workspace.root / f"{TEMPORARY_PREFIX}watch.json"


def still_true(snapshot: Snapshot, memory: Memory) -> Memory:
    """Without what was to be told of a ring that has the release all the same: the look that wanted
    to take it out failed, or was killed before. If it does harm, this look goes on from there."""
    undone = {key for key, one in memory.untold.items() if not one.done}
    folders = {key.partition(" ")[0] for key in undone}
    has_it = {
        f"{one.folder} {parse_tag(values.image.tag).name}"
        for one in places(snapshot)
        if one.folder in folders and (values := read_at(snapshot, one)[0]) is not None
    }
    untold = {key: one for key, one in memory.untold.items() if key not in undone & has_it}
    return memory.model_copy(update={"untold": untold})


@dataclass(frozen=True, kw_only=True)
class Undone:
    """What was done about one ring."""

    done: str
    """In words; empty where somebody else was faster."""
    quarantined: bool
    """The release was not in quarantine before."""
    stuck: bool
    """The ring has the release still, since nothing was before it."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A ring whose release has to go."""

    place: Place
    release: str
    clusters: tuple[str, ...]
    why: str

    @property
    def key(self) -> str:
        """Of the ring and the release."""
        return f"{self.place.folder} {self.release}"

    @property
    def message(self) -> Message:
        """What people are told, before it is known what was done."""
        return Message(title=f"{self.release} was taken out of {self.place.ring}", why=self.why)

    def after(self, undone: Undone) -> Message:
        """What people are told."""
        found = self.message.model_copy(update={"done": undone.done})
        if not undone.stuck:
            return found
        title = f"{self.release} does harm in {self.place.ring}, and is there still"
        return found.model_copy(update={"title": title})


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What one look found."""

    troubles: tuple[Trouble, ...]
    seen: tuple[Seen, ...]
    """Every ring that is watched and has a release."""
    memory: Memory
    """For the next look."""
    left_alone: tuple[str, ...]
    """Why rings were not judged."""


def look(
    snapshot: Snapshot, rings: Rings, report: Report, memory: Memory, now: datetime
) -> Watched:
    """Compare what `report` says with what git says. Nothing is changed."""
    watched = [
        (one, watch)
        for one in places(snapshot)
        if one.ring in rings.names
        for watch in [rings.ring(one.ring).watch]
        if watch is not None
    ]
    commits = since(snapshot, [one for one, _ in watched])
    troubles, seen, alone = [], [], []
    failing: dict[str, datetime] = {}
    for place, watch in watched:
        age = now - report.at
        if not -AHEAD <= age <= timedelta(minutes=watch.report_minutes):
            alone.append(
                f"{place.folder}: the report is of {in_utc(report.at)}, which is no "
                f"ground for anything; at most {watch.report_minutes:g} minutes old would be"
            )
            # What was known stays known: a gap in the reports is no sign of health.
            failing |= _of(memory.failing, place)
            continue
        try:
            values = values_at(snapshot, place)
        except InputError as error:
            alone.append(str(error))
            continue
        if values is None or place not in commits:
            continue
        one = see(snapshot, report, place, parse_tag(values.image.tag).name)
        seen.append(one)
        mine = dict(_failing(one, memory, now))
        failing |= mine
        trouble = _judge(one, watch, mine, commits[place], now)
        if trouble is not None:
            troubles.append(trouble)
    judged = {one.place.folder for one in seen}
    over = {key for key in memory.stuck if key.partition(" ")[0] in judged} - {
        one.key for one in troubles
    }
    return Watched(
        troubles=tuple(troubles),
        seen=tuple(seen),
        memory=Memory(
            failing=dict(sorted(failing.items())),
            untold=memory.untold,
            stuck=[key for key in memory.stuck if key not in over],
        ),
        left_alone=tuple(alone),
    )


def _of(failing: Mapping[str, datetime], place: Place) -> dict[str, datetime]:
    return {key: at for key, at in failing.items() if key.startswith(f"{place.folder} ")}


def _failing(seen: Seen, memory: Memory, now: datetime) -> Iterator[tuple[str, datetime]]:
    """Each cluster that fails now, and since when without a break."""
    for one in seen.failing:
        key = f"{seen.place.folder} {seen.release} {one.cluster}"
        known = memory.failing.get(key, now)
        # Of a ready cluster whose pods tell another version, Fleet's time is of something else.
        by_fleet = one.since if one.since and not one.ready else now
        yield key, min(known, by_fleet, now)


def _judge(
    seen: Seen, watch: Watch, failing: Mapping[str, datetime], got: Commit, now: datetime
) -> Trouble | None:
    if now - got.at > timedelta(hours=watch.hours):
        return None
    # Before the ring got the release nothing was its doing.
    minutes = {
        key.rpartition(" ")[2]: (now - max(at, got.at)).total_seconds() / 60
        for key, at in failing.items()
    }
    late = sorted(cluster for cluster, one in minutes.items() if one >= watch.minutes)
    if len(late) < watch.clusters:
        return None
    by_fleet = {one.cluster for one in seen.failing if not one.ready}
    how = [
        *(["are not ready with it"] if by_fleet.intersection(late) else []),
        *([] if by_fleet.issuperset(late) else ["tell another version"]),
    ]
    words = {one.cluster: one.message for one in seen.failing if one.message}
    said = next((words[cluster] for cluster in late if cluster in words), "")
    longest = max(minutes[cluster] for cluster in late)
    return Trouble(
        place=seen.place,
        release=seen.release,
        clusters=tuple(late),
        why=(
            f"{len(late)} of {len(seen.deployments)} clusters of {seen.place.ring} "
            f"{' or '.join(how)} for up to {longest:.0f} min: {named(late)}"
            + (f" ({said[:200]})" if said else "")
        ),
    )
