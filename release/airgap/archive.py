"""The file for a USB stick: a tar of one folder, whose SHA256SUMS names every file and is signed.

jetrail-<site>/
  install.sh                 POSIX shell: verifies, checks K3s and space, installs, prunes
  FACTS                      what the script must know
  SHA256SUMS, SHA256SUMS.sig every other file, and who says so (ECDSA P-256, DER)
  images/jetrail-<tag>-<12 hex of the digest>.tar
                             OCI layout of one image, as containerd imports it
  manifests/*.yaml           HelmChart of each release with the chart in it, ConfigMap of the site
  chart/, values/, records/, keys/    for people, and for `release bundle --verify`
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from engines.errors import InputError, WrongEngine
from release.image.layout import LAYOUT, Image, Layout
from release.image.oci import REF_NAME

SUMS, SIGNATURE = "SHA256SUMS", "SHA256SUMS.sig"
MAX_SMALL = 64 << 20
"""Of a file that is read into memory."""

Source = bytes | Path


def write_archive(path: Path, top: str, files: Mapping[str, Source]) -> None:
    """Write a tar with `files` below the folder `top`: no times, no owners."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            _add(archive, f"{top}/{name}" if top else name, files[name])


def write_image(path: Path, layout: Layout, image: Image, repository: str, tag: str) -> None:
    """One image of a layout as an archive of its own, which containerd knows as `repository:tag`
    after the import. Raises WrongEngine where a layer is altered."""
    layout.check_layers(image)
    document = image.manifest
    blobs = [image.digest, document.config.digest, *(one.digest for one in document.layers)]
    entry = {
        "mediaType": image.descriptor.media_type,
        "digest": image.digest,
        "size": image.descriptor.size,
        "annotations": {
            "io.containerd.image.name": f"{repository}:{tag}",
            REF_NAME: tag,
        },
    }
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}
    content: dict[str, Source] = {
        "oci-layout": LAYOUT,
        "index.json": json.dumps({**index, "manifests": [entry]}, sort_keys=True).encode(),
        **{f"blobs/sha256/{one.removeprefix('sha256:')}": layout.blob(one) for one in blobs},
    }
    write_archive(path, "", content)


def sums_of(files: Mapping[str, Source]) -> bytes:
    """`SHA256SUMS` as sha256sum writes and checks it."""
    lines = [f"{_sha256(files[name])}  {name}\n" for name in sorted(files)]
    return "".join(lines).encode()


@contextmanager
def _opened(path: Path) -> Iterator[tuple[tarfile.TarFile, dict[str, tarfile.TarInfo]]]:
    """An archive, and its files by their name below its one folder, which must be plain files under
    plain names."""
    try:
        with tarfile.open(path, "r:") as archive:
            yield archive, dict(_entries(archive, path))
    except (tarfile.TarError, EOFError) as error:
        raise _refused(path, f"it cannot be read: {error}") from error


def check_sums(path: Path) -> tuple[bytes, bytes, dict[str, bytes]]:
    """Hold every file of an archive against its SHA256SUMS; gives that, its signature, and the
    small files by name. Raises WrongEngine for one that is altered, missing or not named."""
    small: dict[str, bytes] = {}
    with _opened(path) as (archive, entries):
        sums = _read(archive, entries.get(SUMS), path, SUMS)
        signature = _read(archive, entries.get(SIGNATURE), path, SIGNATURE)
        named = dict(_parse(sums, path))
        others = set(entries) - {SUMS, SIGNATURE}
        if set(named) != others:
            one = sorted(set(named) ^ others)[0]
            raise _refused(path, f"{one} is {'missing' if one in named else 'not signed'}")
        for name, sha256 in named.items():
            if _hash(archive, entries[name]) != sha256:
                raise _refused(path, f"{name} is not what was signed")
            if entries[name].size <= MAX_SMALL and not name.startswith("images/"):
                small[name] = _read(archive, entries[name], path, name)
    return sums, signature, small


def _entries(archive: tarfile.TarFile, path: Path) -> Iterator[tuple[str, tarfile.TarInfo]]:
    seen: set[str] = set()
    for one in archive:
        parts = PurePosixPath(one.name).parts
        if not one.isreg() or len(parts) < 2 or {"..", "/", "."} & set(parts):
            raise _refused(path, f"{one.name!r} is no plain file in a folder")
        name = "/".join(parts[1:])
        if name in seen:
            raise _refused(path, f"{name} is there twice")
        seen.add(name)
        yield name, one


def _parse(sums: bytes, path: Path) -> Iterator[tuple[str, str]]:
    for line in sums.decode(errors="replace").splitlines():
        sha256, separator, name = line.partition("  ")
        if not separator or len(sha256) != 64:
            raise _refused(path, f"{SUMS} has a line that is none")
        yield name, sha256


def _read(archive: tarfile.TarFile, entry: tarfile.TarInfo | None, path: Path, name: str) -> bytes:
    if entry is None:
        raise _refused(path, f"{name} is missing")
    if entry.size > MAX_SMALL:
        raise _refused(path, f"{name} has more than {MAX_SMALL >> 20} MiB")
    file = archive.extractfile(entry)
    assert file is not None  # it is a regular file
    return file.read()


def _hash(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> str:
    file = archive.extractfile(entry)
    assert file is not None  # it is a regular file
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _add(archive: tarfile.TarFile, name: str, source: Source) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode = 0o755 if name.endswith(".sh") else 0o644
    if isinstance(source, bytes):
        entry.size = len(source)
        archive.addfile(entry, io.BytesIO(source))
        return
    entry.size = source.stat().st_size
    with source.open("rb") as file:
        try:
            archive.addfile(entry, file)
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(
                f"Expected {source} to stay as it is while it is packed, but it ended before its "
                f"{entry.size} bytes. See that nothing else writes it and that its disk is sound, "
                "then run the same command again."
            ) from error


def _sha256(source: Source) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    digest = hashlib.sha256()
    with source.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _refused(path: Path, problem: str) -> WrongEngine:
    return WrongEngine(
        f"Expected a bundle of `release bundle` in {path}, but {problem}. Copy it again, or make "
        "it again."
    )
