"""A promotion: a ring gets the release.yaml of the ring below."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from engines.config.rings import Ring, Rings
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import sha256_file
from release.gitops.branch import Snapshot
from release.gitops.history import Commit, below, latest_change, tip
from release.moves.move import Move, one_line, resting_on
from release.moves.place import Place, place_of, rings_of, values_at
from release.moves.planned import Planned
from release.moves.rules import RuleInput, RuleResult, ask, overridden, refusal
from release.moves.seen import see
from release.records import (
    Publication,
    attestation_path,
    publication_path,
    quarantine_path,
    read_publication,
)
from release.reports.report import Report
from release.rollout.release_yaml import ReleaseValues
from release.tags import parse_tag


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What somebody asks for."""

    model: str
    target: str
    to: str
    overrides: Sequence[str] = ()
    why: str | None = None
    report: Report | None = None
    """What the sites said."""


def plan_promotion(snapshot: Snapshot, workspace: Workspace, wish: Wish, view: Path) -> Planned:
    """The promotion that `wish` asks for, every rule asked. `view` is an empty folder to read the
    branch's files in.

    Raises InputError for names that there are not, the first ring, or a ring below that has no
    release, and WrongEngine for a record that does not add up.
    """
    rings = rings_of(snapshot, workspace)
    place = place_of(snapshot, rings, wish.model, wish.target, wish.to)
    ring, below = rings.ring(wish.to), rings.below(wish.to)
    if below is None:
        raise InputError(
            f"Expected a ring with one below it, got {wish.to!r}, the first, which publishing "
            "writes. Run `release write --push`."
        )
    source = place_of(snapshot, rings, wish.model, wish.target, below.name)
    release = _release_in(snapshot, rings, source)
    runs = values_at(snapshot, place)
    since = _since(snapshot, place)
    planned = Planned(
        action="promote",
        place=place,
        source=source.ring,
        runs=runs,
        since=since if runs else None,
        will_run=release,
        answers=(),
        move=None,
    )
    if runs == release:
        return planned
    name = parse_tag(release.image.tag).name
    files = exported(snapshot, workspace, name, view, place)
    publication = _publication(snapshot, files, name, source)
    asked = _asked(snapshot, wish, ring, source, publication, files)
    answers = overridden(ask(asked), wish.overrides, wish.why)
    move = _move(snapshot, planned, source, files, answers, wish.why)
    return replace(planned, answers=tuple(answers), move=move, refusal=refusal(answers))


def _asked(
    snapshot: Snapshot,
    wish: Wish,
    ring: Ring,
    source: Place,
    publication: Publication,
    view: Workspace,
) -> RuleInput:
    there_since, content = _since(snapshot, source), snapshot.read(source.path)
    values = values_at(snapshot, source)
    # The ring has a release, so there is all of it.
    assert there_since is not None
    assert content is not None
    assert values is not None
    report = wish.report
    return RuleInput(
        ring=ring,
        below=source.ring,
        publication=publication,
        place=source.other(ring.name),
        tag=values.image.tag,
        content=content,
        there_since=there_since,
        stands_on=below(snapshot, there_since),
        tip=tip(snapshot),
        view=view,
        author=snapshot.gitops.author(),
        now=utc_now(),
        overridden=frozenset(wish.overrides),
        seen=see(snapshot, report, source, publication.release) if report else None,
        labels=report.labels if report else {},
    )


def utc_now() -> datetime:
    """The time by this machine's clock."""
    return datetime.now(timezone.utc)


