"""The grammar of image tags, in one table.

    part       spelling                         of v1.0-x86-openvino-fp16-3f2a91c04b7e
    version    digits, up to three groups       1.0
    target     a target's name                  x86-openvino
    precision  fp32, fp16 or int8               fp16
    engine     first 12 hex of its sha256       3f2a91c04b7e
    digest     `@sha256:` and 64 hex, optional  none until the image is packed

The same engine gives the same tag and another engine another one, so a tag never moves. What is
before the `@` is a valid OCI tag: at most 128 characters of `[A-Za-z0-9_.-]`
(https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engines.config.names import NAME_PATTERN, VERSION_PATTERN
from engines.errors import InputError
from engines.records.manifest import Manifest
from engines.records.record import PRECISIONS

MAX_LENGTH = 128
ENGINE_DIGITS = 12

_GRAMMAR = {
    "version": VERSION_PATTERN.strip("^$"),
    "target": NAME_PATTERN.strip("^$"),
    "precision": "|".join(PRECISIONS),
    "engine": rf"[0-9a-f]{{{ENGINE_DIGITS}}}",
}
_TAG = re.compile(
    "v" + "-".join(f"(?P<{part}>{spelling})" for part, spelling in _GRAMMAR.items())
    + r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tag:
    """An image tag, taken apart; `str()` puts it together again."""

    version: str
    target: str
    precision: str
    engine: str
    """First hex digits of the engine's sha256."""
    digest: str | None = None
    """`sha256:…` of the image, where it is packed."""

    @property
    def name(self) -> str:
        """The tag without the digest: the name of the release."""
        return f"v{self.version}-{self.target}-{self.precision}-{self.engine}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else self.name


def make_tag(manifest: Manifest) -> Tag:
    """The tag of the engine that `manifest` describes. Raises InputError where none can be made."""
    tag = Tag(
        version=manifest.model_version,
        target=manifest.target,
        precision=manifest.precision,
        engine=manifest.engine_sha256[:ENGINE_DIGITS],
    )
    return parse_tag(str(tag))


def parse_tag(text: str) -> Tag:
    """The parts of a tag. Raises InputError where `text` is not one."""
    match = _TAG.fullmatch(text)
    if match is None:
        raise InputError(
            "Expected a tag as v<model version>-<target>-<precision>-<12 hex of the engine's "
            f"sha256>, if need be with @sha256:<64 hex> after it; got {text!r}. "
            "`ls -d release/records/v*` shows the tags there are."
        )
    tag = Tag(**match.groupdict())
    if len(tag.name) > MAX_LENGTH:
        raise InputError(
            f"Expected a tag of at most {MAX_LENGTH} characters, as registries demand; "
            f"got {len(tag.name)}: {tag.name!r}. Shorten the target's name or the model's version."
        )
    return tag


def release_of(text: str, target: str | None) -> str:
    """The name of the release that `text` is the tag of. Raises InputError where it is none, or not
    one of `target`: with both given, neither is to be passed over.
    """
    tag = parse_tag(text)
    if target not in (None, tag.target):
        raise InputError(
            f"Expected a release of target {target}, got {tag.name}, which is one of {tag.target}. "
            "Leave --target out."
        )
    return tag.name
