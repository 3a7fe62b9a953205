"""How many clusters of a bundle are in which state, second by second; what plot and page draw."""

from __future__ import annotations

from dataclasses import dataclass

from release.rollout.simulation.outcome import Fate, Outcome

COLOURS = {
    "ready": "#2e7d4f",
    "busy": "#e0a526",
    "bad": "#c0392b",
    "silent": "#8e7cc3",
    "waiting": "#c3c9d0",
    "same": "#7fb99a",
}
"""Phase of a cluster to its colour; told apart by people who see no red or green by lightness."""

PHASES = {
    "ready": "ready with the new content",
    "busy": "told, not ready yet",
    "bad": "bad image, never ready",
    "silent": "told, offline",
    "waiting": "not told: runs what it had",
    "same": "had it already",
}


@dataclass(frozen=True)
class Span:
    """A cluster in one phase, from a second to another."""

    phase: str
    start_s: int
    end_s: int


def spans(fate: Fate, end_s: int) -> list[Span]:
    """The phases of a cluster from 0 to `end_s`."""
    if fate.told_s is None:
        return [Span("same" if fate.state == "current" else "waiting", 0, end_s)]
    before = [Span("waiting", 0, fate.told_s)] if fate.told_s else []
    if fate.ready_s is not None:
        rest = [Span("busy", fate.told_s, fate.ready_s), Span("ready", fate.ready_s, end_s)]
    else:
        phase = {"silent": "silent", "working": "busy"}.get(fate.state, "bad")
        rest = [Span(phase, fate.told_s, end_s)]
    return before + rest


def end_of(outcome: Outcome, limit_s: int) -> int:
    """Where a picture of the play ends: a while after the last thing that happens."""
    last = max(
        [0, *outcome.played.ready_s.values(), *outcome.played.told_s.values()],
    )
    return min(limit_s, last + max(60, last // 10))


def counts(outcome: Outcome, end_s: int) -> tuple[list[int], dict[str, list[int]]]:
    """Seconds at which something changes, and of each phase how many clusters are in it then."""
    deltas: dict[int, dict[str, int]] = {0: {}, end_s: {}}
    for fate in outcome.fates:
        for span in spans(fate, end_s):
            for second, step in ((span.start_s, 1), (span.end_s, -1)):
                row = deltas.setdefault(min(second, end_s), {})
                row[span.phase] = row.get(span.phase, 0) + step
    seconds = sorted(deltas)
    numbers: dict[str, list[int]] = {phase: [] for phase in PHASES}
    now = dict.fromkeys(PHASES, 0)
    for second in seconds[:-1]:
        for phase, step in deltas[second].items():
            now[phase] += step
        for phase in PHASES:
            numbers[phase].append(now[phase])
    for phase in PHASES:
        numbers[phase].append(now[phase])  # the end itself, as just before
    return seconds, {phase: row for phase, row in numbers.items() if any(row)}
