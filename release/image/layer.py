"""The layer `/models`: the files of a release as an uncompressed tar, the same bytes everywhere.

Nothing of this machine gets in: no time, owner, mode or order of its own. It is not compressed:
engines hardly shrink, and each zlib packs differently, so that a digest would depend on the Python
that made it. It is made as a stream, so that an engine of 2 GB takes no memory.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from engines.errors import InputError, WrongEngine

FOLDER = "models"
"""Where an image has its engine, without the slash."""
BLOCK = 512
CHUNK_BYTES = 1 << 20
MAX_FILE_BYTES = 8 << 30
"""What the size in a header of POSIX' ustar can say, exclusive."""


class LayerFile(NamedTuple):
    """A file that goes into the layer, and what it must be."""

    path: Path
    sha256: str


def layer_chunks(files: Mapping[str, LayerFile]) -> Iterator[bytes]:
    """The tar with `files`, name under `/models` to file, as a stream of pieces.

    Raises WrongEngine when a file is not, or while it is read becomes something else than, what it
    must be, and InputError for one that no tar of this kind can hold.
    """
    yield _header(f"{FOLDER}/", tarfile.DIRTYPE, 0o755)
    for name, file in sorted(files.items()):
        size = file.path.stat().st_size
        if size >= MAX_FILE_BYTES:
            raise InputError(
                f"Expected files of less than {MAX_FILE_BYTES >> 30} GiB for an image, got "
                f"{file.path} of {size} bytes. Build a smaller engine."
            )
        yield _header(f"{FOLDER}/{name}", tarfile.REGTYPE, 0o644, size)
        yield from _content(file, size)
        yield bytes(-size % BLOCK)
    yield bytes(2 * BLOCK)


def _header(name: str, kind: bytes, mode: int, size: int = 0) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.size = kind, mode, size
    return entry.tobuf(tarfile.USTAR_FORMAT)


def _content(file: LayerFile, size: int) -> Iterator[bytes]:
    """Exactly `size` bytes: a file that changes meanwhile would spoil the whole tar."""
    digest, left = hashlib.sha256(), size
    with file.path.open("rb") as content:
        while left and (chunk := content.read(min(left, CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
            yield chunk
        grown = content.read(1)
    if left or grown or digest.hexdigest() != file.sha256:
        raise WrongEngine(
            f"{file.path} is not the file that was signed for this image: expected sha256 "
            f"{file.sha256[:12]}…, got {digest.hexdigest()[:12]}…. It was changed since then: run "
            "`dvc repro`, or build and publish the engine again."
        )
