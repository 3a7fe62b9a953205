"""verify: who signed a release, and whether it is still, byte for byte, what was signed.

A layout or a folder is checked offline. What is read may be anybody's: nothing in it is believed
before it is held against a digest or a signature.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import temporary_folder
from engines.records.attestation import Predicate, Statement
from engines.records.manifest import Manifest
from engines.records.signed_folder import verify_folder
from engines.records.trusted_key import TrustedKey, read_keys
from release.image.compose import check_composed
from release.image.credentials import find_credentials
from release.image.describe import OURS, annotations_of, created_of, platform_of
from release.image.distribution import Client, parse_repository
from release.image.layer import LayerFile, layer_chunks
from release.image.layout import Image, Layout
from release.image.oci import Manifest as ImageManifest
from release.image.oci import parse
from release.image.skopeo import pull
from release.packed import read_image
from release.say import Say
from release.signing.cosign import ImageReference, check_signature, payloads_of
from release.signing.keys import counting_here, trying_key
from release.tags import parse_tag


@dataclass(frozen=True, kw_only=True)
class Trust:
    """The keys that count, the one for trying among them where this clone has one."""

    keys: tuple[TrustedKey, ...]
    trying: TrustedKey | None = None


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A release in which everything was found as it was signed."""

    where: str
    digest: str | None
    """Of the image; None for a plain folder."""
    statement: Statement
    key: TrustedKey
    """That signed the files."""
    trying: bool
    image_key: TrustedKey | None = None
    """That signed the image where it is in a registry."""


def verify(workspace: Workspace | None, what: str, keys: Path | None, say: Say) -> list[Checked]:
    """Check a release by its tag or digest in release/images, the images of an OCI layout, a plain
    folder with the files of `/models`, or `registry/repository@sha256:…`.

    `keys` is a folder of trusted keys; by default they are those of the repository, and its own key
    for trying. Raises WrongEngine with the cause where anything is not as it was signed, InputError
    for what cannot be found, and ServiceError for a registry that does not answer.
    """
    trust = _trust(workspace, keys)
    folder = Path(what)
    if folder.is_dir():
        if (folder / "index.json").exists() or (folder / "oci-layout").exists():
            return _verify_layout(Layout(folder), trust, say)
        return [_verify_files(folder, trust)]
    if re.fullmatch(r".+/.+@sha256:[0-9a-f]{64}", what):
        return [_verify_remote(what.removeprefix("docker://"), trust, say)]
    if workspace is None:
        raise InputError(f"Expected a folder, got {what}, which is none from here.")
    return [_verify_packed(workspace, what, trust)]


def _trust(workspace: Workspace | None, keys: Path | None) -> Trust:
    """The keys in a folder, or those of the repository. Raises InputError where there is none."""
    if keys is not None or workspace is None:
        return Trust(keys=read_keys(keys or Path()))
    known = counting_here(workspace)
    return Trust(keys=known or read_keys(workspace.trusted_keys), trying=trying_key(workspace))


def _verify_layout(layout: Layout, trust: Trust, say: Say) -> list[Checked]:
    """Every image that has the name of a release; bases lie in layouts too, which nobody signs."""
    releases = {name: _release_of(name) for name in sorted(layout.images())}
    if not any(releases.values()):
        raise InputError(
            f"Expected images of releases in {layout.path}, got {', '.join(releases) or 'none'}. "
            "Make one with `release pack`."
        )
    for name in (one for one, release in releases.items() if release is None):
        say(f"{name}: has not the name of a release, so it is not checked")
    return [
        _verify_image(layout, layout.image(name), trust, release=release)
        for name, release in releases.items()
        if release is not None
    ]


def _release_of(name: str) -> str | None:
    """The release in an image's name, which may have a repository in front of the tag."""
    try:
        return parse_tag(name.rpartition(":")[2]).name
    except InputError:
        return None


def _verify_packed(workspace: Workspace, what: str, trust: Trust) -> Checked:
    """A release in release/images, by its tag or its digest."""
    layout = Layout(workspace.images)
    if what.startswith("sha256:"):
        return _verify_image(layout, layout.image(what), trust)
    tag = parse_tag(what)
    record = read_image(workspace, tag.name)
    try:
        image = layout.image(tag.name)
    except InputError as error:
        if record is None or not record.repositories:
            raise
        raise InputError(
            f"Expected the image of {tag.name} in {layout.path}, but it does not lie there. "
            f"`release verify {record.repositories[0]}@{record.digest}` looks at the registry's."
        ) from error
    known = {"the tag": tag.digest, "image.json": record.digest if record else None}
    for source, digest in known.items():
        if digest not in (None, image.digest):
            raise WrongEngine(
                f"Expected the image {digest}, which {source} names, under the name {tag.name} in "
                f"{layout.path}, got {image.digest}. Pack the release again: `release pack "
                f"{tag.name}`."
            )
    return _verify_image(layout, image, trust, release=tag.name)


