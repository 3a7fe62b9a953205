"""base build, base push: the runtime images that engines stand on."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

from engines.config.workspace import Workspace
from engines.files import temporary_folder, write_atomic
from release.image.base import open_base
from release.image.base_build import build, lay_context
from release.image.bases import layout_name, load_bases, write_digest
from release.image.credentials import find_credentials
from release.image.distribution import Client, parse_repository
from release.image.foreign import take_over
from release.image.layout import Layout
from release.image.sbom import contents_of_image, cyclonedx_json
from release.image.skopeo import push as copy
from release.lock import exclusive
from release.say import Say
from release.signing.beside import sign_beside
from release.signing.claims import base_claim
from release.signing.cosign import Claim, ImageReference
from release.signing.signer import open_key


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
    with temporary_folder() as folder:
        context, theirs = folder / "context", folder / "layout"
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
            sbom = sbom_path(workspace, name)
            write_atomic(sbom, cyclonedx_json(name, image.digest, contents))
            write_digest(workspace, name, image.digest)
    say(f"base {name}: {image.digest}, {contents.size / 1e6:.0f} MB unpacked, by {tool}")
    return Built(name, image.digest, contents.size, sbom)


def push_base(workspace: Workspace, name: str, say: Say, key: str | None = None) -> str:
    """Push the base as release/bases.yaml names it to its repository, and sign it there by its
    digest with `key` (as `release push`), its SBOM beside it; gives `repository@digest`.

    Raises as `release push` does.
    """
    row = load_bases(workspace).row(name)
    layout = Layout(workspace.images)
    with exclusive(workspace):
        layout.prepare()
        image = open_base(workspace, layout, name, say)
        layout.name(layout_name(name), image.descriptor)
    repository = parse_repository(row.repository)
    credentials = find_credentials(str(repository))
    copy(layout.path, layout_name(name), repository, credentials, say)
    say(f"{repository}@{image.digest} pushed")
    signing = open_key(workspace, key)
    signed = ImageReference(
        repository=str(repository), digest=image.digest, size=image.descriptor.size
    )
    client = Client(repository=repository, credentials=credentials, say=say)
    claims = _claims(workspace, name, image.digest, say)
    new = sign_beside(client, signed, signing, claims, datetime.now(timezone.utc))
    say(f"base {name}: signed{'' if new else ' already,'} by {signing.record.name}")
    return f"{repository}@{image.digest}"


def _claims(workspace: Workspace, name: str, digest: str, say: Say) -> list[Claim]:
    """The SBOM, where it is that of this very image."""
    path = sbom_path(workspace, name)
    data = path.read_bytes() if path.is_file() else b""
    if digest.encode() not in data:
        say(f"base {name}: {workspace.relative(path)} is not of this image, so it stays here")
        return []
    return [base_claim(data)]


def sbom_path(workspace: Workspace, name: str) -> Path:
    """What is in the base, beside its Containerfile."""
    return workspace.root / "release" / "bases" / name / "sbom.cdx.json"
