"""Base and layer become an image; without a base the layer is one by itself.

An image on no base has a real config, since container engines mount images and not artifacts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.errors import InputError
from release.image.layout import Image, Layout
from release.image.oci import CONFIG, MANIFEST, Descriptor, Platform, to_bytes


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
    below = _config_of_base(parts)
    config = {
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
    data = to_bytes(config)
    layers = (*(parts.base.manifest.layers if parts.base else ()), parts.layer)
    manifest = to_bytes(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": layout.add(data), "size": len(data)},
            "layers": [one.to_json() for one in layers],
            "annotations": dict(parts.annotations),
        }
    )
    return Descriptor(
        mediaType=MANIFEST,
        digest=layout.add(manifest),
        size=len(manifest),
        platform=parts.platform,
    )


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
