"""`release/records/<release>/image.json`: the image of a release, as git keeps it.

`release pack` writes it, and `release push` adds where the image was pushed to. The image itself
lies in release/images/ of the clone that packed it, and in registries.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from engines.config.workspace import Workspace
from engines.errors import WrongEngine
from engines.records.record import Part, Record, Sha256

ImageDigest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class Base(Part):
    """The runtime image below the engine's layer."""

    name: str
    """A key of release/bases.yaml."""
    digest: ImageDigest


class Layer(Part):
    """One layer, as the image's manifest names it."""

    media_type: str
    digest: ImageDigest
    size: int = Field(ge=0)
    """In bytes."""


class ImageRecord(Record):
    """`image.json`: which image a release is."""

    file: ClassVar[str] = "image.json"
    written_by: ClassVar[str] = "release pack"

    release: str
    """The image tag without a digest."""
    digest: ImageDigest
    """Of the image's manifest: by this it is pulled, signed and rolled out."""
    manifest_bytes: int = Field(ge=1)
    platform: str
    """For example `linux/amd64`."""
    base: Base | None
    """None for an image that holds nothing but the engine, which is mounted."""
    layers: tuple[Layer, ...]
    """From the lowest up; the last is `/models`."""
    files: dict[str, Sha256]
    """Name under `/models` to the file's sha256: what the image was packed from."""
    repositories: tuple[str, ...] = ()
    """Where it was pushed to, sorted; for example `registry.example.com/jetrail/meter`."""


NEW_VERSION = (
    "A tag never moves: give the model a new `version` in its model.yaml, run `dvc repro`, push "
    "and promote that release."
)
"""What to do where a release that was pushed would have to become another image."""


def image_path(workspace: Workspace, release: str) -> Path:
    """`release/records/<release>/image.json`."""
    return workspace.records / release / ImageRecord.file


def read_image(workspace: Workspace, release: str) -> ImageRecord | None:
    """The record of a release's image; None before it is packed. Raises InputError for a file that
    cannot be read, and WrongEngine for one that is another release's."""
    path = image_path(workspace, release)
    if not path.is_file():
        return None
    image = ImageRecord.read(path)
    if image.release != release:
        raise WrongEngine(
            f"Expected the image of {release} in {path}, got that of {image.release}. Bring the "
            f"file back with `git checkout -- {workspace.relative(path)}`, or remove it and run "
            f"`release pack {release}` where the engine is."
        )
    return image
