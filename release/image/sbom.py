"""What is in a base image, as CycloneDX 1.6: Debian's packages and Python's, read from its layers.

https://cyclonedx.org/docs/1.6/json/. Nothing is run: the package lists are files of the image.
"""

from __future__ import annotations

import json
import re
import tarfile
from email.parser import Parser
from typing import TYPE_CHECKING, NamedTuple

from engines.errors import WrongEngine
from release.image.layout import Image, Layout

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

DPKG = re.compile(r"var/lib/dpkg/(?:status|status\.d/[^/]+)")
METADATA = re.compile(r".*\.dist-info/METADATA")
MAX_FILE_BYTES = 16 << 20


class InstalledPackages(NamedTuple):
    """Name and version of each package, and the unpacked size of the image in bytes."""

    debian: dict[str, str]
    python: dict[str, str]
    size: int


def contents_of_image(layout: Layout, image: Image) -> InstalledPackages:
    """What the layers hold; an upper layer's word counts. Raises WrongEngine for one that cannot be
    read."""
    debian: dict[str, str] = {}
    python: dict[str, str] = {}
    size = 0
    for layer in image.manifest.layers:
        try:
            with tarfile.open(layout.blob(layer.digest), "r|*") as tar:
                for entry in tar:
                    size += entry.size
                    name = entry.name.removeprefix("./")
                    if not entry.isfile() or entry.size > MAX_FILE_BYTES:
                        continue
                    if DPKG.fullmatch(name):
                        debian.update(_debian(_text(tar, entry)))
                    elif METADATA.fullmatch(name):
                        python.update(_python(_text(tar, entry)))
        except (tarfile.TarError, OSError, EOFError) as error:
            raise WrongEngine(
                f"The layer {layer.digest} of the base cannot be read: {error}. Build it again."
            ) from error
    return InstalledPackages(dict(sorted(debian.items())), dict(sorted(python.items())), size)


def cyclonedx_json(name: str, digest: str, contents: InstalledPackages) -> str:
    """The SBOM of a base, the same text for the same image."""
    from uuid import NAMESPACE_URL, uuid5

    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    root = Component(
        name=f"jetrail-base-{name}", version=digest, type=ComponentType.CONTAINER, bom_ref=digest
    )
    packages = [
        *(_component("deb", "debian", *one) for one in contents.debian.items()),
        *(_component("pypi", None, *one) for one in contents.python.items()),
    ]
    bom = Bom(serial_number=uuid5(NAMESPACE_URL, digest), components=packages)
    bom.metadata.component = root
    bom.register_dependency(root, packages)
    document = json.loads(JsonV1Dot6(bom).output_as_string())
    del document["metadata"]["timestamp"]  # of writing: it would make another text of one image
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def _component(kind: str, space: str | None, name: str, version: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    package = PackageURL(kind, space, name, version)
    return Component(
        name=name,
        version=version,
        type=ComponentType.LIBRARY,
        purl=package,
        bom_ref=package.to_string(),
    )


def _text(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    file = tar.extractfile(entry)
    return file.read().decode(errors="replace") if file else ""


def _debian(status: str) -> dict[str, str]:
    found = {}
    for paragraph in status.split("\n\n"):
        fields = Parser().parsestr(paragraph, headersonly=True)
        if fields["Package"] and fields["Version"]:
            found[fields["Package"]] = fields["Version"]
    return found


def _python(metadata: str) -> dict[str, str]:
    fields = Parser().parsestr(metadata, headersonly=True)
    return {fields["Name"]: fields["Version"]} if fields["Name"] and fields["Version"] else {}
