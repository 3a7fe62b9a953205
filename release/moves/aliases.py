"""MLflow's aliases follow git: each ring's name points at the version that the ring runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from release.moves.place import Place
from release.registry.mlflow import LOCAL_STORE, is_server, open_store, tracking_uri
from release.registry.submission import registered_name
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
    uri = tracking_uri(workspace.root)
    if not is_server(uri) and not _local_store(workspace, uri).is_file():
        say(f"MLflow's aliases were not touched, since there is no store at {uri}")
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


def _local_store(workspace: Workspace, uri: str) -> Path:
    path = uri.removeprefix("sqlite:///")
    return Path(path) if path != uri else workspace.root / LOCAL_STORE
