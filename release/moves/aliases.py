"""MLflow's aliases follow git: each ring's name points at the version that the ring runs."""

from __future__ import annotations

from collections.abc import Callable

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from release.moves.place import Place
from release.registry.mlflow import open_store
from release.registry.submission import registered_name
from release.registry.uri import is_server, shown_uri, sqlite_file, tracking_uri
from release.rollout.release_yaml import ReleaseValues
from release.tags import parse_tag

Say = Callable[[str], None]


def follow(workspace: Workspace, place: Place, values: ReleaseValues | None, say: Say) -> None:
    """Let MLflow's alias of the ring say what git says. What goes wrong is said and no error: the
    move is in git, which is the truth, and `release status --repair` puts the alias right later."""
    try:
        point(workspace, {place: values}, say)
    except (ServiceError, InputError) as error:
        say(
            f"Moved in git, but MLflow's alias {place.ring} was not: {error} Then run `release "
            "status --repair`."
        )


def point(workspace: Workspace, wanted: dict[Place, ReleaseValues | None], say: Say) -> None:
    """Let each ring's alias name the version of what the ring runs, or nothing. Raises ServiceError
    and InputError. A store in the repository that nothing was published to is left alone."""
    if _nothing_there(workspace):
        say(
            "MLflow's aliases were not touched, since there is no store at "
            f"{shown_uri(workspace.root)}"
        )
        return
    with open_store(workspace.root) as store:
        for place, values in wanted.items():
            name = registered_name(place.model, place.target)
            if values is None:
                store.drop_alias(name, place.ring)
                continue
            release = parse_tag(values.image.tag).name
            version = store.version_of(name, release)
            if version is None:
                say(f"MLflow has no version of {name} for {release}, so no alias {place.ring}")
                continue
            store.point_alias(name, place.ring, version)


def _nothing_there(workspace: Workspace) -> bool:
    """Whether the store is a file that nothing was published to."""
    uri = tracking_uri(workspace.root)
    file = None if is_server(uri) else sqlite_file(uri)
    return file is not None and not file.is_file()
