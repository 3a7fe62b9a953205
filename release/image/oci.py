"""The documents of the OCI image format, as far as Jetrail writes or reads them.

https://github.com/opencontainers/image-spec/blob/v1.1.0/spec.md. An image that is read may be
anybody's: every size has a bound here, and whatever else a document says is left aside.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from typing_extensions import Self

from engines.errors import WrongEngine
from engines.records.explain import explain

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
LAYERS = (LAYER, f"{LAYER}+gzip", f"{LAYER}+zstd")

REF_NAME = "org.opencontainers.image.ref.name"

MAX_DOCUMENT_BYTES = 4 << 20
"""Of a manifest, a config or an index: what registries must take at least."""
MAX_LAYERS = 127
"""What container engines stack."""
MAX_IMAGES = 10_000
"""In one layout."""
MAX_LAYER_BYTES = 64 << 30

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Annotations = Annotated[dict[str, str], Field(max_length=256)]

AnyDocument = TypeVar("AnyDocument", bound="Document")


class Document(BaseModel):
    """A document of the format, or a piece of one; keys that are not ours are left aside."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, populate_by_name=True)


class Platform(Document):
    """`architecture` as Go spells it: amd64 or arm64."""

    architecture: str
    os: str
    variant: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


class Descriptor(Document):
    """Another blob, by its kind, digest and size in bytes."""

    media_type: str = Field(alias="mediaType")
    digest: Digest
    size: int = Field(ge=0, le=MAX_LAYER_BYTES)
    annotations: Annotations = Field(default_factory=dict)
    platform: Platform | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document; empty keys are left out."""
        found = self.model_dump(by_alias=True, exclude_none=True)
        return {key: value for key, value in found.items() if value != {}}


class Manifest(Document):
    """An image: its config, and its layers from the lowest up."""

    schema_version: Literal[2] = Field(alias="schemaVersion")
    media_type: Literal["application/vnd.oci.image.manifest.v1+json"] = Field(alias="mediaType")
    config: Descriptor
    layers: Annotated[tuple[Descriptor, ...], Field(min_length=1, max_length=MAX_LAYERS)]
    annotations: Annotations = Field(default_factory=dict)

    @model_validator(mode="after")
    def _of_an_image(self) -> Self:
        kinds = {self.config.media_type} - {CONFIG} | {
            one.media_type for one in self.layers if one.media_type not in LAYERS
        }
        if kinds:
            raise ValueError(f"expected an image's config and layers, got {sorted(kinds)[0]!r}")
        return self


class RootFs(Document):
    """The layers as they are unpacked."""

    type: Literal["layers"]
    diff_ids: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=MAX_LAYERS)]


class Settings(Document):
    """How a container of the image starts."""

    user: str = Field(default="", alias="User")
    labels: Annotations | None = Field(default=None, alias="Labels")


class Config(Document):
    """The image's config, as far as it is looked at; the rest of a base's travels as it is."""

    architecture: str
    os: str
    variant: str | None = None
    config: Settings | None = None
    rootfs: RootFs

    @property
    def platform(self) -> Platform:
        return Platform(architecture=self.architecture, os=self.os, variant=self.variant)


class Index(Document):
    """`index.json` of a layout: the images in it."""

    schema_version: Literal[2] = Field(alias="schemaVersion")
    manifests: Annotated[tuple[Descriptor, ...], Field(max_length=MAX_IMAGES)]


def parse(kind: type[AnyDocument], data: bytes, where: str) -> AnyDocument:
    """A document of that kind. Raises WrongEngine with `where` and the offending key."""
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise WrongEngine(
            f"{where} is not an OCI {kind.__name__.lower()} that can be read: {explain(error)}. "
            "Take the image again from where it was made."
        ) from error


def to_bytes(document: Mapping[str, Any]) -> bytes:
    """The one spelling in which Jetrail writes a document: so its digest is always the same."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest_of(data: bytes) -> str:
    """`sha256:…` of a blob."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
