"""base build, base push: the runtime images that engines stand on."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from engines.config.workspace import Workspace
from engines.files import TEMPORARY_PREFIX, write_atomic
from release.image.base import open_base
from release.image.base_build import build, lay_context
from release.image.bases import layout_name, load_bases, write_digest
from release.image.credentials import find_credentials
from release.image.distribution import parse_repository
from release.image.foreign import take_over
from release.image.layout import Layout
from release.image.sbom import contents_of_image, cyclonedx_json
from release.image.skopeo import push as copy
from release.lock import exclusive
from release.say import Say


class Built(NamedTuple):
    """A base image."""

    name: str
    digest: str
    size: int
    """Unpacked, in bytes."""
    sbom: Path


def build_base(workspace: Workspace, name: str, options: Sequence[str], say: Say) -> Built:
    """Build the base `name` into release/images/, and write its digest and its SBOM.

    Raises InputError for a base that there is not or a machine without a container engine, and
    ServiceError when pip or the engine fails.
    """
    row = load_bases(workspace).row(name)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX) as folder:
        context, theirs = Path(folder) / "context", Path(folder) / "layout"
        context.mkdir()
        say(f"base {name}: taking what jetrail[runtime] needs, for {row.platform}")
        lay_context(workspace, name, row, context)
        say(f"base {name}: building on {row.from_}")
        tool = build(name, row, context, theirs, options)
        with exclusive(workspace):
            layout = Layout(workspace.images)
            layout.prepare()
            image = take_over(Layout(theirs), "base", layout, layout_name(name))
            contents = contents_of_image(layout, image)
            sbom = workspace.root / "release" / "bases" / name / "sbom.cdx.json"
            write_atomic(sbom, cyclonedx_json(name, image.digest, contents))
            write_digest(workspace, name, image.digest)
    say(f"base {name}: {image.digest}, {contents.size / 1e6:.0f} MB unpacked, by {tool}")
    return Built(name, image.digest, contents.size, sbom)


def push_base(workspace: Workspace, name: str, say: Say) -> str:
    """Push the base as release/bases.yaml names it to its repository; gives `repository@digest`.

    Raises as `release push` does.
    """
    row = load_bases(workspace).row(name)
    layout = Layout(workspace.images)
    image = open_base(workspace, layout, name, say)
    repository = parse_repository(row.repository)
    copy(layout.path, layout_name(name), repository, find_credentials(str(repository)), say)
    say(f"{repository}@{image.digest} pushed")
    return f"{repository}@{image.digest}"
