"""What a target's publishing made goes to the branch: its records, and a ring's release.yaml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from engines.config.workspace import Workspace
from engines.errors import Conflict, InputError
from engines.files import listed
from release.gitops.branch import UNMOVED, Snapshot
from release.gitops.clone import PULL, head, is_behind, pull, way_to
from release.gitops.history import latest_change, latest_with
from release.moves.carry_out import check_still
from release.moves.earlier import held_by, stack
from release.moves.move import SOURCE, Move, resting_on
from release.moves.place import Place, place_of, read_at, rings_of
from release.packed import image_path
from release.records import (
    IN_GIT,
    attestation_path,
    candidates_path,
    publication_path,
    quarantine_path,
    signed_path,
)
from release.rollout.release_yaml import ReleaseValues, parse_values
from release.smoke.record import smoke_path
from release.tags import parse_tag


@dataclass(frozen=True, kw_only=True)
class HandedOver:
    """What goes to the branch."""

    place: Place | None
    """The ring that has the release then; by an earlier run where it is what the ring `runs`."""
    runs: ReleaseValues | None
    will_run: ReleaseValues | None
    left: str | None
    """Why the ring stays as it is, where the clone has another release for it."""
    there: bytes | None
    """The ring's release.yaml on the branch, which may be broken."""
    gone: tuple[str, ...]
    """Releases of which somebody took the record off the branch, as `git revert` of the commit that
    brought it does."""
    move: Move | None
    """None where the branch has all of it."""
    refusal: None = None


def plan_handing_over(
    snapshot: Snapshot, workspace: Workspace, target: str, place: Place | None, *, alone: bool
) -> HandedOver:
    """The records of `target` that are new in this clone, and the release.yaml of `place` with
    them, as one commit. Records go `alone` only where no other ring takes them along.

    Nobody's work is undone: a ring that went back from the release, or a release that is
    quarantined there, stays so. Raises Conflict for what the branch has otherwise since this clone
    left it or of a newer one, and InputError where it has no such ring.
    """
    refuse_older(snapshot, target)
    ours = dict(_records(workspace, target))
    will_run = runs = left = there = None
    if place is not None:
        rings = rings_of(snapshot, workspace)
        place_of(snapshot, rings, place.model, place.target, place.ring)
        if place.ring != rings.names[0]:
            raise InputError(
                f"Expected the first ring to be {rings.names[0]}, as release/rings.yaml on "
                f"{snapshot.gitops.shown} says, got {place.ring}, which is that of this clone. "
                f"Make that file here as it is there ({pull(snapshot)} where Fleet reads this very "
                "repository), and run the command again."
            )
        ours[place.path] = (workspace.root / place.path).read_bytes()
        will_run = parse_values(ours[place.path], place.path)
        runs, broken = read_at(snapshot, place)
        there = snapshot.read(place.path)
        if will_run is None:
            place = None
        elif will_run != runs and (
            left := _why_left(snapshot, place, will_run, empty=not (runs or broken))
        ):
            del ours[place.path]
            place = None
    before = snapshot.left_at() or snapshot
    old, now = _contents(before, ours), _contents(snapshot, ours)
    files = {path: one for path, one in ours.items() if one not in (old[path], now[path])}
    gone = tuple(path.split("/")[2] for path in ours if _is_gone(path, old, now))
    if place is not None and will_run != runs and place.path not in files:
        place = None  # nothing new here, and the branch has moved on
    if not alone and (place is None or will_run == runs):
        files = {}
    move = _move(before, target, place, runs, will_run, files) if files else None
    if move is not None and snapshot.left_at() is None and (source := head(snapshot.gitops.folder)):
        move = replace(move, trailers=(*move.trailers, (SOURCE, source)))
    if move is not None:
        # It rests on what this clone stands on, which may be older: again it would be as old.
        then = f"`release publish --target {target}` where the engines are"
        way = f"{way_to(snapshot)}, then {then}; in GitLab a new pipeline does it. "
        check_still(snapshot, move, f"Bring it here first: {way}")
    return HandedOver(
        place=place, runs=runs, will_run=will_run, left=left, there=there, gone=gone, move=move
    )


def _is_gone(path: str, old: Mapping[str, bytes | None], now: Mapping[str, bytes | None]) -> bool:
    return path.endswith("/publication.json") and now[path] is None and old[path] is not None


