"""An OCI layout: a folder with images, whose blobs they share.

    oci-layout, index.json     what the folder is, and the images in it: digest and name (tag)
    blobs/sha256/<64 hex>      manifests, configs and layers, each under the hash of its content

https://github.com/opencontainers/image-spec/blob/v1.1.0/image-layout.md. Writing is in an order in
which a kill leaves only what is whole: a blob is there under its hash or not, and index.json comes
last. Reading believes nothing: every blob is held against its digest and size.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from engines.errors import InputError, WrongEngine
from engines.files import TEMPORARY_PREFIX, atomic_path, write_atomic, write_changed
from release.image.layer import CHUNK_BYTES
from release.image.oci import (
    INDEX,
    LAYER,
    MANIFEST,
    MAX_DOCUMENT_BYTES,
    REF_NAME,
    Config,
    Descriptor,
    Index,
    Manifest,
    digest_of,
    parse,
    to_bytes,
)
from release.image.reading import Taken, take_files

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_MADE = (
    "Make it with `release pack` where its engine is, or copy release/images from where it was "
    "packed."
)


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image of a layout, with its documents as they were read and checked."""

    descriptor: Descriptor
    manifest: Manifest
    config: Config
    config_bytes: bytes

    @property
    def digest(self) -> str:
        """`sha256:…` of the manifest: the image's."""
        return self.descriptor.digest


