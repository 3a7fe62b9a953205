"""A quarantine: a release goes to no ring any more, or may again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError
from release.gitops.branch import Snapshot
from release.moves.carry_out import proposed
from release.moves.earlier import held_by, step_back
from release.moves.move import Move, one_line, resting_on
from release.moves.place import Place, gets_another, places, read_at, rings_of
from release.records import (
    IN_GIT,
    Quarantine,
    publication_path,
    quarantine_path,
    read_quarantine,
)
from release.tags import parse_tag


@dataclass(frozen=True, kw_only=True)
class Running:
    """A ring that runs the release."""

    place: Place
    can_go_back: bool
    """Whether a rollback has what to give it."""
    another: str
    """How it gets a release that it never had."""


@dataclass(frozen=True, kw_only=True)
class PlannedQuarantine:
    """What a quarantine, or lifting one, would do."""

    release: str
    lift: bool
    before: Quarantine | None
    """The quarantine that stands."""
    runs_in: tuple[Running, ...]
    """Rings that run the release: they keep it until they are rolled back."""
    requests: tuple[str, ...]
    """Branches of merge requests that would bring the release to a ring: merging asks nobody."""
    move: Move | None
    """None where the branch says so already."""
    refusal: None = None
    """Whoever sees harm may say so."""


def plan_quarantine(
    snapshot: Snapshot,
    workspace: Workspace,
    tag: str,
    why: str,
    now: datetime,
    view: Path,
    *,
    lift: bool = False,
) -> PlannedQuarantine:
    """Quarantine the release `tag`, or lift its quarantine. `why` is kept in either case.

    Raises InputError for a tag that is none or of no release, and without a reason.
    """
    release, why = parse_tag(tag).name, one_line(why)
    if not why:
        raise InputError("Expected --why TEXT: whoever looks for a release finds the reason there.")
    path = str(quarantine_path(IN_GIT, release))
    record = str(publication_path(IN_GIT, release))
    requests = () if lift else proposed(snapshot.gitops, release)
    known = requests or snapshot.file(record) or snapshot.file(path)
    if not known and not publication_path(workspace, release).is_file():
        raise InputError(
            f"Expected the tag of a published release, got {release}: there is no {record} on "
            f"{snapshot.gitops.shown} or in this clone. `release status` shows tags."
        )
    before = read_quarantine(snapshot.export(view, path), release)
    runs_in = tuple(
        Running(
            place=one,
            can_go_back=_can_go_back(snapshot, one, release),
            another=_another(snapshot, workspace, one),
        )
        for one in places(snapshot)
        if _runs(snapshot, one, release)
    )
    planned = PlannedQuarantine(
        release=release,
        lift=lift,
        before=before,
        runs_in=runs_in,
        requests=requests,
        move=None,
    )
    if (before is None) == lift:
        return planned
    by = snapshot.gitops.author()
    content = None
    if not lift:
        quarantine = Quarantine(release=release, why=why, by=by, at=now.replace(microsecond=0))
        content = (quarantine.model_dump_json(indent=2, by_alias=True) + "\n").encode()
    move = Move(
        subject=f"{'Lift the quarantine of' if lift else 'Quarantine'} {release}",
        body=_body(lift, runs_in),
        trailers=(("Release", release), ("Why", why)),
        files={path: content},
        rests_on=resting_on(snapshot, path),
    )
    return replace(planned, move=move)


def _runs(snapshot: Snapshot, place: Place, release: str) -> bool:
    values, _ = read_at(snapshot, place)
    return values is not None and parse_tag(values.image.tag).name == release


def _can_go_back(snapshot: Snapshot, place: Place, release: str) -> bool:
    held = held_by(snapshot, place)
    names = {one.release for one in held}
    banned = {one for one in names if snapshot.file(str(quarantine_path(IN_GIT, one)))}
    return step_back(held, banned | {release}) is not None


def _another(snapshot: Snapshot, workspace: Workspace, place: Place) -> str:
    """A rings.yaml that nobody can read keeps nobody from a quarantine."""
    try:
        return gets_another(rings_of(snapshot, workspace), place)
    except InputError:
        return "a promotion"


def _body(lift: bool, runs_in: Sequence[Running]) -> str:
    if lift:
        return "It may go to rings again."
    found = [one.place for one in runs_in]
    rings = ", ".join(f"{one.ring} of {one.model} on {one.target}" for one in found)
    return f"It goes to no ring any more. It runs in: {rings or 'none'}."
