"""What publishing leaves behind: one file for each release, and one for each target.

    release/records/<tag>.json        ReleaseRecord: kept in git, and completed by pack and sign
    release/published/<target>.json   Published: the output of the publish stage, read by write

Both are the same, byte by byte, when publishing again finds nothing new.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from engines.config.workspace import Workspace
from engines.records.record import Part, Precision, Record, Sha256, VerdictName

Policy = Literal["fastest", "most-accurate", "smallest"]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class MlflowEntry(Part):
    """Where MLflow keeps the engine."""

    tracking_uri: str
    """Without user and password; a store in the repository is written relative to its root."""
    experiment: str
    run_id: str
    registered_model: str
    version: int = Field(ge=1)


class ReleaseRecord(Record):
    """One release: an engine that passed, where it is registered, and its image once packed."""

    written_by: ClassVar[str] = "release publish"

    release: str
    """The image tag without a digest."""
    engine: str
    model: str
    model_version: str
    target: str
    precision: Precision
    engine_sha256: Sha256
    digest: Digest | None = None
    """Of the image; none until it is packed."""
    mlflow: MlflowEntry
    signature: str | None = None
    git_commit: str
    """Commit that the engine was built from; empty without git."""
    verdict: VerdictName
    frame_p50_ms: float
    frame_p99_ms: float
    """Whole frame, batch 1, in milliseconds."""
    map50_95: float


class PublishedEngine(Part):
    """A release of the target's present engines."""

    release: str
    engine: str
    model: str
    run_id: str
    registered_model: str
    version: int


class SkippedEngine(Part):
    """An engine that is not released."""

    engine: str
    verdict: VerdictName


class ChosenCandidate(Part):
    """The release of a model that goes to the canary ring, and why this one."""

    release: str
    engine: str
    reason: str


class Published(Record):
    """What one target has in MLflow: the link between `release publish` and `release write`."""

    written_by: ClassVar[str] = "release publish"

    target: str
    policy: Policy
    engines: tuple[PublishedEngine, ...]
    skipped: tuple[SkippedEngine, ...]
    candidates: dict[str, ChosenCandidate]
    """Model name to its candidate; a model of which nothing passed is not there."""


def record_path(workspace: Workspace, release: str) -> Path:
    """`release/records/<tag>.json`."""
    return workspace.records / f"{release}.json"


def published_path(workspace: Workspace, target: str) -> Path:
    """`release/published/<target>.json`."""
    return workspace.root / "release" / "published" / f"{target}.json"
