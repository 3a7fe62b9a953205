"""What an image says of itself: the image spec's own keys, and ours, which begin with io.jetrail.

As annotations they stand in the manifest, for registries, and as labels in the config, for
container engines. https://github.com/opencontainers/image-spec/blob/v1.1.0/annotations.md
"""

from __future__ import annotations

from datetime import datetime, timezone

from engines.records.manifest import Manifest
from release.image.oci import Platform

OCI = "org.opencontainers.image"
OURS = "io.jetrail"

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""As Linux spells it, and as Go does, whose names the image spec takes."""


def annotations_of(manifest: Manifest, release: str) -> dict[str, str]:
    """Key to value; what is not known is left out. `release verify` holds images against these
    words, so other ones would refuse all that was packed before."""
    found = {
        f"{OCI}.title": f"{manifest.model} {manifest.model_version} for {manifest.target}",
        f"{OCI}.description": (
            f"Engine of {manifest.model} in {manifest.precision} for {manifest.device.name}, "
            f"built by {manifest.backend_package} {manifest.backend_version}"
        ),
        f"{OCI}.version": manifest.model_version,
        f"{OCI}.revision": manifest.source.git_commit,
        f"{OURS}.release": release,
        f"{OURS}.model": manifest.model,
        f"{OURS}.target": manifest.target,
        f"{OURS}.precision": manifest.precision,
        f"{OURS}.engine.sha256": manifest.engine_sha256,
        f"{OURS}.backend": manifest.backend,
        f"{OURS}.backend.version": f"{manifest.backend_package} {manifest.backend_version}",
        f"{OURS}.jetpack": manifest.device.jetpack or "",
    }
    return {key: value for key, value in sorted(found.items()) if value}


def created_of(signed_at: datetime) -> str:
    """When the image came to be, RFC 3339 in UTC: when its files were signed."""
    return f"{signed_at.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def platform_of(manifest: Manifest) -> Platform:
    """Where the engine runs."""
    architecture = manifest.device.architecture
    return Platform(architecture=ARCHITECTURES.get(architecture, architecture), os="linux")
