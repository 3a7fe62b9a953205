"""`release/records/<release>/smoke.json`: how an image did when it was run in a container."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field

from engines.config.workspace import Workspace
from engines.records.record import Part, Record
from release.packed import ImageDigest


class Boxes(Part):
    """Golden boxes that were found in the container."""

    objects: int
    missing: int
    unexpected: int
    confidence_difference: float
    """The largest of two that are the same."""


class SmokeTimes(Part):
    """Single frames in the container, against those that the engine was judged by."""

    count: int
    p50_ms: float
    p99_ms: float
    judged_p99_ms: float
    """Whole frames at batch 1, in the verdict."""
    limit_p99_ms: float
    """The budget of then."""


class Smoke(Record):
    """`smoke.json`: the latest run of one image."""

    file: ClassVar[str] = "smoke.json"
    written_by: ClassVar[str] = "release smoke"

    release: str
    """The image tag without a digest."""
    digest: ImageDigest
    """Of the image that ran."""
    runtime: ImageDigest | None
    """Of the runtime image in which an image on no base was mounted."""
    container_engine: str
    """Name and version."""
    device: str | None
    """As the pod described it; None where it did not come so far."""
    memory_limit_mib: int = Field(ge=1)
    ran_at: AwareDatetime
    verdict: Literal["PASS", "FAIL"]
    reasons: tuple[str, ...]
    """Why it is a FAIL."""
    boxes: Boxes | None
    times: SmokeTimes | None


def why_failed(smoke: Smoke) -> str:
    """The sentence for an image that failed, with what to do."""
    return (
        f"{smoke.release} failed in a container: {'; '.join(smoke.reasons)}. Build it again, or "
        f"where this machine had other work, run `release smoke {smoke.release}` again without it."
    )


def smoke_path(workspace: Workspace, release: str) -> Path:
    """`release/records/<release>/smoke.json`."""
    return workspace.records / release / Smoke.file


def read_smoke(workspace: Workspace, release: str, digest: str | None) -> Smoke | None:
    """How this image did; None where it was not run, or another one was. Raises InputError for a
    file that cannot be read."""
    path = smoke_path(workspace, release)
    if digest is None or not path.is_file():
        return None
    found = Smoke.read(path)
    return found if (found.release, found.digest) == (release, digest) else None
