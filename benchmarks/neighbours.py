"""`pipeline benchmark` beside a neighbour: is it valid, with the figures of an idle machine?

Measures one engine in turns: without a neighbour of ours, and beside a process that takes one
processor half of the time in bursts. A run beside it is compared with the two that were alone
before and after it, and these with each other: by so much the machine itself moves. In the end once
with all processors taken all the time, which must be INVALID, and soon.

The machine moves by more within such minutes than the neighbour does. So first whole frames in one
process, in short turns with and without the neighbour: what is left between the two is its doing.

Run by hand after `dvc repro`, on a machine that does nothing else; takes some fifteen minutes:

    python benchmarks/neighbours.py meter-yolov8n-fp16 [--runs 10] [--turns 12]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, pairwise
from pathlib import Path
from statistics import median

import numpy as np

from engines.config.target import TargetConfig, load_target
from engines.config.workspace import Workspace, find_workspace
from engines.machine.fingerprint import read_fingerprint
from engines.measure.latency import latency
from engines.measure.neighbours import Neighbours
from engines.measure.windows import Wanted, Window, run_windows
from engines.process.orphans import ends_with_us
from pipeline.device.recognition import frames_in_flight
from pipeline.latency import results
from pipeline.latency.attempts import measure_until_valid
from pipeline.latency.harness.frames import camera_frames
from pipeline.latency.harness.rounds import warm_up
from pipeline.steps.benchmark import plan_of

BURSTS = """
import time
while True:
    end = time.perf_counter() + {busy}
    while time.perf_counter() < end:
        pass
    time.sleep({idle})
"""
P50_WITHIN, P99_WITHIN, SOON_S = 0.05, 0.15, 30.0
TURN_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measurement, as `pipeline benchmark` makes it."""

    valid: bool
    reasons: Sequence[str]
    p50_ms: float
    p99_ms: float
    quiet: float
    """Share of the time."""
    seconds: float
    """That the whole measurement took."""


