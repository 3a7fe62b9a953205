"""An image of an OCI layout, taken into the container engine's storage for as long as it is needed.

Its id there is the digest of its config, which names every layer by what is in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from engines.errors import ServiceError
from engines.files import temporary_folder
from release.image.layout import Image, Layout
from release.smoke.tool import DOCKER, TAKE_SECONDS, ask, call, found


@contextmanager
def taken_in(layout: Layout, name: str, image: Image) -> Iterator[str]:
    """Copy an image of a layout, `name` there, into the engine's storage; gives its id there.

    The image is removed afterwards, unless it has a name there, which this gives none. Raises
    ServiceError where the engine fails, or takes in another image.
    """
    tool, config = found(), image.manifest.config.digest
    got = _load(layout, name, config) if tool == DOCKER else _pull(layout, image)
    try:
        if got != config.removeprefix("sha256:"):
            raise ServiceError(
                f"Expected {tool} to take the image {name} with the id {config} from "
                f"{layout.path}, but it took {got}. Somebody changed the folder meanwhile: run "
                "again."
            )
        yield got
    finally:
        _let_go(tool, got)


def _pull(layout: Layout, image: Image) -> str:
    """As a folder of podman's own kind, which may lie anywhere: of an OCI layout some versions make
    a name of its path, and end at a capital letter in that."""
    with temporary_folder() as folder:
        (folder / "version").write_text("Directory Transport Version: 1.1\n")
        (folder / "manifest.json").write_bytes(layout.read(image.descriptor))
        for digest in {one.digest for one in (image.manifest.config, *image.manifest.layers)}:
            (folder / digest.removeprefix("sha256:")).symlink_to(layout.blob(digest).resolve())
        return ask("podman", "pull", "--quiet", f"dir:{folder}").split()[-1]


def _load(layout: Layout, name: str, config: str) -> str:
    """Docker reads no OCI layout, but an archive of its own, which skopeo makes of one."""
    tag = _docker_tag(config)
    with temporary_folder() as folder:
        archive = folder / "image.tar"
        ask(
            "skopeo",
            "copy",
            "--quiet",
            f"oci:{layout.path}:{name}",
            f"docker-archive:{archive}:{tag}",
        )
        ask(DOCKER, "load", "--quiet", "--input", str(archive))
    return ask(DOCKER, "image", "inspect", "--format", "{{.Id}}", tag).strip()[len("sha256:") :]


def _docker_tag(image: str) -> str:
    return f"localhost/jetrail-smoke:{image.removeprefix('sha256:')[:12]}"


def _let_go(tool: str, image: str) -> None:
    """Remove the image where nobody gave it a name, as of a command that was killed."""
    if tool == DOCKER:  # which keeps an image that has another name
        call([tool, "rmi", _docker_tag(image)], TAKE_SECONDS)
        return
    done = call([tool, "image", "inspect", "--format", "{{json .RepoTags}}", image], TAKE_SECONDS)
    if done.code == 0 and not json.loads(done.out):
        call([tool, "rmi", "--force", image], TAKE_SECONDS)
