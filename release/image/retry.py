"""Once more, a little later: for what a registry may do well the next time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from engines.errors import ServiceError

Result = TypeVar("Result")

TRIES = 6
FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
"""Between two tries; a registry that asks for more is asked again after this."""


class Temporary(Exception):
    """It failed in a way that may be over soon; the text says how."""

    def __init__(self, problem: str, after_seconds: float | None = None) -> None:
        super().__init__(problem)
        self.after_seconds = after_seconds
        """For how long the registry asked to be left in peace."""


def retried(
    work: Callable[[], Result],
    what: str,
    say: Callable[[str], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Result:
    """What `work` gives, tried again with growing pauses while it raises Temporary.

    Raises ServiceError with `what` failed when the last try does.
    """
    for count in range(1, TRIES + 1):
        try:
            return work()
        except Temporary as error:
            if count == TRIES:
                raise ServiceError(
                    f"Expected {what}, but after {TRIES} tries the registry still does not do its "
                    f"part: {error}. What got there stays there: run the same command again later."
                ) from error
            seconds = _pause(count, error.after_seconds)
            say(f"{what}: {error}; trying again in {seconds:.0f} s")
            sleep(seconds)
    raise AssertionError("unreachable")


def _pause(count: int, asked: float | None) -> float:
    """Grows by two; random by a half, so that many who were refused do not come back at once."""
    if asked is not None:
        return min(max(asked, 0.0), LONGEST_SECONDS)
    return float(min(FIRST_SECONDS * 2 ** (count - 1), LONGEST_SECONDS) * random.uniform(0.5, 1.0))
