"""A rollback: a ring gets back what it had before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from engines.config.rings import Rings
from engines.config.workspace import Workspace
from engines.errors import Conflict, InputError, WrongEngine
from release.attested import why_not_trusted
from release.gitops.branch import Snapshot
from release.moves.earlier import Held, held_by, stack, step_back, went_back
from release.moves.move import Move, resting_on
from release.moves.place import Place, gets_another, place_of, places, read_at, rings_of
from release.moves.planned import Planned
from release.moves.reach import reach
from release.moves.seen import see
from release.packed import read_image
from release.records import (
    IN_GIT,
    Quarantine,
    publication_path,
    quarantine_path,
    read_quarantine,
)
from release.reports.report import Report
from release.rollout.release_yaml import ReleaseValues
from release.tags import parse_tag


class NothingBefore(InputError):
    """A ring has nothing to go back to."""


def plan_rollback(
    snapshot: Snapshot,
    workspace: Workspace,
    place: Place,
    to: str | None,
    why: str | None,
    view: Path,
    report: Report | None = None,
    only_from: str | None = None,
) -> Planned:
    """The step back of one ring: to the release `to`, or to what it had before what it has now and
    is not quarantined. No rule is asked: back is always allowed.

    A ring that went back already stays, unless `to` names where to or what it holds is quarantined:
    a command that was killed after its push, or a second person at 3 a.m., takes no second step.

    With `only_from` the ring goes back from that release and from no other. One whose release.yaml
    nobody can read gets what it had before that, and so may one that rings.yaml no longer names.

    Raises InputError for names that there are not, for a release that the ring never had, and
    without `to` for a ring that somebody emptied, NothingBefore without `to` where there is none,
    and Conflict where the ring has another release than `only_from`.
    """
    rings = rings_of(snapshot, workspace)
    if place not in places(snapshot):
        place = place_of(snapshot, rings, place.model, place.target, place.ring)
    runs, broken = read_at(snapshot, place)
    if only_from and (runs is None or parse_tag(runs.image.tag).name != only_from):
        raise Conflict(
            f"Expected {only_from} in {place.ring} of {place.model} on {place.target}, but it has "
            f"{runs.image.tag if runs else 'none'} by now. Nothing was moved."
        )
    held = held_by(snapshot, place)
    records = (f"release/records/{one.release}" for one in held)
    files = snapshot.export(view, "release/trust/keys", *records)
    found = {one.release: read_quarantine(files, one.release) for one in held}
    banned = {release: one for release, one in found.items() if one}
    if to:
        chosen = _named(held, to, place)
    elif broken and held and held[-1].release not in banned:
        chosen = held[-1]
    elif not runs and not broken and any(one.release not in banned for one in held):
        raise InputError(_which(held, banned, place))
    else:
        published = {
            one
            for one in found
            if any(publication_path(at, one).is_file() for at in (files, workspace))
        }
        chosen = _back(_as_packed(held, files), banned, place, rings, runs, published)
    _refuse_quarantined(chosen, banned)
    planned = Planned(
        action="roll back",
        place=place,
        source=f"its release.yaml of {chosen.change.commit.name[:12]}",
        runs=runs,
        since=held[-1].change.commit if runs else None,
        will_run=chosen.values,
        answers=(),
        reach=(*_reach(snapshot, report, place, runs), *_refused(files, chosen)),
        move=None,
    )
    if runs == chosen.values:
        return planned
    move = _move(snapshot, planned, chosen, why)
    return replace(planned, move=move)


def _refuse_quarantined(chosen: Held, banned: Mapping[str, Quarantine]) -> None:
    found = banned.get(chosen.release)
    if found is not None:
        raise InputError(
            f"Expected a release that is not quarantined, got {chosen.release}: {found.why} (said "
            f"{found.by}). Choose another with --to, or lift it with `release quarantine "
            f"{chosen.release} --lift --why TEXT`."
        )


def _refused(files: Workspace, chosen: Held) -> tuple[str, ...]:
    """Back is always allowed, but where pods do not start there somebody has to know: what a site
    is given may be older than the branch's keys, and the old pods serve on meanwhile."""
    why = why_not_trusted(files, chosen.release)
    return (f"Pods that are given release/trust/keys refuse it: {why}",) if why else ()


