"""An image that somebody else made, taken into our layout: each blob held against its digest."""

from __future__ import annotations

import os
from pathlib import Path

from engines.errors import WrongEngine
from engines.files import atomic_path, copy_file
from release.image.layout import Image, Layout


def take_over(theirs: Layout, name: str, ours: Layout, as_name: str) -> Image:
    """The image `name` of their layout becomes `as_name` in ours.

    Raises WrongEngine where a blob of it is altered, and InputError when it is not there.
    """
    image = theirs.image(name)
    theirs.check_layers(image)
    for one in (*image.manifest.layers, image.manifest.config, image.descriptor):
        if not ours.has(one):
            _link(theirs.blob(one.digest), ours.blob(one.digest))
    ours.name(as_name, image.descriptor)
    return ours.image(as_name)


def _link(source: Path, target: Path) -> None:
    """A copy that takes no room where both are on one disk."""
    with atomic_path(target) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            copy_file(source, temporary)


def same(image: Image, digest: str, name: str) -> Image:
    """The image, where it is the one that is wanted. Raises WrongEngine where not."""
    if image.digest != digest:
        raise WrongEngine(
            f"Expected the base {name} to be {digest}, as release/bases.yaml says, got "
            f"{image.digest}. Bring the file back from git, or build the base again."
        )
    return image
