"""What `runtime check` said in a container, against what was published of the engine."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import JetrailError, ServiceError, WrongEngine
from release.records import Publication
from release.smoke.record import Boxes, SmokeTimes
from release.smoke.tool import Done

P99 = "frame_p99_ms"
"""The check of a verdict that times are held against."""


class _Said(BaseModel):
    """As far as it is looked at: the runtime may be a newer or an older one."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class _Golden(_Said):
    sha256: str
    objects: int = Field(ge=1)
    missing: int
    unexpected: int
    confidence_difference: float


class _Times(_Said):
    count: int
    p50_ms: float
    p99_ms: float


class PrintedCheck(_Said):
    """What `runtime check` prints of an engine that may run."""

    release: str
    engine_sha256: str
    device: str
    golden: _Golden
    times: _Times

    def boxes(self) -> Boxes:
        """As the record keeps them."""
        return Boxes.model_validate(self.golden.model_dump(exclude={"sha256"}))


def read_answer(done: Done) -> PrintedCheck:
    """The answer. Raises WrongEngine where the pod refused the engine, and ServiceError where it
    said nothing that can be read."""
    if done.code == WrongEngine.exit_code:
        raise WrongEngine(_problem(done))
    try:
        if done.code:
            raise ServiceError(
                f"Expected `runtime check` to end well in the container, but it ended with "
                f"{done.code}: {_problem(done)}"
            )
        return PrintedCheck.model_validate_json(done.out)
    except ValidationError as error:
        raise ServiceError(
            "Expected the JSON of `runtime check` from the container, got something else. The "
            "runtime image and this clone are too far apart: build the image again."
        ) from error


def times_of(answer: PrintedCheck, publication: Publication) -> SmokeTimes:
    """The times beside those of the verdict. Raises JetrailError for a verdict without them."""
    checks: dict[str, Any] = {one.name: one for one in publication.checks}
    if P99 not in checks:
        raise JetrailError(f"The verdict of {publication.release} has no {P99}.")
    return SmokeTimes(
        count=answer.times.count,
        p50_ms=answer.times.p50_ms,
        p99_ms=answer.times.p99_ms,
        judged_p99_ms=checks[P99].measured,
        limit_p99_ms=checks[P99].limit,
    )


def shortcomings(answer: PrintedCheck, times: SmokeTimes, publication: Publication) -> list[str]:
    """Why the image fails: it is of another engine or of other evidence, or it is too slow."""
    golden = publication.judged.get("golden.npz")
    pairs = [
        ("release", publication.release, answer.release),
        ("engine", publication.engine_sha256, answer.engine_sha256),
        ("golden.npz", golden, answer.golden.sha256),
    ]
    found = [
        f"expected the {what} {expected}, the image has {got}"
        for what, expected, got in pairs
        if expected != got
    ]
    if answer.golden.missing or answer.golden.unexpected:
        found.append(
            f"{answer.golden.missing} golden boxes are missing and {answer.golden.unexpected} "
            "others are there"
        )
    if times.p99_ms > times.limit_p99_ms:
        found.append(
            f"the p99 of a frame is {times.p99_ms:g} ms in the container, the budget is "
            f"{times.limit_p99_ms:g} ms and {times.judged_p99_ms:g} ms were measured"
        )
    return found


def _problem(done: Done) -> str:
    lines = done.err.strip().splitlines() or ["it said nothing."]
    return lines[-1].removeprefix("error: ")