def refuse_older(snapshot: Snapshot, target: str) -> None:
    """Raise Conflict where a repository of Fleet's own has the records of `target` from a newer
    commit than this clone's, as where an older job ends after a newer one. In any other, git itself
    tells when the clone left the branch. Raises ServiceError where that cannot be asked."""
    if snapshot.left_at() is not None:
        return
    written = latest_with(snapshot, str(candidates_path(IN_GIT, target)), SOURCE)
    source = written.trailer(SOURCE) if written else None
    if written and source and is_behind(snapshot.gitops.folder, source):
        raise Conflict(
            f"Expected this clone to stand on commit {source[:12]} or a later one, of which "
            f"{snapshot.gitops.shown} has the releases of {target} ({written.who} brought them in "
            f"{written.name[:12]}), but it is older. {UNMOVED} {PULL} brings it up to date, "
            "in GitLab a new pipeline."
        )


def _records(workspace: Workspace, target: str) -> Iterable[tuple[str, bytes]]:
    """Path and content of each of a target's records that one machine writes. A quarantine is
    another matter: its command brings it to the branch."""
    paths = [candidates_path(workspace, target), signed_path(workspace, target)]
    for folder in listed(workspace.records, "v*"):
        try:
            tag = parse_tag(folder.name)
        except InputError:
            continue  # not a release: `release lint` and whoever reads it say so
        if tag.target == target:
            of = (publication_path, image_path, attestation_path, smoke_path)
            paths += [one(workspace, folder.name) for one in of]
    for path in paths:
        if path.is_file():
            yield str(workspace.relative(path)), path.read_bytes()


def _contents(snapshot: Snapshot, paths: Iterable[str]) -> dict[str, bytes | None]:
    files = {path: snapshot.file(path) for path in paths}
    found = snapshot.blobs(file.blob for file in files.values() if file)
    return {path: found[file.blob] if file else None for path, file in files.items()}


def _why_left(
    snapshot: Snapshot, place: Place, wanted: ReleaseValues, *, empty: bool
) -> str | None:
    name = parse_tag(wanted.image.tag).name
    stays = f"{place.ring} of {place.model} on {place.target} stays as it is"
    if snapshot.file(str(quarantine_path(IN_GIT, name))):
        return f"{name} is quarantined on {snapshot.gitops.shown}, so {stays}"
    held = held_by(snapshot, place)
    # In a repository of Fleet's own nothing tells whether this clone is an old one.
    known = snapshot.left_at() is not None
    # A first release that was reverted leaves nothing that the ring stands on.
    stands_on = {one.release for one in (stack(held) if known else held[-1:]) if not empty}
    change = latest_change(snapshot, place.path)
    if change and name in {one.release for one in held} - stands_on:
        at = max(i for i, one in enumerate(held) if one.release == name)
        # What came after that may have been followed by others.
        by = (held[at + 1].change if held[at + 1 :] else change).commit
        went = "back" if known else "on"
        return (
            f"{place.ring} went {went} from {name} ({by.name[:12]}, {by.who}), so {stays}. To have "
            f"it there all the same: `release rollback {place.model} --target {place.target} "
            f"--ring {place.ring} --to {name}`"
        )
    return None


def _name(values: ReleaseValues) -> str:
    return parse_tag(values.image.tag).name


def _move(
    before: Snapshot,
    target: str,
    place: Place | None,
    runs: ReleaseValues | None,
    will_run: ReleaseValues | None,
    files: Mapping[str, bytes],
) -> Move:
    rests_on = resting_on(before, *files)
    if place is None or will_run is None or will_run == runs:
        names = [path.split("/")[2] for path in files if path.endswith("/publication.json")]
        return Move(
            # By its name a merge request has its branch.
            subject=f"Record what was published of {target}: {', '.join(names) or 'candidates'}",
            body="No ring changes.",
            trailers=tuple(("Release", name) for name in names),
            files=files,
            rests_on=rests_on,
        )
    tag = will_run.image.tag
    quarantine = str(quarantine_path(IN_GIT, parse_tag(tag).name))
    return Move(
        subject=f"Release {place.model} on {place.target} to {place.ring}: {_name(will_run)}",
        body=f"{place.ring} gets the candidate.",
        trailers=(
            ("Release", tag),
            ("To", place.ring),
            *([("Replaces", runs.image.tag)] if runs else []),
        ),
        files=files,
        rests_on={**rests_on, quarantine: None},
    )