@dataclass(frozen=True)
class Layout:
    """The folder. What it holds is read anew each time."""

    path: Path

    # --- reading ---------------------------------------------------------------------------------

    def images(self) -> dict[str, Descriptor]:
        """Name (tag) to image, of those that have a name. Raises InputError where there is no
        layout, and WrongEngine for one that cannot be read or gives a name twice."""
        found: dict[str, Descriptor] = {}
        for one in self._index().manifests:
            name = one.annotations.get(REF_NAME)
            if name is not None and found.setdefault(name, one) is not one:
                raise WrongEngine(
                    f"Expected each name once in {self.path / 'index.json'}, got {name!r} twice. "
                    "Remove the folder and make it again."
                )
        return found

    def image(self, name: str) -> Image:
        """The image with this name, or with this digest (`sha256:…`), which need not have a name.

        Its documents are read and held against their digests, its layers are not: `check_layers`
        and `files` do that. Raises InputError when it is not there, and WrongEngine for one that
        is altered or no image.
        """
        found = {one.digest: one for one in self._index().manifests} | self.images()
        if name not in found and self.has_image(name):
            size = self.blob(name).stat().st_size
            return self.image_of(Descriptor(mediaType=MANIFEST, digest=name, size=size))
        if name not in found:
            raise InputError(
                f"Expected the image {name} in {self.path}, got "
                f"{', '.join(sorted(self.images())) or 'none'}. {_MADE}"
            )
        return self.image_of(found[name])

    def image_of(self, descriptor: Descriptor) -> Image:
        """As `image`, of one that need not be in the index."""
        name = descriptor.digest
        manifest = parse(Manifest, self.read(descriptor, MANIFEST), f"manifest {name}")
        data = self.read(manifest.config)
        config = parse(Config, data, f"config {manifest.config.digest}")
        if len(config.rootfs.diff_ids) != len(manifest.layers):
            raise WrongEngine(
                f"Expected as many layers in the image {name} as its config names, got "
                f"{len(manifest.layers)} and {len(config.rootfs.diff_ids)}. Take it again."
            )
        return Image(descriptor=descriptor, manifest=manifest, config=config, config_bytes=data)

    def read(self, descriptor: Descriptor, media_type: str | None = None) -> bytes:
        """A document, held against its digest. Raises WrongEngine for another kind than
        `media_type`, one that is too large, altered or not there."""
        if media_type and descriptor.media_type != media_type:
            raise WrongEngine(
                f"Expected {media_type}, got {descriptor.media_type!r} for {descriptor.digest} in "
                f"{self.path}. Only images are read: take the image again."
            )
        if descriptor.size > MAX_DOCUMENT_BYTES:
            raise WrongEngine(
                f"Expected a document of at most {MAX_DOCUMENT_BYTES} bytes, got "
                f"{descriptor.size} for {descriptor.digest} in {self.path}. Take the image again."
            )
        with self._open(descriptor) as file:
            data = file.read(descriptor.size + 1)
        self._check(descriptor, len(data), digest_of(data))
        return data

    def check_layers(self, image: Image) -> None:
        """Hold every layer against its digest. Raises WrongEngine for one that is altered."""
        for layer in image.manifest.layers:
            with self._open(layer) as file:
                self._check_stream(layer, file)

    def files(self, image: Image, folder: Path | None = None) -> dict[str, Taken]:
        """The files that the image has under `/models`, by name; with `folder` they are written
        there, which must be an empty folder.

        They are those of the uppermost layer, which hides what others have under the same names.
        Raises WrongEngine where that layer is altered, is not the config's, or holds anything else.
        """
        layer, diff_id = image.manifest.layers[-1], image.config.rootfs.diff_ids[-1]
        if layer.media_type != LAYER or layer.digest != diff_id:
            raise WrongEngine(
                f"Expected the layer with the engine on top of the image {image.digest}, as a "
                f"plain tar; got {layer.media_type} {layer.digest}. `release pack` did not make "
                "this image: take the release's own."
            )
        with self._open(layer) as file:
            # First, so that nothing is taken out of a layer that is not the image's.
            self._check_stream(layer, file)
            file.seek(0)
            return take_files(file, folder)

    def has_image(self, digest: str) -> bool:
        """Whether the manifest with this digest (`sha256:…`) lies here."""
        return DIGEST.fullmatch(digest) is not None and self.blob(digest).is_file()

    def blob(self, digest: str) -> Path:
        """Where a blob lies."""
        return self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is there, whole."""
        try:
            with self._open(descriptor) as file:
                self._check_stream(descriptor, file)
        except WrongEngine:
            return False
        return True

    def _index(self) -> Index:
        path = self.path / "index.json"
        try:
            with _open_plain(path) as file:
                data = file.read(MAX_DOCUMENT_BYTES + 1)
        except FileNotFoundError as error:
            raise InputError(
                f"Expected an OCI layout in {self.path}, but there is no index.json. {_MADE}"
            ) from error
        except OSError as error:
            raise WrongEngine(
                f"Expected a plain file in {path}, but it cannot be read: {error.strerror}. Take "
                "the layout again."
            ) from error
        if len(data) > MAX_DOCUMENT_BYTES:
            raise WrongEngine(
                f"Expected an index of at most {MAX_DOCUMENT_BYTES} bytes, got a larger one in "
                f"{path}. Take the layout again."
            )
        return parse(Index, data, str(path))

    @contextmanager
    def _open(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        try:
            opened = _open_plain(self.blob(descriptor.digest))
        except OSError as error:
            raise WrongEngine(
                f"Expected the blob {descriptor.digest} in {self.path}, but it cannot be read: "
                f"{error.strerror}. Make the image again with `release pack`, or take it again."
            ) from error
        with opened as file:
            yield file

    def _check_stream(self, descriptor: Descriptor, file: BinaryIO) -> None:
        digest, size = hashlib.sha256(), 0
        while size <= descriptor.size and (chunk := file.read(CHUNK_BYTES)):
            digest.update(chunk)
            size += len(chunk)
        self._check(descriptor, size, f"sha256:{digest.hexdigest()}")

    def _check(self, descriptor: Descriptor, size: int, digest: str) -> None:
        if (size, digest) != (descriptor.size, descriptor.digest):
            raise WrongEngine(
                f"Expected {descriptor.size} bytes with the digest {descriptor.digest}, got "
                f"another content with {digest} in {self.blob(descriptor.digest)}. It was altered: "
                "remove it and make the image again with `release pack`, or take it again."
            )

    # --- writing, under the lock of `release` ----------------------------------------------------

    def prepare(self) -> None:
        """Make the folder where it is not there, and remove what a killed command left."""
        for folder in (self.path, self.path / "blobs" / "sha256"):
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(f"{TEMPORARY_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
        if not (self.path / "index.json").is_file():
            write_atomic(self.path / "oci-layout", LAYOUT)
            self._write_index(())

    def add(self, data: bytes) -> str:
        """Keep a document; gives its digest."""
        digest = digest_of(data)
        write_changed(self.blob(digest), data)
        return digest

    def add_stream(self, chunks: Callable[[], Iterable[bytes]], media_type: str) -> Descriptor:
        """Keep a blob that is made anew by each call of `chunks`.

        It is made once for its digest and written only where it is not there, so that a rerun
        writes nothing. Raises WrongEngine when the second time gives something else.
        """
        digest, size = hashlib.sha256(), 0
        for chunk in chunks():
            digest.update(chunk)
            size += len(chunk)
        descriptor = Descriptor(
            mediaType=media_type, digest=f"sha256:{digest.hexdigest()}", size=size
        )
        if not self.has(descriptor):
            with atomic_path(self.blob(descriptor.digest)) as temporary:
                with temporary.open("wb") as file:
                    for chunk in chunks():
                        file.write(chunk)
                with temporary.open("rb") as file:
                    self._check_stream(descriptor, file)
        return descriptor

    def name(self, name: str, descriptor: Descriptor) -> None:
        """Let `name` be this image, and no other one."""
        named = descriptor.model_copy(update={"annotations": {REF_NAME: name}})
        others = [one for one in self._index().manifests if one.annotations.get(REF_NAME) != name]
        entries = sorted((*others, named), key=lambda one: one.annotations.get(REF_NAME, ""))
        self._write_index(entries)

    def _write_index(self, manifests: Iterable[Descriptor]) -> None:
        document = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [one.to_json() for one in manifests],
        }
        write_changed(self.path / "index.json", to_bytes(document))


def _open_plain(path: Path) -> BinaryIO:
    """Without following a link, which may lead anywhere, or waiting for a pipe."""
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb")
