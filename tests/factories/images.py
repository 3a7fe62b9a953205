"""Layers and layouts of a test, made by Jetrail or by somebody who means ill."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from release.image.compose import Composition, compose
from release.image.layer import LayerFile, layer_chunks
from release.image.layout import Image, Layout
from release.image.oci import (
    CONFIG,
    LAYER,
    MANIFEST,
    Descriptor,
    Platform,
    to_bytes,
)

AMD64 = Platform(architecture="amd64", os="linux")
NAME = "v1.0-x86-openvino-fp16-3f2a91c04b7e"


def layer_files(folder: Path, contents: Mapping[str, bytes]) -> dict[str, LayerFile]:
    """Write them into `folder` as what a layer is made of."""
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        found[name] = LayerFile(folder / name, hashlib.sha256(content).hexdigest())
    return found


def make_layout(folder: Path) -> Layout:
    layout = Layout(folder)
    layout.prepare()
    return layout


def add_image(
    layout: Layout,
    files: Mapping[str, LayerFile],
    *,
    name: str = NAME,
    base: Image | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An image of those files, as `release pack` makes it."""
    descriptor = compose(
        layout,
        Composition(
            base=base,
            layer=layout.add_stream(lambda: layer_chunks(files), LAYER),
            platform=AMD64,
            annotations=annotations or {"io.jetrail.model": "meter"},
            created="2026-05-01T12:00:00Z",
        ),
    )
    layout.name(name, descriptor)
    return layout.image(name)


def add_foreign(
    layout: Layout,
    layers: Iterable[bytes],
    *,
    name: str = NAME,
    manifest: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
) -> Descriptor:
    """An image of those layers, made by hand, with keys of its documents changed."""
    blobs = [(layer, layout.add(layer)) for layer in layers]
    settings = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [digest for _, digest in blobs]},
        **(config or {}),
    }
    data = to_bytes(settings)
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": layout.add(data), "size": len(data)},
        "layers": [
            {"mediaType": LAYER, "digest": digest, "size": len(layer)} for layer, digest in blobs
        ],
        **(manifest or {}),
    }
    raw = to_bytes(document)
    descriptor = Descriptor(mediaType=MANIFEST, digest=layout.add(raw), size=len(raw))
    layout.name(name, descriptor)
    return descriptor


def tar_of(*entries: tuple[str, bytes, bytes | str]) -> bytes:
    """A tar of (name, kind, content or where a link leads to)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, kind, content in entries:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if isinstance(content, str):
                entry.linkname, content = content, b""
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