def exported(
    snapshot: Snapshot, workspace: Workspace, release: str, folder: Path, place: Place
) -> Workspace:
    """The branch's files of one release and ring as a workspace in `folder`; in a repository of
    Fleet's own, records, keys and the target's row are those of the clone where it has none."""
    row = workspace.relative(workspace.target(place.target) / "params.yaml")
    view = snapshot.export(
        folder,
        *(f"release/records/{release}", f"release/records/candidates/{place.target}.json"),
        *("release/trust/keys", "release/rings.yaml"),
        *(f"release/fleet/{place.model}", "release/fleet/gitrepo.yaml", "release/charts"),
        row,
    )
    if snapshot.left_at() is not None:
        return view  # an uncommitted key of the clone is nobody's word
    for own, theirs in (
        (workspace.records / release, view.records / release),
        (workspace.trusted_keys, view.trusted_keys),
    ):
        if own.is_dir() and not theirs.is_dir():
            shutil.copytree(own, theirs)
    own, theirs = workspace.root / row, view.root / row
    if own.is_file() and not theirs.is_file():
        theirs.parent.mkdir(parents=True)
        shutil.copyfile(own, theirs)
    return view


def _release_in(snapshot: Snapshot, rings: Rings, source: Place) -> ReleaseValues:
    values = values_at(snapshot, source)
    if values is None:
        giving = "`release promote`" if rings.below(source.ring) else "`release write --push`"
        raise InputError(
            f"Expected a release in {source.ring} of {source.model} on {source.target}, but on "
            f"{snapshot.gitops.shown} it has none. {giving} gives it one."
        )
    if parse_tag(values.image.tag).target != source.target:
        raise InputError(
            f"Expected a release of {source.target} in {source.path}, got {values.image.tag}, "
            "which is another target's. Write the right one with `release write --push`."
        )
    return values


def _since(snapshot: Snapshot, place: Place) -> Commit | None:
    change = latest_change(snapshot, place.path)
    return change.commit if change else None


def _publication(snapshot: Snapshot, view: Workspace, release: str, source: Place) -> Publication:
    path = publication_path(view, release)
    if not path.is_file():
        raise InputError(
            f"Expected {view.relative(path)} on {snapshot.gitops.shown}, since {source.ring} of "
            f"{source.model} on {source.target} has that release, but it is not there. `release "
            "write --push` brings it from the clone that published it. If none did, roll the ring "
            f"back: `release rollback {source.model} --target {source.target} --ring "
            f"{source.ring}`."
        )
    publication = read_publication(view, release)
    if (publication.model, publication.target) != (source.model, source.target):
        raise InputError(
            f"Expected a release of {source.model} on {source.target} in {source.path}, got "
            f"{release}, which is of {publication.model} on {publication.target}. Write the right "
            "one with `release write --push`."
        )
    return publication


def _move(
    snapshot: Snapshot,
    planned: Planned,
    source: Place,
    view: Workspace,
    answers: Sequence[RuleResult],
    why: str | None,
) -> Move:
    place, tag = planned.place, planned.will_run.image.tag
    name = parse_tag(tag).name
    content = snapshot.read(source.path)
    assert content is not None
    records = [publication_path(view, name), attestation_path(view, name)]
    evidence = [
        ("Evidence", f"{view.relative(one)} sha256:{sha256_file(one)}")
        for one in records
        if one.is_file()
    ]
    replaced = [("Replaces", planned.runs.image.tag)] if planned.runs else []
    reasons = [("Override", one.rule) for one in answers if one.overridden]
    reasons += [("Why", one_line(why))] if why else []
    told = "".join(f"\n- {one.rule}: {one.said}{_mark(one)}" for one in answers)
    return Move(
        subject=f"Promote {place.model} on {place.target} to {place.ring}: {name}",
        body=f"{place.ring} gets what {source.ring} has.{told}",
        trailers=(
            ("Release", tag),
            ("From", source.ring),
            ("To", place.ring),
            *replaced,
            *evidence,
            *reasons,
        ),
        files={place.path: content},
        rests_on=resting_on(
            snapshot,
            *(place.path, source.path, "release/rings.yaml"),
            view.relative(quarantine_path(view, name)),
        ),
    )


def _mark(answer: RuleResult) -> str:
    return " (overridden)" if answer.overridden else ""
