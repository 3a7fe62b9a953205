"""MLflow's aliases follow git: each ring's name points at the version that the ring runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from release.gitops.history import was_ever_there
from release.moves.place import Place
from release.records import MlflowEntry, Publication, publication_path
from release.registry.mlflow import Store, open_store
from release.registry.policy import CANDIDATE
from release.registry.submission import registered_name
from release.registry.trouble import Forbidden
from release.registry.uri import registry_uri, shown_uri, sqlite_file, tracking_uri
from release.rollout.release_yaml import ReleaseValues
from release.say import Say
from release.tags import parse_tag

NOT_OURS = (
    " If a colleague published it, `git pull` brings its record. If another repository did, give "
    "one's model another name, or each a store of its own. If nobody needs it, delete the alias in "
    "MLflow."
)


class Answer(NamedTuple):
    """What MLflow says."""

    differ: tuple[str, ...]
    """Where its aliases name another release than git says, and where a release's run lies in its
    trash or is gone, a sentence each; one where it could not be asked."""
    entries: dict[str, MlflowEntry]
    """Release to where it is there."""


def follow(workspace: Workspace, place: Place, values: ReleaseValues | None, say: Say) -> None:
    """Let MLflow's alias of the ring say what git says. What goes wrong is said and no error: the
    move is in git, which is the truth, and `release status --repair` puts the alias right later."""
    try:
        point(workspace, {place: parse_tag(values.image.tag).name if values else ""}, say)
    except (ServiceError, InputError) as error:
        say(
            f"Moved in git, but MLflow's alias {place.ring} was not: {error} The move itself is "
            "done, so the command for what is left is `release status --repair`."
        )


def point(workspace: Workspace, wanted: Mapping[Place, str], say: Say) -> bool:
    """Let each alias name the version of its release, or be gone where that is empty; whether all
    are as `wanted` now. A store in the repository that nothing was published to is left alone, and
    so is another repository's alias. Raises InputError and ServiceError, as Forbidden for a model
    that MLflow does not let this user ask for, once the others are put right."""
    if _nothing_there(workspace):
        say(
            "MLflow's aliases were not touched, since there is no store at "
            f"{shown_uri(workspace.root)}"
        )
        return False
    all_are = True
    forbidden = None
    with open_store(workspace.root) as store:
        for place, release in wanted.items():
            name = registered_name(place.model, place.target)
            try:
                got = store.release_at(name, place.ring)
            except Forbidden as error:
                forbidden = error
                continue
            if _is_anothers(workspace, got):
                say(f"{_whose(place, got)}, so it stays there.{NOT_OURS}")
                all_are = False
                continue
            if not release:
                if got:
                    store.drop_alias(name, place.ring)
                continue
            version = store.version_of(name, release)
            if version is None:
                store.drop_alias(name, place.ring)  # of a release that the ring no longer runs
                say(f"MLflow has no version of {name} for {release}, so no alias {place.ring}")
                all_are = False
                continue
            store.point_alias(name, place.ring, version)
        if forbidden:
            raise forbidden
    return all_are


def ask(
    workspace: Workspace, wanted: Mapping[Place, str], candidates: Sequence[Publication]
) -> Answer:
    """What MLflow has instead of `wanted`, the release that each alias names by git (empty: none),
    and where it has the `candidates`: in another store than they were published to, or after
    somebody deleted a version, that is not where their records say."""
    if not wanted:
        return Answer((), {})
    try:
        if _nothing_there(workspace):
            if all(place.ring != CANDIDATE for place in wanted):
                return Answer((), {})  # nothing was ever published, as where no engine passed
            shown = shown_uri(workspace.root)
            sentence = (
                f"MLflow was not asked: this clone has no store at {shown}. Set "
                "MLFLOW_TRACKING_URI to the one that releases are published to."
            )
            return Answer((sentence,), {})
        with open_store(workspace.root, reading=True) as store:
            found = [_difference(workspace, store, *one) for one in wanted.items()]
            named = {
                (registered_name(place.model, place.target), release)
                for place, release in wanted.items()
                if release
            }
            found += [store.deleted_run(*one) for one in sorted(named)]
            entries = {one.release: store.entry(one.mlflow, one.release) for one in candidates}
            there = {release: entry for release, entry in entries.items() if entry}
            return Answer(tuple(dict.fromkeys(one for one in found if one)), there)
    except (ServiceError, InputError) as error:
        return Answer((f"MLflow could not be asked: {error}",), {})


def _difference(workspace: Workspace, store: Store, place: Place, release: str) -> str:
    """What MLflow's alias of a place is instead of `release`; empty where it is that."""
    name = registered_name(place.model, place.target)
    try:
        got = store.release_at(name, place.ring)
    except Forbidden as error:
        return str(error)
    if got == release:
        return ""
    if _is_anothers(workspace, got):
        return f"{_whose(place, got)}. Here it is {release or 'none'}.{NOT_OURS}"
    remedy = "Run `release status --repair`"
    if release and store.version_of(name, release) is None:
        remedy = (
            f"MLflow has no version of that release: run `release publish --target {place.target}` "
            "where its engine is, or set MLFLOW_TRACKING_URI to the store that it was published "
            "to. Where neither is left, only the alias is missing, until the next release"
        )
    return (
        f"{place.model} on {place.target}: git's {place.ring} is {release or 'none'}, MLflow's "
        f"alias {got or 'is not there'}. {remedy}."
    )


def _is_anothers(workspace: Workspace, release: str) -> bool:
    """Whether neither this clone nor the history of a branch that it knows has the record of a
    release: one MLflow may be that of two repositories with models of one name."""
    with suppress(InputError, ServiceError):
        path = publication_path(workspace, parse_tag(release).name)
        here = path.is_file() or was_ever_there(workspace.root, workspace.relative(path))
        return not here
    return False  # no release, or no git: nothing tells


def _whose(place: Place, release: str) -> str:
    name = registered_name(place.model, place.target)
    return f"MLflow's alias {place.ring} of {name} names {release}, of which nothing is known here"


def _nothing_there(workspace: Workspace) -> bool:
    """Whether the store is a file that nothing was published to."""
    places = {tracking_uri(workspace.root), registry_uri(workspace.root)}
    files = filter(None, map(sqlite_file, places))
    return not all(file.is_file() for file in files)
