"""Whether what a ring runs is what a command writes of that release, by its records: people edit
files that are the machine's, and merges do."""

from __future__ import annotations

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from release.moves.place import Place
from release.packed import read_image
from release.records import publication_path, read_publication
from release.rollout.release_yaml import ReleaseValues, values_of
from release.tags import parse_tag


def otherwise(view: Workspace, place: Place, values: ReleaseValues) -> str:
    """How it differs, as the end of a sentence that begins with the release; empty where it does
    not."""
    tag = parse_tag(values.image.tag)
    if not publication_path(view, tag.name).is_file():
        return "no record says that it was published"
    try:
        publication, image = read_publication(view, tag.name), read_image(view, tag.name)
    except (InputError, WrongEngine):
        return "its record does not add up, and `release lint` says how"
    if (publication.model, publication.target) != (place.model, place.target):
        return f"it is of {publication.model} on {publication.target}"
    if image is not None and tag.digest not in (None, image.digest):
        return f"its image is {image.digest} by its record"
    if values != values_of(publication, tag.digest):
        return "somebody edited what release.yaml says of it"
    return ""
