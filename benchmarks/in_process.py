"""Whole frames, one at a time and several in flight: both detectors in one process, in turns."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import cycle, islice
from statistics import median

import numpy as np
from agreement import agreement
from comparison import FRAMES, Comparison
from figures import Figure
from numpy.typing import NDArray
from peer import Peer, StandIn, exported
from timing import Rounds, Side, alternate, frames_a_second, medians

from engines.backends.loading import load_engine
from engines.detect.detections import Detections
from engines.detect.detector import Detector
from engines.detect.letterbox import letterbox
from engines.machine.fingerprint import read_fingerprint
from engines.measure.latency import drift_share
from engines.measure.sampler import StateSampler
from engines.records.benchmark import Quiet
from engines.records.evaluation import Evaluation
from pipeline.latency.validity import disturbances, invalid_reasons

PRECISIONS = ("fp16", "int8", "fp32")
FRAME_LIMITS = {"fp16": 0.80, "int8": 0.66}
DROP_LIMITS = {"fp16": 0.003, "int8": 0.003}
STREAM_LIMITS = {"fp16": 1.45, "int8": 1.95}
PEER_BATCH = 4

Frame = NDArray[np.uint8]


# --- whole frame -------------------------------------------------------------------------------


def whole_frame(comparison: Comparison) -> list[Figure]:
    """Whole frame at batch 1 and the loss of accuracy, for each precision."""
    frames = comparison.frames()
    with ExitStack() as stack:
        ours = {name: stack.enter_context(_open(comparison, name)) for name in PRECISIONS}
        peers = _peers(comparison)
        sides = [_our_side(comparison, name, one, frames) for name, one in ours.items()]
        sides += [_peer_side(one, frames) for one in peers]
        with StateSampler() as sampler:
            taken = _alternate(comparison, sides)
        same = agreement(ours["fp16"], peers[0], frames)
    theirs = min(peers, key=lambda one: median(medians(taken[one.name]))).name
    notes = (
        f"Whole frame: 720p frame to boxes, batch 1. Theirs is YOLO.predict on the {theirs}, the "
        "fastest of its exports, less the time in its non-maximum suppression (peer.py says why).",
        same,
        *_disturbed(comparison, sampler, taken[theirs]),
    )
    timed = [_frame_figure(name, taken[name], taken[theirs], notes) for name in PRECISIONS]
    timed[0].raw.update({one.name: taken[one.name] for one in peers})
    return timed + [_drop(comparison, name) for name in PRECISIONS]


def _frame_figure(precision: str, ours: Rounds, theirs: Rounds, notes: tuple[str, ...]) -> Figure:
    return Figure(
        key="frame",
        name=f"whole frame, {precision}",
        unit="ms",
        ours=medians(ours, 1e3),
        theirs=medians(theirs, 1e3),
        limit=FRAME_LIMITS.get(precision),
        notes=notes,
        raw={"ours_s": ours},
    )


def _drop(comparison: Comparison, precision: str) -> Figure:
    record = Evaluation.read(comparison.engine(precision) / "evaluation.json")
    return Figure(
        key="frame",
        name=f"mAP50-95 drop, {precision}",
        unit="",
        ours=(record.map50_95_drop,),
        limit=DROP_LIMITS.get(precision),
        raw={"map50_95": record.map50_95, "engine_sha256": record.engine_sha256},
    )


# --- several in flight -------------------------------------------------------------------------


def throughput(comparison: Comparison) -> list[Figure]:
    """Frames a second with several in flight, against Ultralytics' best; and what OpenVINO by
    itself does with the same engine, which no pre- and post-processing can pass."""
    frames = comparison.frames()
    in_flight = 2 * read_fingerprint().cores
    with ExitStack() as stack:
        peers = _peers(comparison, batch=PEER_BATCH)
        sides = [_peer_side(one, frames, batch=1) for one in peers[:-1]]
        sides.append(_peer_side(peers[-1], frames, batch=PEER_BATCH))
        for precision in STREAM_LIMITS:
            detector = stack.enter_context(_open(comparison, precision, in_flight=in_flight))
            # One stream without an end: a turn's warm-up fills it again after the others' turns.
            stream = stack.enter_context(closing(detector.stream(cycle(frames))))
            sides.append(_stream_side(comparison, precision, stream))
            sides.append(_engine_side(comparison, precision, frames, in_flight=in_flight))
        taken = _alternate(comparison, sides)
    theirs = max((one.name for one in peers), key=lambda name: median(frames_a_second(taken[name])))
    notes = (
        f"Frames a second: ours is Detector.stream with {in_flight} in flight, theirs YOLO.predict "
        f"on the {theirs}, the best of one frame at a time and batches of {PEER_BATCH}.",
    )
    return [_stream_figure(precision, taken, theirs, notes) for precision in STREAM_LIMITS]


def _stream_figure(
    precision: str, taken: dict[str, Rounds], theirs: str, notes: tuple[str, ...]
) -> Figure:
    alone = median(frames_a_second(taken[_by_itself(precision)]))
    return Figure(
        key="throughput",
        name=f"frames a second, {precision}",
        unit="/s",
        ours=frames_a_second(taken[precision]),
        theirs=frames_a_second(taken[theirs]),
        limit=STREAM_LIMITS[precision],
        rule="at least",
        notes=(
            *notes,
            f"OpenVINO by itself, {precision}: {alone:.0f} frames a second, "
            f"{alone / median(frames_a_second(taken[theirs])):.2f} of theirs.",
        ),
        raw={"seconds": taken},
    )


# --- both --------------------------------------------------------------------------------------


def _open(comparison: Comparison, precision: str, *, in_flight: int = 1) -> Detector:
    return Detector.open(comparison.engine(precision), read_fingerprint(), in_flight=in_flight)


def _peers(comparison: Comparison, *, batch: int | None = None) -> list[Peer]:
    """Ultralytics on its exports in float32 and float16; with `batch`, on one of that batch too."""
    exports: dict[str, dict[str, int | bool]] = {
        "OpenVINO export": {},
        "OpenVINO export with half=True": {"half": True},
    }
    if batch:
        exports[f"OpenVINO export with batch={batch}"] = {"batch": batch}
    stand_in = StandIn()
    stand_in.install()
    return [
        Peer(name, exported(comparison, **options), comparison, stand_in)
        for name, options in exports.items()
    ]


def _alternate(comparison: Comparison, sides: Sequence[Side]) -> dict[str, Rounds]:
    effort = comparison.effort
    return alternate(sides, rounds=effort.rounds, count=effort.frames, warmup=effort.warmup)


def _our_side(
    comparison: Comparison, name: str, detector: Detector, frames: Sequence[Frame]
) -> Side:
    def run(count: int) -> list[float]:
        return [_seconds(detector, frame) for frame in islice(cycle(frames), count)]

    return Side(name=name, run=run, opencv_threads=comparison.opencv_threads)


def _seconds(detector: Detector, frame: Frame) -> float:
    started = time.perf_counter()
    detector.detect([frame])
    return time.perf_counter() - started


def _stream_side(comparison: Comparison, name: str, stream: Iterator[Detections]) -> Side:
    def run(count: int) -> list[float]:
        started = time.perf_counter()
        for _ in islice(stream, count):
            pass
        return [(time.perf_counter() - started) / count]

    return Side(name=name, run=run, opencv_threads=comparison.opencv_threads)


def _by_itself(precision: str) -> str:
    return f"OpenVINO by itself, {precision}"


def _engine_side(
    comparison: Comparison, precision: str, frames: Sequence[Frame], *, in_flight: int
) -> Side:
    """The engine on buffers that are filled once, so many in flight."""
    manifest, session = load_engine(
        comparison.engine(precision), read_fingerprint(), in_flight=in_flight
    )
    for slot in range(in_flight):
        letterbox(frames[slot % len(frames)], manifest.imgsz, session.input(slot, 1)[0])
        session.start(slot)
    slots = cycle(range(in_flight))

    def run(count: int) -> list[float]:
        started = time.perf_counter()
        for slot in islice(slots, count):
            session.wait(slot)
            session.start(slot)
        return [(time.perf_counter() - started) / count]

    return Side(name=_by_itself(precision), run=run, opencv_threads=comparison.opencv_threads)


def _peer_side(peer: Peer, frames: Sequence[Frame], *, batch: int = 1) -> Side:
    groups = [list(frames[start : start + batch]) for start in range(0, FRAMES, batch)]

    def run(count: int) -> list[float]:
        chosen = islice(cycle(groups), count // batch)
        return [peer.seconds(group) / len(group) for group in chosen]

    return Side(name=peer.name, run=run, opencv_threads=0)


def _disturbed(comparison: Comparison, sampler: StateSampler, rounds: Rounds) -> tuple[str, ...]:
    """Why the times cannot be trusted, by the rules of `pipeline benchmark`. Sides take turns and
    are not measured in windows, so that what others did counts as in a soak."""
    row = comparison.target.benchmark
    state = sampler.state(drift_share([value for one in rounds for value in one]))
    whole = Quiet(share=1, enough=True, seconds=0, set_aside={})
    reasons = (*disturbances(state, row), *invalid_reasons(state, whole, row))
    return tuple(f"DISTURBED: {text}" for text in dict.fromkeys(one.text for one in reasons))
