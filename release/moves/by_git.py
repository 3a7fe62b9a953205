"""What MLflow's aliases name by git: that of a ring what Fleet's branch says that it runs, and
`candidate` what the records say."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pydantic import ValidationError

from engines.config.workspace import Workspace
from engines.files import listed
from release.gitops.branch import Snapshot
from release.gitops.clone import pull
from release.gitops.history import changes, removed
from release.moves.ledger import released
from release.moves.place import Place, is_only_behind, places, read_at, rings_of
from release.records import Candidates, Publication, candidates_path, read_publication
from release.registry.policy import CANDIDATE
from release.tags import parse_tag


class ByGit(NamedTuple):
    """Each alias, and those that git does not tell."""

    releases: dict[Place, str]
    """What it names; empty: it is not there."""
    stay: tuple[str, ...]
    """Why one of a ring or a target is not among them, a sentence each."""


def by_git(
    workspace: Workspace,
    target: str | None,
    snapshot: Snapshot | None,
    records: Workspace,
    published: set[tuple[str, str]],
) -> ByGit:
    """What the aliases of the models of `ever_published`, and of their rings, name on `target`, or
    on each one.

    `snapshot` is Fleet's branch and `records` are those that it has; without it rings are not
    among them, since what was only written in a clone is no move yet. Raises InputError and
    WrongEngine for a record of this clone that is none, or does not add up.
    """
    known = {name for _, name in published}
    behind = behind_on(workspace, snapshot, known)
    found: dict[Place, str] = {}
    stay = []
    for name in sorted(known):
        models = {model for model, of in published if of == name}
        if name not in behind:
            found |= _candidates(workspace, name, models)
        elif snapshot is not None and _is_only_behind(workspace, snapshot, name):
            found |= _candidates(records, name, models)
        elif snapshot is not None:
            stay.append(
                f"{name}: this clone and {snapshot.gitops.shown} both have candidates that the "
                f"other does not, so the alias {CANDIDATE} stays as it is; {pull(snapshot)} brings "
                "them together"
            )
    if snapshot is not None:
        gone = _rings_gone(workspace, published, snapshot)
        found |= dict.fromkeys(sorted(gone, key=lambda one: (one.model, one.target, one.ring)), "")
        for place in places(snapshot):
            if target in (None, place.target):
                values, broken = read_at(snapshot, place)
                if broken:
                    what = f"The alias {place.ring} of {place.model} on {place.target}"
                    stay.append(f"{what} stays: {broken}")
                elif values or (place.model, place.target) in published:
                    # Of what nobody published MLflow has nothing, which it need not let one ask.
                    found[place] = parse_tag(values.image.tag).name if values else ""
    return ByGit(found, tuple(stay))


def ever_published(
    workspace: Workspace, target: str | None, snapshot: Snapshot | None
) -> set[tuple[str, str]]:
    """Model and target, or those of `target`, of every release that there is a record of, here or
    on the branch that the clone goes by, or was until somebody reverted it: its aliases are in
    MLflow still."""
    here = map(Publication.read, listed(workspace.records, "v*/publication.json"))
    if snapshot is not None and snapshot.left_at() is None:
        snapshot = None  # a repository of Fleet's own may have what others published
    contents = removed(workspace.root, snapshot, "release/records", "publication.json")
    if snapshot is not None:
        files = snapshot.below("release/records")
        blobs = [file.blob for path, file in files.items() if path.endswith("/publication.json")]
        contents += snapshot.blobs(blobs).values()
    found = (*here, *_publications(contents))
    return {(one.model, one.target) for one in found if target in (None, one.target)}


def behind_on(workspace: Workspace, snapshot: Snapshot | None, targets: Iterable[str]) -> set[str]:
    """The targets whose candidates somebody changed on the branch since the clone left it. What the
    clone changed there, as by publishing again, is older until a pull brings both together."""
    left = snapshot.left_at() if snapshot else None
    if snapshot is None or left is None:
        return set()
    paths = {one: candidates_path(workspace, one) for one in targets}
    names = {one: str(workspace.relative(path)) for one, path in paths.items()}
    return {
        one
        for one, path in paths.items()
        if (there := snapshot.read(names[one])) != left.read(names[one])
        and there != (path.read_bytes() if path.is_file() else None)
    }


def _is_only_behind(workspace: Workspace, snapshot: Snapshot, target: str) -> bool:
    path = workspace.relative(candidates_path(workspace, target))
    return is_only_behind(workspace, snapshot.left_at(), str(path))


def _candidates(records: Workspace, target: str, models: Iterable[str]) -> dict[Place, str]:
    """Of models that were published: none where none of their engines passes any more, or `pipeline
    remove-model` took them away, or all of their records went by `git revert`."""
    path = candidates_path(records, target)
    there = Candidates.read(path).candidates if path.is_file() else {}
    releases = dict.fromkeys(models, "") | {
        model: read_publication(records, one.release).release for model, one in there.items()
    }
    return {
        Place(model=model, target=target, ring=CANDIDATE): release
        for model, release in sorted(releases.items())
    }


def _rings_gone(
    workspace: Workspace, published: set[tuple[str, str]], snapshot: Snapshot
) -> set[Place]:
    """The rings of models that were published, where the branch has no folder any more: of rings
    that rings.yaml names, and of those that it named before."""
    named = {
        Place(model=model, target=target, ring=ring)
        for model, target in published
        for ring in rings_of(snapshot, workspace).names
    }
    ever = released(changes(snapshot, "release/fleet"))
    had = {one for one in ever if (one.model, one.target) in published}
    return (named | had) - set(places(snapshot))


def _publications(contents: Iterable[bytes]) -> Iterable[Publication]:
    for content in contents:
        try:
            yield Publication.model_validate_json(content)
        except ValidationError:
            continue  # broken, or of another format: `release lint` says so of the branch's
