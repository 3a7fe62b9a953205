"""Times of two or more sides, taken in turns in one process or in processes of their own."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Rounds = list[list[float]]
"""Round by round, the seconds of each measurement."""


@dataclass(frozen=True, kw_only=True)
class Side:
    """Something that is measured in turns with others."""

    name: str
    run: Callable[[int], list[float]]
    """Handles so many frames; returns the seconds of each, or their mean as one value."""
    opencv_threads: int
    """Ultralytics switches OpenCV's threads off when it is imported; each side has its own."""


def alternate(sides: Sequence[Side], *, rounds: int, count: int, warmup: int) -> dict[str, Rounds]:
    """Let each side in turn handle `count` frames, `rounds` times; the order shifts each round.

    Before each turn `warmup` frames are not counted: caches and idle threads are the other side's.
    """
    import cv2

    taken: dict[str, Rounds] = {side.name: [] for side in sides}
    for turn in range(rounds):
        shift = turn % len(sides)
        for side in (*sides[shift:], *sides[:shift]):
            cv2.setNumThreads(side.opencv_threads)
            side.run(warmup)
            taken[side.name].append(side.run(count))
    return taken


def medians(rounds: Rounds, scale: float = 1.0) -> tuple[float, ...]:
    """The median of each round, times `scale`."""
    return tuple(float(np.median(seconds)) * scale for seconds in rounds)


def frames_a_second(rounds: Rounds) -> tuple[float, ...]:
    """Of each round."""
    return tuple(1 / float(np.mean(seconds)) for seconds in rounds)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A process that ended well."""

    seconds: float
    output: str


def run_process(
    command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str]
) -> Finished:
    """Run a command and take the time from start to end. Raises RuntimeError when it fails."""
    started = time.perf_counter()
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=dict(environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        line = " ".join(str(part) for part in command)
        raise RuntimeError(f"`{line}` ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return Finished(seconds=seconds, output=done.stdout)


def take_turns(sides: Mapping[str, Callable[[], Any]], *, rounds: int) -> dict[str, list[Any]]:
    """Call each side in turn, `rounds` times; the order is reversed every other round."""
    taken: dict[str, list[Any]] = {name: [] for name in sides}
    for turn in range(rounds):
        for name in list(sides)[:: -1 if turn % 2 else 1]:
            taken[name].append(sides[name]())
    return taken
