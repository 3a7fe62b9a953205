"""Which passing engine of a model goes to the first ring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from engines.config.target import Policy
from release.records import Candidate, Figures, Publication

CANDIDATE = "candidate"
"""MLflow's alias of the engine that was chosen."""


@dataclass(frozen=True, kw_only=True)
class _Rule:
    order: Callable[[Figures], tuple[float, ...]]
    """Smaller is better; later parts break ties."""
    words: Callable[[Figures], str]
    noise: Callable[[Figures, float], float]
    """How much of the first part counts as none, with the row's margin."""
    no_more: str = "better by no more than {noise:.2g}, which is chance"
    alike: bool = False
    """Whether those that lie no further apart than `noise` are equal for the first part: nobody
    calls an engine the smaller one for a thousand bytes of twelve million."""
    of_pictures: bool = False
    """Whether the first part says something only beside another's on the same pictures."""


_RULES: dict[Policy, _Rule] = {
    # The median and not the p99: every candidate keeps the p99 budget already, and the median is
    # the steadier figure to rank by. The whole frame at batch 1 is what a camera frame waits for.
    "fastest": _Rule(
        order=lambda one: (one.frame_p50_ms, -one.map50_95, one.engine_bytes),
        words=lambda one: f"lowest frame p50 at batch 1, {one.frame_p50_ms:.2f} ms",
        noise=lambda one, margin: max(one.frame_p50_noise_ms, margin * one.frame_p50_ms),
        no_more="better by no more than {noise:.2g} ms, which is chance",
    ),
    "most-accurate": _Rule(
        order=lambda one: (-one.map50_95, one.frame_p50_ms, one.engine_bytes),
        words=lambda one: f"highest mAP50-95, {one.map50_95:.4f}",
        noise=lambda one, _: one.map50_95_noise,
        of_pictures=True,
    ),
    "smallest": _Rule(
        order=lambda one: (one.engine_bytes, one.frame_p50_ms, -one.map50_95),
        words=lambda one: f"smallest engine file, {one.engine_bytes / 1e6:.3g} MB",
        noise=lambda one, margin: margin * one.engine_bytes,
        no_more="smaller by no more than the row's policy_margin",
        alike=True,
    ),
}


def choose(
    policy: Policy,
    publications: Iterable[Publication],
    before: Mapping[str, Candidate],
    margin: float,
) -> dict[str, Candidate]:
    """The best of each model, by model name. Of equals the first by engine name.

    The engine that was the candidate `before` stays unless another one is better by more than what
    is chance: two precisions within a percent would change places from run to run, and each change
    goes to every site. `margin` is the part of a time by which runs differ.
    """
    by_model: dict[str, list[Publication]] = {}
    for publication in publications:
        by_model.setdefault(publication.model, []).append(publication)
    return {
        model: _candidate(policy, by_model[model], before.get(model), margin)
        for model in sorted(by_model)
    }


def _candidate(
    policy: Policy, passed: list[Publication], before: Candidate | None, margin: float
) -> Candidate:
    rule = _RULES[policy]
    best = _best(rule, passed, margin)
    count = f"of {len(passed)} that passed"
    held = next((one for one in passed if before and one.engine == before.engine), best)
    others = [one for one in passed if rule.of_pictures and not _same_pictures(one, held)]
    if others:
        other = _best(rule, others, margin).engine
        reason = (
            f"{policy}: stays until it passes on the pictures of {other} too, since nobody knows "
            "which is better"
        )
        return Candidate(release=held.release, engine=held.engine, reason=reason)
    noise = max(rule.noise(one.figures, margin) for one in (best, held))
    gain = rule.order(held.figures)[0] - rule.order(best.figures)[0]
    if held is best or gain > noise:
        reason = f"{policy}: {rule.words(best.figures)}, {count}"
        return Candidate(release=best.release, engine=best.engine, reason=reason)
    return Candidate(
        release=held.release,
        engine=held.engine,
        reason=f"{policy}: stays, since {best.engine} ({rule.words(best.figures)}) is "
        f"{rule.no_more.format(noise=noise)}, {count}",
    )


def _best(rule: _Rule, passed: list[Publication], margin: float) -> Publication:
    """By the rule's order, then by name."""
    first = min(passed, key=lambda one: (rule.order(one.figures), one.engine))
    if not rule.alike:
        return first
    limit = rule.order(first.figures)[0] + rule.noise(first.figures, margin)
    equal = [one for one in passed if rule.order(one.figures)[0] <= limit]
    return min(equal, key=lambda one: (rule.order(one.figures)[1:], one.engine))


def _same_pictures(one: Publication, other: Publication) -> bool:
    """Whether two engines were evaluated on the same pictures. A record of before that was noted
    is taken to be, unless its model is of another version, which new pictures are."""
    pictures = {one.figures.pictures_sha256, other.figures.pictures_sha256}
    if None in pictures:
        return one.model_version == other.model_version
    return len(pictures) == 1