def _reach(
    snapshot: Snapshot, report: Report | None, place: Place, runs: ReleaseValues | None
) -> tuple[str, ...]:
    if report is None or runs is None:
        return ()
    return reach(see(snapshot, report, place, parse_tag(runs.image.tag).name), report)


def _named(held: list[Held], to: str, place: Place) -> Held:
    tag = parse_tag(to)
    for one in reversed(held):
        if one.values.image.tag == to or (tag.digest is None and one.release == tag.name):
            return one
    known = ", ".join(dict.fromkeys(one.release for one in reversed(held))) or "none"
    raise InputError(
        f"Expected a release that {place.ring} of {place.model} on {place.target} had before "
        f"({known}); got {to}. What was never there goes there by `release promote`."
    )


def _which(held: Sequence[Held], banned: Mapping[str, Quarantine], place: Place) -> str:
    """Asks for `to`: what a ring had last may be why somebody took it away, or that was a slip."""
    found = [one.release for one in reversed(stack(held)) if one.release not in banned]
    return (
        f"Expected {place.ring} of {place.model} on {place.target} to have a release, but somebody "
        f"took {held[-1].release} away. Give it what it shall have with --to, of what it had, the "
        f"latest first: {', '.join(found)}."
    )


def _as_packed(held: list[Held], files: Workspace) -> list[Held]:
    """Without the steps at which the ring had the release that it has now, but before that was
    packed, or by an image that it was before: back there is no way away from the release, and no
    registry has that."""
    with suppress(InputError, WrongEngine):
        if held and (image := read_image(files, held[-1].release)):
            tag = f"{image.release}@{image.digest}"
            return [
                one
                for one in held
                if one is held[-1] or one.release != image.release or one.values.image.tag == tag
            ]
    return held


def _back(
    held: Sequence[Held],
    banned: Mapping[str, Quarantine],
    place: Place,
    rings: Rings,
    runs: ReleaseValues | None,
    published: Set[str],
) -> Held:
    """What the ring goes back to, of all that it held. An edit by hand, to a tag that nobody
    `published`, is passed over: no pod runs that. Where no record is left of any, none is known to
    be such an edit."""
    typed = {one.release for one in held} - published if published else set()
    avoided = typed.union(banned)
    if runs and went_back(held) and held[-1].release not in avoided:
        return held[-1]
    found = step_back(held, avoided)
    if found is not None:
        return found
    left_out = [one.release for one in stack(held)[:-1]]
    unknown = "" if typed.isdisjoint(left_out) else ", or of which no record tells"
    but = f" but what is quarantined{unknown} ({', '.join(left_out)})" if left_out else ""
    # Why it went back from those, people know; an edit by hand of which no record tells is none.
    left = {one.release for one in held} - {one.release for one in held[-1:]} - banned.keys()
    latest = dict.fromkeys(one.release for one in reversed(held))
    again = ", ".join(one for one in latest if one in left and one in published)
    raise NothingBefore(
        f"Expected a release that {place.ring} of {place.model} on {place.target} had before the "
        f"one it has, but there is none{but}. Bring another release to it "
        f"({gets_another(rings, place)}), "
        + (f"give it one that it went back from with --to ({again}), " if again else "")
        + "or take its clusters out of the ring by their label."
    )


def _move(snapshot: Snapshot, planned: Planned, chosen: Held, why: str | None) -> Move:
    place, tag = planned.place, planned.will_run.image.tag
    commit = chosen.change.commit
    replaced = [("Replaces", planned.runs.image.tag)] if planned.runs else []
    return Move(
        subject=f"Roll {place.model} on {place.target} in {place.ring} back to {chosen.release}",
        body=f"{place.ring} gets back what it had from {commit.name[:12]} on, byte for byte.",
        trailers=(
            ("Release", tag),
            ("From", place.ring),
            ("To", place.ring),
            *replaced,
            ("Evidence", f"commit {commit.name}"),
            *([("Why", why)] if why else []),
        ),
        files={place.path: chosen.content},
        rests_on=resting_on(snapshot, place.path, str(quarantine_path(IN_GIT, chosen.release))),
    )
