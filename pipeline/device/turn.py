"""Whose turn it is on this device: one build or measurement at a time."""

from __future__ import annotations

from contextlib import AbstractContextManager

from engines.process.lock import device_lock
from pipeline.progress import note

WAIT_SECONDS = 30 * 60.0
"""Longer than a measurement takes, shorter than a job may."""


def turn(work: str, *, wait: bool) -> AbstractContextManager[None]:
    """Hold the device for `work`, for example `pipeline build meter-fp16`; where `wait` says so,
    after those who hold it, with a line that says for whom. Raises Conflict (exit 7)."""
    return device_lock(work, wait_seconds=WAIT_SECONDS if wait else 0, waiting=_tell)


def _tell(holder: str) -> None:
    note(
        f"waiting for {holder} to end, {WAIT_SECONDS / 60:g} minutes at most (--no-wait: not at "
        "all)"
    )
