"""An image of an OCI layout, taken into the container engine's storage for as long as it is needed.

Its id there is the digest of its config, which names every layer by what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines.errors import ServiceError
from engines.files import temporary_folder
from release.smoke.tool import DOCKER, TAKE_SECONDS, ask, call, found


@contextmanager
def taken_in(layout: Path, name: str, config: str) -> Iterator[str]:
    """Copy the image `name` of an OCI layout into the engine's storage; gives its id there.

    `config` is the digest of its config. The image is removed afterwards, unless it was there
    before. Raises ServiceError where the engine fails, or takes in another image.
    """
    tool = found()
    before = _names(tool, config)
    # By its name it was taken from here before, by a command that was killed: nobody else's.
    if before and all(one.startswith(f"localhost{layout.resolve()}:") for one in before):
        before = None
    image = _load(layout, name, config) if tool == DOCKER else _pull(layout, name)
    try:
        if image != config.removeprefix("sha256:"):
            raise ServiceError(
                f"Expected {tool} to take the image {name} with the id {config} from {layout}, "
                f"but it took {image}. Somebody changed the folder meanwhile: run again."
            )
        yield image
    finally:
        _let_go(tool, image, before)


def _pull(layout: Path, name: str) -> str:
    return ask("podman", "pull", "--quiet", f"oci:{layout}:{name}").split()[-1]


def _load(layout: Path, name: str, config: str) -> str:
    """Docker reads no OCI layout, but an archive of its own, which skopeo makes of one."""
    tag = _docker_tag(config)
    with temporary_folder() as folder:
        archive = folder / "image.tar"
        ask("skopeo", "copy", "--quiet", f"oci:{layout}:{name}", f"docker-archive:{archive}:{tag}")
        ask(DOCKER, "load", "--quiet", "--input", str(archive))
    return ask(DOCKER, "image", "inspect", "--format", "{{.Id}}", tag).strip()[len("sha256:") :]


def _docker_tag(image: str) -> str:
    return f"localhost/jetrail-smoke:{image.removeprefix('sha256:')[:12]}"


def _names(tool: str, image: str) -> set[str] | None:
    """What the engine calls an image that it has; None for one that it has not."""
    words = [tool, "image", "inspect", "--format", "{{json .RepoTags}}", image]
    done = call(words, TAKE_SECONDS)
    return set(json.loads(done.out) or ()) if done.code == 0 else None


def _let_go(tool: str, image: str, before: set[str] | None) -> None:
    """Remove the image, or only the name that it got where it was there before."""
    if tool == DOCKER:  # which keeps an image that has another name
        call([tool, "rmi", _docker_tag(image)], TAKE_SECONDS)
        return
    if before is None:
        call([tool, "rmi", "--force", image], TAKE_SECONDS)
        return
    for name in (_names(tool, image) or set()) - before:
        call([tool, "untag", image, name], TAKE_SECONDS)
