"""The base of an image: from our layout, once it was built or used here, or a registry."""

from __future__ import annotations

import tempfile
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError
from engines.files import TEMPORARY_PREFIX
from release.image.bases import BaseRow, layout_name, load_bases
from release.image.credentials import find_credentials
from release.image.distribution import parse_repository
from release.image.foreign import same, take_over
from release.image.layout import Image, Layout
from release.image.skopeo import pull
from release.say import Say


def open_base(workspace: Workspace, layout: Layout, name: str, say: Say) -> Image:
    """The base as release/bases.yaml names it by its digest.

    Raises InputError for a base that was never built, ServiceError when the registry does not give
    it, and WrongEngine for one that is altered.
    """
    row = load_bases(workspace).row(name)
    if row.digest is None:
        raise InputError(
            f"Expected the digest of the base {name} in release/bases.yaml, but it was never "
            f"built. Run `release base build {name}`, or let the target have `none`."
        )
    if layout.has_image(row.digest):
        image = layout.image(row.digest)
        layout.check_layers(image)
        return image
    return _from_registry(layout, name, row, row.digest, say)


def _from_registry(layout: Layout, name: str, row: BaseRow, digest: str, say: Say) -> Image:
    say(f"base {name}: taking {row.repository}@{digest}")
    repository = parse_repository(row.repository)
    credentials = find_credentials(str(repository))
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=layout.path) as folder:
        theirs = Path(folder) / "base"
        try:
            pull(repository, digest, theirs, credentials, say)
        except ServiceError as error:
            raise ServiceError(
                f"Expected the base {name} in {row.repository}, but it is not to be had: {error} "
                f"Build it again with `release base build {name}`, and push it."
            ) from error
        return same(take_over(Layout(theirs), "base", layout, layout_name(name)), digest, name)
