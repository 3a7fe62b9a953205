"""Which of a model's passing engines goes to the canary ring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from release.records import Policy


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a policy looks at: one passing engine."""

    release: str
    engine: str
    model: str
    frame_p50_ms: float
    """Median of the whole frame at batch 1, in milliseconds."""
    map50_95: float
    engine_bytes: int


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The best candidate of a model, and why."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, kw_only=True)
class _Rule:
    order: Callable[[Candidate], tuple[float, ...]]
    """Smaller is better; later parts break ties."""
    words: Callable[[Candidate], str]


_RULES: dict[Policy, _Rule] = {
    # The median and not the p99: every candidate keeps the p99 budget already, and the median is
    # the steadier figure to rank by. The whole frame at batch 1 is what a camera frame waits for.
    "fastest": _Rule(
        order=lambda one: (one.frame_p50_ms, -one.map50_95, one.engine_bytes),
        words=lambda one: f"lowest frame p50 at batch 1, {one.frame_p50_ms:.2f} ms",
    ),
    "most-accurate": _Rule(
        order=lambda one: (-one.map50_95, one.frame_p50_ms, one.engine_bytes),
        words=lambda one: f"highest mAP50-95, {one.map50_95:.4f}",
    ),
    "smallest": _Rule(
        order=lambda one: (one.engine_bytes, one.frame_p50_ms, -one.map50_95),
        words=lambda one: f"smallest engine, {one.engine_bytes} bytes",
    ),
}


def choose(policy: Policy, candidates: Iterable[Candidate]) -> dict[str, Choice]:
    """The best candidate of each model, by model name. Of equals the first by engine name."""
    rule = _RULES[policy]
    by_model: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_model.setdefault(candidate.model, []).append(candidate)
    choices = {}
    for model in sorted(by_model):
        best = min(by_model[model], key=lambda one: (rule.order(one), one.engine))
        reason = f"{policy}: {rule.words(best)}, of {len(by_model[model])} that passed"
        choices[model] = Choice(candidate=best, reason=reason)
    return choices
