"""`release.yaml`: which release one ring runs, as Helm values that Fleet merges over fleet.yaml's.

The machine's own file, written whole; its keys are those of the chart.
"""

from __future__ import annotations

import io
from pathlib import Path

from ruamel.yaml import YAML

from engines.config.workspace import Workspace
from engines.config.yaml import parse_bytes
from engines.errors import InputError
from engines.files import listed, write_atomic
from engines.records.record import Part
from release.records import Publication
from release.tags import parse_tag

HEADER = "# Written whole by `release`: edits are overwritten. What people set is in fleet.yaml.\n"

SITES = "sites"
"""The folder of release/fleet that is no model's."""

MOUNT = "/models"
"""Where an image has its engine."""


class ImageValues(Part):
    tag: str
    """With the digest, once the image has one; empty until the first release."""


class Model(Part):
    path: str
    """The engine, inside the image."""
    version: str


class ReleaseValues(Part):
    """`release.yaml`."""

    image: ImageValues
    model: Model


NOTHING = ReleaseValues(image=ImageValues(tag=""), model=Model(path="", version=""))
"""What a ring runs before its first release."""


def values_of(publication: Publication, digest: str | None = None) -> ReleaseValues:
    """The values that roll a release out; `digest` is the image's, `sha256:…`, once it is packed.
    Raises InputError where the two make no tag."""
    tag = f"{publication.release}@{digest}" if digest else publication.release
    return ReleaseValues(
        image=ImageValues(tag=str(parse_tag(tag))),
        model=Model(path=f"{MOUNT}/{publication.engine_file}", version=publication.model_version),
    )


def release_file(workspace: Workspace, model: str, target: str, ring: str) -> Path:
    """`release/fleet/<model>/<target>/<ring>/release.yaml`."""
    return workspace.ring(model, target, ring) / "release.yaml"


def read_values(path: Path) -> ReleaseValues | None:
    """What the ring runs; None before its first release. Raises InputError for another content."""
    return parse_values(path.read_bytes(), str(path)) if path.is_file() else None


def parse_values(content: bytes, name: str) -> ReleaseValues | None:
    """As `read_values`, of what a file called `name` holds."""
    values = parse_bytes(ReleaseValues, content, name)
    if not values.image.tag:
        return None
    parse_tag(values.image.tag)
    return values


def models_of(workspace: Workspace, target: str) -> list[str]:
    """The models that have a folder for `target`."""
    found = (path.parent.name for path in listed(workspace.fleet, f"*/{target}"))
    # A site may be called as a target is.
    return sorted(name for name in found if name != SITES)


def check_folder(path: Path) -> None:
    """Raise InputError unless a fleet.yaml is beside it: nothing else selects clusters."""
    fleet = path.with_name("fleet.yaml")
    if not fleet.is_file():
        raise InputError(
            f"Expected {fleet}, which says which clusters run this, but it is not there. Bring it "
            "back with `git checkout`, or copy the folder of another target or ring and change its "
            "labels."
        )


def write_values(path: Path, values: ReleaseValues) -> bool:
    """Write the file, unless it says so already; whether it was written."""
    text = dump(values)
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    write_atomic(path, text)
    return True


def dump(values: ReleaseValues) -> str:
    """The text of the file: plain YAML with sorted keys."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 4096
    text = io.StringIO()
    yaml.dump(values.model_dump(), text)
    return HEADER + text.getvalue()
