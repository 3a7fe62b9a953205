"""`site.yaml`: what one site's pods look at, where it is, and from which confidence on they speak.

Every site has the same pods and a ConfigMap of its own, in release/fleet/sites/<site>/. Credentials
never stand in it: a camera names the Secret of its cluster that has them.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from unicodedata import category
from urllib.parse import unquote, urlsplit

from pydantic import Field, field_validator

from engines.config.names import Name
from engines.records.record import Part

SecretName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
"""As Kubernetes names Secrets."""

SCHEMES = ("rtsp", "rtsps", "http", "https", "file")


_SECRET_KEY = re.compile(
    r"[?&;/#_]((?:[a-z0-9-]{1,30}[_.-])?(?:(?:user)?(?:password|passwd|pass|pwd)|token|secret|"
    r"api[_-]?key|auth|signature|sig|login|username|user|usr))=",
    re.IGNORECASE,
)
"""Under which cameras take credentials behind the host: `?user=admin&password=…`, and as a part of
the path, `/user=admin_password=…`."""

_AUTHORITY = r"^((rtsps?|https?)://[^/?#@\s]+([/?#]\S*)?|file:///\S*)$"
"""An address without a user, for JSON schemas, which know no other check."""


USERS = ("user", "username", "usr", "login")
"""Of those, what is no secret by itself."""


def credentials_in(address: str) -> str | None:
    """What kind of credentials an address has: `user`, `password`, or the key of a query, such as
    `token`; None where it has none. Raises ValueError for what is no address."""
    parts = urlsplit(address)
    if parts.password is not None:
        return "password"
    if parts.username is not None:
        return "user"
    behind = unquote(address.partition(parts.netloc)[2] if parts.netloc else address)
    keys = [match[1].lower() for match in _SECRET_KEY.finditer(behind)]
    return next((key for key in keys if key not in USERS), keys[0] if keys else None)


class Camera(Part):
    """One stream."""

    name: Name
    url: str = Field(max_length=500, json_schema_extra={"pattern": _AUTHORITY})
    """Without user, password or token."""
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
        if (kind := credentials_in(value)) is not None:
            # Which they are is not said again.
            raise ValueError(f"expected no {kind} in it; name a Secret under `secret`")
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