def _verify_remote(where: str, trust: Trust, say: Say) -> Checked:
    """An image in a registry, and its signature there."""
    name, _, digest = where.partition("@")
    repository = parse_repository(name)
    credentials = find_credentials(name)
    client = Client(repository=repository, credentials=credentials, say=say)
    document = client.manifest(digest)
    if document is not None:  # a list of images is none, and giant layers are not fetched
        parse(ImageManifest, document, where)
    with temporary_folder() as folder:
        layout = Layout(folder / "image")
        pull(repository, digest, layout.path, credentials, say)
        image = layout.image(digest)
        checked = _verify_image(layout, image, trust, where=where)
        size = image.descriptor.size
    found = ImageReference(repository=name, digest=digest, size=size)
    manifest = client.manifest(found.tag(".sig"))
    if manifest is None:
        raise WrongEngine(
            f"Expected a signature of {where} beside it, got none: admission controllers will not "
            "let it run. Sign it with `release push TAG --key KEY`."
        )
    now = datetime.now(timezone.utc)
    payloads = [client.blob(one) for one in payloads_of(manifest)]
    counting = [one for one in trust.keys if one.counts(now)]
    return replace(checked, image_key=check_signature(manifest, payloads, found, counting))


def _verify_image(
    layout: Layout,
    image: Image,
    trust: Trust,
    *,
    release: str | None = None,
    where: str | None = None,
) -> Checked:
    where = where or f"{release or 'the image'} {image.digest} in {layout.path}"
    layout.check_layers(image)
    with temporary_folder() as folder:
        taken = layout.files(image, folder)
        checked = _verify_files(folder, trust, where=where, digest=image.digest)
        files = {name: LayerFile(folder / name, one.sha256) for name, one in taken.items()}
        _check_layer(image, files, where)
        manifest = Manifest.read(folder / Manifest.file)
    said = checked.statement.predicate
    if release not in (None, said.release):
        raise WrongEngine(
            f"Expected the release {release} in {where}, got a statement about {said.release}: "
            "another image was put in its place. Take the release's own image."
        )
    labels = image.config.config.labels if image.config.config else None
    for name, found in (("annotations", image.manifest.annotations), ("labels", labels)):
        _check_labels(name, found or {}, said, where)
    _check_words(image, annotations_of(manifest, said.release), where)
    check_composed(image, platform_of(manifest), created_of(said.signed_at), where)
    return checked


def _check_layer(image: Image, files: Mapping[str, LayerFile], where: str) -> None:
    """The files are what was signed; so must be all that stands around them in the tar."""
    digest = hashlib.sha256()
    for chunk in layer_chunks(files):
        digest.update(chunk)
    expected, found = f"sha256:{digest.hexdigest()}", image.manifest.layers[-1].digest
    if found != expected:
        raise WrongEngine(
            f"Expected the layer {expected} in {where}, as `release pack` makes it of these files, "
            f"got {found}: it has the files, and was altered around them. Take the release's own "
            "image."
        )


def _check_labels(name: str, found: Mapping[str, str], said: Predicate, where: str) -> None:
    """A statement that was taken from another image, files and all, is not this image's."""
    for key, expected in _expected_labels(said):
        if found.get(key) != expected:
            raise WrongEngine(
                f"Expected {key}={expected} in the {name} of {where}, as its statement says, got "
                f"{found.get(key, 'none')}: the two are of different images. Take the release's "
                "own image."
            )


def _check_words(image: Image, expected: Mapping[str, str], where: str) -> None:
    for key, value in image.manifest.annotations.items():
        if expected.get(key) != value:
            raise WrongEngine(
                f"Expected {key}={expected.get(key, 'none')} among the annotations of {where}, got "
                f"{value[:200]!r}: `release pack` did not write it. Take the release's own image."
            )


def _expected_labels(said: Predicate) -> Iterable[tuple[str, str]]:
    names = ("release", "model", "target", "precision", "backend")
    return (
        *((f"{OURS}.{name}", str(getattr(said, name))) for name in names),
        (f"{OURS}.engine.sha256", said.engine_sha256),
    )


def _verify_files(
    folder: Path, trust: Trust, *, where: str | None = None, digest: str | None = None
) -> Checked:
    verified = verify_folder(folder, trust.keys, datetime.now(timezone.utc), where=where)
    return Checked(
        where=where or str(folder),
        digest=digest,
        statement=verified.statement,
        key=verified.key,
        trying=verified.key == trust.trying,
    )
