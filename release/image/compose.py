"""Base and layer become an image; without a base the layer is one by itself.

An image on no base has a real config, since container engines mount images and not artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engines.errors import InputError, WrongEngine
from release.image.layout import Image, Layout
from release.image.oci import CONFIG, MANIFEST, Descriptor, Platform, digest_of, to_bytes


@dataclass(frozen=True, kw_only=True)
class Composition:
    """What an image is made of."""

    base: Image | None
    layer: Descriptor
    """Of the uncompressed layer `/models`."""
    platform: Platform
    annotations: Mapping[str, str]
    created: str
    """RFC 3339, in UTC; a fact about the release and not the time of packing."""


def compose(layout: Layout, parts: Composition) -> Descriptor:
    """Write config and manifest of the image; gives the manifest's descriptor.

    Raises InputError where the base is for another kind of machine.
    """
    layers = parts.base.manifest.layers if parts.base else ()
    config, manifest = _documents(parts, layers, _config_of_base(parts))
    layout.add(config)
    return Descriptor(
        mediaType=MANIFEST,
        digest=layout.add(manifest),
        size=len(manifest),
        platform=parts.platform,
    )


def check_composed(image: Image, platform: Platform, created: str, where: str) -> None:
    """Raise WrongEngine unless the image's config and manifest are, byte for byte, what `compose`
    writes of their parts: nothing more stands in them, and nothing that another reader could take
    for something else. What a base says of itself is the base's."""
    top = image.manifest.layers[-1]
    parts = Composition(
        base=None,
        layer=Descriptor(mediaType=top.media_type, digest=top.digest, size=top.size),
        platform=platform,
        annotations=image.manifest.annotations,
        created=created,
    )
    below = image.manifest.layers[:-1]
    config, manifest = _documents(parts, below, _below(image) if below else {})
    for name, expected, found in (
        ("config", digest_of(config), image.manifest.config.digest),
        ("manifest", digest_of(manifest), image.digest),
    ):
        if found != expected:
            raise WrongEngine(
                f"Expected the {name} {expected} in {where}, as `release pack` writes it of this "
                f"release, got {found}: it was altered. Take the release's own image."
            )


def _documents(
    parts: Composition, layers: Sequence[Descriptor], below: Mapping[str, Any]
) -> tuple[bytes, bytes]:
    """Config and manifest of the layer on those of a base."""
    config = to_bytes(
        {
            **below,
            **parts.platform.model_dump(exclude_none=True),
            "created": parts.created,
            "config": _settings(below, parts.annotations),
            "rootfs": {
                "type": "layers",
                "diff_ids": [*below.get("rootfs", {}).get("diff_ids", ()), parts.layer.digest],
            },
            "history": [
                *below.get("history", ()),
                {"created": parts.created, "created_by": "release pack", "comment": "/models"},
            ],
        }
    )
    manifest = to_bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": digest_of(config), "size": len(config)},
            "layers": [one.to_json() for one in (*layers, parts.layer)],
            "annotations": dict(parts.annotations),
        }
    )
    return config, manifest


def _below(image: Image) -> dict[str, Any]:
    """What the config says besides what `_documents` puts into it: its base's."""
    found: dict[str, Any] = json.loads(image.config_bytes)
    history, settings = found.get("history"), dict(found.get("config") or {})
    labels = settings.get("Labels") or {}
    ours = image.manifest.annotations
    settings["Labels"] = {key: value for key, value in labels.items() if key not in ours}
    return {
        **found,
        "config": settings,
        "rootfs": {"diff_ids": found["rootfs"]["diff_ids"][:-1]},
        "history": history[:-1] if isinstance(history, list) else [],
    }


def _config_of_base(parts: Composition) -> dict[str, Any]:
    """The base's whole config, with what Jetrail does not know of."""
    if parts.base is None:
        return {}
    ours, theirs = parts.platform, parts.base.config.platform
    if (ours.os, ours.architecture) != (theirs.os, theirs.architecture):
        raise InputError(
            f"Expected a base for {ours}, as the engine's device is, got {parts.base.digest} for "
            f"{theirs}. Name another base for this target in release/bases.yaml."
        )
    found: dict[str, Any] = json.loads(parts.base.config_bytes)
    return found


def _settings(below: Mapping[str, Any], annotations: Mapping[str, str]) -> dict[str, Any]:
    settings = dict(below.get("config") or {})
    return {**settings, "Labels": {**(settings.get("Labels") or {}), **annotations}}
