"""The files of a layer `/models`, taken out without trust in it.

Only what `layer` writes is accepted: a plain tar with the folder and files right below it. A link,
a device, a path that leads elsewhere, an extended header (which may claim any size) is refused, so
that nothing is ever written outside the folder that was asked for.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from engines.errors import WrongEngine
from release.image.layer import BLOCK, CHUNK_BYTES, FOLDER, MAX_FILE_BYTES

MAX_FILES = 64
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""Of a file; a name that begins with a dot could be a whiteout (`.wh.…`)."""


class Taken(NamedTuple):
    """A file of the layer."""

    sha256: str
    size: int


def take_files(layer: BinaryIO, folder: Path | None = None) -> dict[str, Taken]:
    """The files of an open layer, by name; written into `folder`, which must be empty, if given.

    Raises WrongEngine for a layer that has anything else than files right below `/models`.
    """
    found: dict[str, Taken] = {}
    for entry in _entries(layer):
        name = entry.name.removeprefix(f"{FOLDER}/")
        if entry.type == tarfile.DIRTYPE and entry.name.rstrip("/") == FOLDER:
            continue
        if not _is_plain(entry, name):
            raise _refused(f"{entry.name[:200]!r} is no file right below /{FOLDER}")
        if name in found:
            raise _refused(f"{name!r} is in it twice")
        if len(found) == MAX_FILES:
            raise _refused(f"it has more than {MAX_FILES} files")
        found[name] = _take(layer, entry.size, folder / name if folder else None)
    if not found:
        raise _refused(f"there is no file below /{FOLDER}")
    return found


def _is_plain(entry: tarfile.TarInfo, name: str) -> bool:
    kinds = (tarfile.REGTYPE, tarfile.AREGTYPE)
    return (
        entry.type in kinds
        and name != entry.name
        and NAME.fullmatch(name) is not None
        and 0 <= entry.size < MAX_FILE_BYTES
    )


def _entries(layer: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """The headers, one by one; whoever takes one reads its content before the next."""
    while block := layer.read(BLOCK):
        if block == bytes(BLOCK):
            _check_end(layer)
            return
        try:
            yield tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise _refused(f"a header in it cannot be read ({error})") from error
    raise _refused("it ends in the middle")


def _check_end(layer: BinaryIO) -> None:
    """Nothing may hide behind the end: another reader might read on."""
    while chunk := layer.read(CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise _refused("something stands behind its end")


def _take(layer: BinaryIO, size: int, path: Path | None) -> Taken:
    digest, left = hashlib.sha256(), size
    # "x": never through a link that somebody put there.
    with open(path, "xb") if path else _Nowhere() as file:
        while left and (chunk := layer.read(min(left, CHUNK_BYTES))):
            digest.update(chunk)
            left -= len(chunk)
            file.write(chunk)
    padding = layer.read(-size % BLOCK)
    if left or len(padding) != -size % BLOCK:
        raise _refused("it ends in the middle of a file")
    return Taken(digest.hexdigest(), size)


class _Nowhere:
    """A file that keeps nothing."""

    def __enter__(self) -> _Nowhere:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def write(self, _: bytes) -> None:
        pass


def _refused(problem: str) -> WrongEngine:
    return WrongEngine(
        f"Expected a layer with nothing but the files of a release below /{FOLDER}, got another: "
        f"{problem}. `release pack` did not make this image: take the release's own."
    )
