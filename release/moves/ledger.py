"""What the branch says of rings: what they run, since when and by whom, and what they ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from engines.errors import InputError
from release.gitops.branch import File, Snapshot
from release.gitops.history import Commit, FileCommit, changes
from release.moves.place import Place, places_of
from release.rollout.release_yaml import ReleaseValues, parse_values


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A commit by which a ring got another release."""

    place: Place
    commit: Commit
    before: ReleaseValues | None
    after: ReleaseValues | None


def entries(
    snapshot: Snapshot, places: Iterable[Place], ever: Iterable[FileCommit] | None = None
) -> list[Entry]:
    """Every such commit, the latest first. A release.yaml that nobody can read counts as none.

    `ever`: all changes in Fleet's folder, where somebody has them already.
    """
    by_path = {one.path: one for one in places}
    if not by_path:
        return []
    asked = changes(snapshot, *by_path) if ever is None else ever
    found = [one for one in asked if one.path in by_path]
    contents = snapshot.blobs(one.file.blob for one in found if one.file)
    runs: dict[str, ReleaseValues | None] = {}
    listed = []
    for one in found:
        before, after = runs.get(one.path), _values(one, contents)
        runs[one.path] = after
        if before != after:
            entry = Entry(place=by_path[one.path], commit=one.commit, before=before, after=after)
            listed.append(entry)
    return listed[::-1]


def released(ever: Iterable[FileCommit]) -> list[Place]:
    """Every ring that had a release, of all changes in Fleet's folder: those too that are gone."""
    return places_of((one.path for one in ever), "release.yaml")


def since(snapshot: Snapshot, places: Iterable[Place]) -> dict[Place, Commit]:
    """The commit by which each ring got what it runs."""
    latest: dict[Place, Commit] = {}
    for entry in entries(snapshot, places):
        latest.setdefault(entry.place, entry.commit)
    return latest


def _values(change: FileCommit, contents: dict[str, bytes]) -> ReleaseValues | None:
    file: File | None = change.file
    if file is None:
        return None
    try:
        return parse_values(contents[file.blob], change.path)
    except InputError:
        return None