def main() -> None:
    """Measure alone and beside a neighbour, and print what came out."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("engine", help="name of an engine that is built, <model>-<precision>")
    parser.add_argument("--target", default="x86-openvino")
    parser.add_argument("--runs", type=int, default=10, help="of each kind (default: 10)")
    parser.add_argument(
        "--turns", type=int, default=12, help="of each kind, 5 s each, in one process (default: 12)"
    )
    options = parser.parse_args()
    workspace = find_workspace()
    target = load_target(workspace, options.target)
    if options.turns:
        in_turns(workspace, target, options.engine, options.turns)
    if options.runs:
        in_runs(workspace, target, options)


# --- turns in one process ----------------------------------------------------------------------


def in_turns(workspace: Workspace, target: TargetConfig, engine: str, turns: int) -> None:
    """Whole frames at batch 1 in one process, turn by turn alone and beside a neighbour; prints
    the figures of each of them by the windows that are quiet, and by those that are calm."""
    plan = plan_of(workspace, target, engine, (1, 1), cross_check=False)
    taken: tuple[list[Window], list[Window]] = ([], [])
    frames = camera_frames(plan)
    with (
        plan.open_detector(read_fingerprint(), in_flight=1) as detector,
        neighbours(1, busy=0.3, idle=0.3) as (neighbour,),
    ):
        turn = cycle(frames)
        for number in range(2 * turns):
            neighbour.send_signal(signal.SIGCONT if number % 2 else signal.SIGSTOP)
            warm_up(lambda: detector.detect([next(turn)]), plan.warmup_seconds)
            taken[number % 2].extend(
                run_windows(
                    lambda: detector.detect([next(turn)]),
                    # So much that the time ends it.
                    Wanted(calls=10**9, seconds=0, max_seconds=TURN_SECONDS),
                    Neighbours(plan.limits, os.sched_getaffinity(0)),
                ).windows
            )
    for name, windows in zip(("alone", "beside"), taken, strict=True):
        for kind, chosen in kinds(windows).items():
            show_windows(f"{name}, {kind} windows", chosen, len(windows))


def kinds(windows: Sequence[Window]) -> dict[str, list[Window]]:
    """All windows, those that are quiet and those that are calm."""
    quiet = [one for one in windows if one.disturbance is None]
    return {"all": [*windows], "quiet": quiet, "calm": [one for one in quiet if one.slight is None]}


def show_windows(name: str, windows: Sequence[Window], of: int) -> None:
    """A line for the calls in windows."""
    if windows:
        times = latency(np.concatenate([one.times for one in windows]))
        print(
            f"{name:22} {len(windows) / of:4.0%} of them  p50 {times.p50_ms:6.2f} ms  "
            f"p99 {times.p99_ms:6.2f} ms ({times.p99_low_ms:.2f} to {times.p99_high_ms:.2f})",
            flush=True,
        )


# --- whole runs --------------------------------------------------------------------------------


def in_runs(workspace: Workspace, target: TargetConfig, options: argparse.Namespace) -> None:
    """`pipeline benchmark` alone and beside a neighbour, and with all processors taken."""
    alone, beside = [measured(workspace, target, options.engine)], []
    show("0: alone", alone[0])
    for number in range(1, options.runs + 1):
        with neighbours(1, busy=0.3, idle=0.3):
            beside.append(measured(workspace, target, options.engine))
        show(f"{number}: beside", beside[-1])
        alone.append(measured(workspace, target, options.engine))
        show(f"{number}: alone", alone[-1])
    summary(alone, beside)
    with neighbours(len(os.sched_getaffinity(0)), busy=3600.0, idle=0.0):
        taken = measured(workspace, target, options.engine)
    show("all processors taken", taken)
    said = "INVALID" if not taken.valid else "VALID, which is wrong"
    print(f"{said} after {taken.seconds:.0f} s (wanted: INVALID within {SOON_S:.0f} s)")
    print(*taken.reasons, sep="\n")


def measured(workspace: Workspace, target: TargetConfig, engine: str) -> Run:
    """Measure as `pipeline benchmark` does, without writing a record."""
    in_flight = frames_in_flight(read_fingerprint(), target.package)
    plan = plan_of(workspace, target, engine, in_flight, cross_check=False)
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="jetrail-") as name:
        measurements, validity = measure_until_valid(plan, target, Path(name))
    frame = results.latencies(measurements, "test_frame")["1"]
    return Run(
        valid=validity.valid,
        reasons=validity.reasons,
        p50_ms=frame.p50_ms,
        p99_ms=frame.p99_ms,
        quiet=results.quiet(measurements).share,
        seconds=time.perf_counter() - begun,
    )


@contextmanager
def neighbours(count: int, *, busy: float, idle: float) -> Iterator[list[subprocess.Popen[bytes]]]:
    """So many processes that work for `busy` seconds and sleep for `idle`, again and again."""
    command = [sys.executable, "-c", BURSTS.format(busy=busy, idle=idle)]
    # Not left behind where this script is killed.
    processes = [subprocess.Popen(ends_with_us(command)) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


def show(name: str, run: Run) -> None:
    """A line for a run, with why it is INVALID."""
    said = "VALID" if run.valid else "INVALID"
    print(
        f"{name:22} {said:8} p50 {run.p50_ms:6.2f} ms  p99 {run.p99_ms:6.2f} ms  "
        f"quiet {run.quiet:4.0%}  {run.seconds:4.0f} s",
        flush=True,
    )
    for reason in run.reasons:
        print(f"    {reason}", flush=True)


def summary(alone: Sequence[Run], beside: Sequence[Run]) -> None:
    """How many were valid, and how far figures beside a neighbour are from those around them."""
    print(f"alone: {valid(alone)}; beside a neighbour: {valid(beside)}")
    for name, limit in (("p50_ms", P50_WITHIN), ("p99_ms", P99_WITHIN)):
        around = [(getattr(one, name), getattr(two, name)) for one, two in pairwise(alone)]
        ratios = [
            2 * getattr(run, name) / sum(pair) for run, pair in zip(beside, around, strict=True)
        ]
        print(
            f"{name}: beside, of the two runs around it, {spread(ratios, limit)}\n"
            f"        a run alone, of the one before, {spread([b / a for a, b in around], limit)}"
        )


def valid(runs: Sequence[Run]) -> str:
    """How many of them."""
    return f"{sum(one.valid for one in runs)} of {len(runs)} valid"


def spread(ratios: Sequence[float], limit: float) -> str:
    """Where ratios lie, and how many of them within the limit."""
    within = sum(abs(ratio - 1) <= limit for ratio in ratios)
    return (
        f"{min(ratios) - 1:+.1%} to {max(ratios) - 1:+.1%}, the middle one "
        f"{median(ratios) - 1:+.1%}; {within} of {len(ratios)} within {limit:.0%}"
    )


if __name__ == "__main__":
    main()
