"""`site.yaml`: what one site's pods look at, where it is, and from which confidence on they speak.

Every site has the same pods and a ConfigMap of its own, in release/fleet/sites/<site>/. Credentials
never stand in it: a camera names the Secret of its cluster that has them.
"""

from __future__ import annotations

from typing import Annotated, Literal
from unicodedata import category
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from engines.config.names import Name
from engines.records.record import Part

SecretName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
"""As Kubernetes names Secrets."""

SCHEMES = ("rtsp", "rtsps", "http", "https", "file")


class Camera(Part):
    """One stream."""

    name: Name
    url: str = Field(max_length=500)
    """Without user and password."""
    secret: SecretName | None = None
    """The Secret with `username` and `password`, in the pods' namespace."""

    @field_validator("url")
    @classmethod
    def _address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"expected an address, but {error}") from error
        del port  # read for its check
        if parts.scheme not in SCHEMES or not (host or parts.scheme == "file"):
            raise ValueError(f"expected an address that begins with one of {', '.join(SCHEMES)}")
        if parts.username is not None or parts.password is not None:
            # Not said again: it is a secret.
            raise ValueError("expected no user and password in it; name a Secret under `secret`")
        if any(character.isspace() or not character.isprintable() for character in value):
            raise ValueError("expected no spaces in it")
        return value


class Alerts(Part):
    """What the pods tell."""

    confidence_threshold: float = Field(default=0.25, ge=0, le=1, alias="confidenceThreshold")


class Site(Part):
    """`site.yaml`."""

    schema_: Literal[1] = Field(default=1, alias="schema")
    site: Name
    target: Name
    """The target of its device: its cluster has the label `device` of it."""
    ring: Name
    location: str = Field(default="", max_length=200)
    cameras: Annotated[tuple[Camera, ...], Field(max_length=64)] = ()
    alerts: Alerts = Alerts()

    @field_validator("location")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if any(category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value):
            raise ValueError("expected one line of text without control characters")
        return value

    @field_validator("cameras")
    @classmethod
    def _different(cls, value: tuple[Camera, ...]) -> tuple[Camera, ...]:
        names = [one.name for one in value]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise ValueError(f"expected different names, but camera {index} is {name!r} again")
        return value
