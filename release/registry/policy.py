"""Which passing engine of a model goes to the first ring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engines.config.target import Policy
from release.records import Candidate, Figures, Publication


@dataclass(frozen=True, kw_only=True)
class _Rule:
    order: Callable[[Figures], tuple[float, ...]]
    """Smaller is better; later parts break ties."""
    words: Callable[[Figures], str]


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


def choose(policy: Policy, publications: Iterable[Publication]) -> dict[str, Candidate]:
    """The best of each model, by model name. Of equals the first by engine name."""
    rule = _RULES[policy]
    by_model: dict[str, list[Publication]] = {}
    for publication in publications:
        by_model.setdefault(publication.model, []).append(publication)
    candidates = {}
    for model in sorted(by_model):
        best = min(by_model[model], key=lambda one: (rule.order(one.figures), one.engine))
        candidates[model] = Candidate(
            release=best.release,
            engine=best.engine,
            reason=f"{policy}: {rule.words(best.figures)}, of {len(by_model[model])} that passed",
        )
    return candidates
