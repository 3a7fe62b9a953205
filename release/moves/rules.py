"""What a ring asks before a promotion: a row of rings.yaml each, a sentence for each refusal."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engines.config.rings import (
    AgeRule,
    ImageRule,
    LintRule,
    ReadyRule,
    Ring,
    SignatureRule,
    VerdictRule,
    WhoRule,
)
from engines.config.target import label_of
from engines.config.workspace import Workspace
from engines.errors import GateFailed, InputError, ServiceError, WrongEngine
from release.attested import MEASURED_ON, labelled_otherwise, measured_on
from release.gitops.history import Commit
from release.image.credentials import find_credentials
from release.image.distribution import Client, parse_repository
from release.moves.linted import errors_with
from release.moves.place import Place
from release.moves.seen import Seen, named
from release.moves.signed import check_signature
from release.packed import read_image
from release.records import Publication, missed_since, read_quarantine
from release.rollout.fleet_yaml import repository_of
from release.say import in_utc
from release.tags import parse_tag

ALL = "all"
"""Overrides every rule."""
QUARANTINE, CLOCK = "quarantine", "clock"
"""Rules that are always asked and stand in no file."""

_CLOCKS_DIFFER = timedelta(minutes=10)
"""By which the clocks of two machines may differ before somebody has to look."""
_YET_TO_COME = "which is yet to come"
"""By a clock that is behind."""
_SILENCE = timedelta(days=366)
"""After which it is likelier that a clock is wrong than that nobody committed anything."""


@dataclass(frozen=True, kw_only=True)
class RuleInput:
    """What the rules look at."""

    ring: Ring
    """The ring that the release is to go to."""
    below: str
    """Name of the ring that it is in."""
    publication: Publication
    place: Place
    tag: str
    """As the ring below has it, with the digest."""
    content: bytes
    """The release.yaml that would be written."""
    there_since: Commit
    """The commit by which the ring below got it."""
    stands_on: Commit | None
    """The commit before that one."""
    tip: Commit
    """The last commit of the branch."""
    view: Workspace
    """The branch's files of this release."""
    author: str
    now: datetime
    overridden: frozenset[str] = frozenset()
    """Rules that somebody overrides: a registry that is down is not waited for then."""
    seen: Seen | None = None
    """What a report says of the ring below."""
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Cluster to its labels, where a report has them."""


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """What one rule says."""

    rule: str
    holds: bool
    said: str
    """Why, as the end of a sentence that begins with the rule's name."""
    overridden: bool = False


def ask(asked: RuleInput) -> list[RuleResult]:
    """Every rule of the ring, and those that are always asked."""
    rules: list[tuple[str, tuple[bool, str]]] = [
        (CLOCK, _clock(asked)),
        (QUARANTINE, _quarantine(asked)),
        *((rule.rule, _RULES[rule.rule](rule, asked)) for rule in asked.ring.rules),
    ]
    return [RuleResult(rule=name, holds=holds, said=said) for name, (holds, said) in rules]


def overridden(
    answers: Iterable[RuleResult], overrides: Sequence[str], why: str | None
) -> list[RuleResult]:
    """The answers, those that somebody overrides marked. Raises InputError for a rule that there is
    not, or an override without a reason."""
    answers = list(answers)
    known = [one.rule for one in answers]
    for name in overrides:
        if name not in (*known, ALL):
            raise InputError(
                f"Expected --override to name a rule of this ring ({', '.join(known)}) or {ALL!r}; "
                f"got {name!r}."
            )
    if overrides and not (why or "").strip():
        raise InputError(
            "Expected --why TEXT with --override: the commit keeps the reason for whoever asks."
        )
    if ALL in overrides:
        overrides = known
    return [
        RuleResult(rule=one.rule, holds=one.holds, said=one.said, overridden=True)
        if not one.holds and one.rule in overrides
        else one
        for one in answers
    ]


def refusal(answers: Iterable[RuleResult]) -> GateFailed | None:
    """Why the ring does not take the release: each rule that refuses and nobody overrides."""
    refused = [one for one in answers if not one.holds and not one.overridden]
    if not refused:
        return None
    reasons = " ".join(f"{one.rule}: {_reason(one, refused)}." for one in refused)
    names = " ".join(f"--override {one.rule}" for one in refused)
    return GateFailed(
        f"The ring refuses the promotion. {reasons} Nothing was moved. Whoever answers for it "
        f'gives {names} --why "…", which the commit keeps.'
    )


def _reason(refused: RuleResult, others: Iterable[RuleResult]) -> str:
    """Why a rule refuses; where that follows from another one that does too, which one it is."""
    for other in others:
        clock = other.rule == CLOCK and _YET_TO_COME in refused.said
        if other is not refused and (clock or refused.said.endswith(f": {other.said}")):
            return f"as {other.rule} says"
    return refused.said


def _clock(asked: RuleInput) -> tuple[bool, str]:
    here, there = in_utc(asked.now), in_utc(asked.tip.at)
    if asked.now < asked.tip.at - _CLOCKS_DIFFER:
        return False, (
            f"this machine says that it is {here}, but {asked.tip.who} made the last commit of the "
            f"branch at {there}, so one of the two clocks is wrong; set this one if it is"
        )
    if asked.now > asked.tip.at + _SILENCE:
        return False, (
            f"this machine says that it is {here}, more than a year after the last commit of the "
            f"branch, which {asked.tip.who} made at {there}; set its clock if it is wrong"
        )
    return True, f"it is {here}, after the last commit of the branch"


def _quarantine(asked: RuleInput) -> tuple[bool, str]:
    found = read_quarantine(asked.view, asked.publication.release)
    if found is None:
        return True, "the release is not quarantined"
    return False, f"{found.by} quarantined the release at {in_utc(found.at)}: {found.why}"


def _age(rule: AgeRule, asked: RuleInput) -> tuple[bool, str]:
    since, stands_on = asked.there_since, asked.stands_on
    unknown = ""
    if stands_on is not None and since.clock < stands_on.clock - _CLOCKS_DIFFER:
        unknown = f"before the commit that this one stands on ({in_utc(stands_on.clock)})"
    if since.at > asked.now + _CLOCKS_DIFFER:
        unknown = _YET_TO_COME
    if unknown:
        return False, (
            f"by the clock of {since.who} {asked.below} got the release at {in_utc(since.clock)}, "
            f"{unknown}, so that nobody knows for how long it has it"
        )
    hours = (asked.now - since.at).total_seconds() / 3600
    return hours >= rule.hours, (
        f"{asked.below} has the release for {hours:.1f} h, since {asked.there_since.who} put it "
        f"there; {asked.ring.name} asks {rule.hours:g} h"
    )


def _ready(rule: ReadyRule, asked: RuleInput) -> tuple[bool, str]:
    seen = asked.seen
    if seen is None:
        return False, (
            f"{asked.ring.name} asks that clusters of {asked.below} are ready with the release, "
            f"{rule.clusters} at least; say so with --report FILE or URL"
        )
    age = asked.now - seen.at
    if not -_CLOCKS_DIFFER <= age <= timedelta(minutes=rule.report_minutes):
        return False, (
            f"the report is of {in_utc(seen.at)}; {asked.ring.name} asks one of the "
            f"last {rule.report_minutes:g} minutes"
        )
    return len(seen.ready) >= rule.clusters, (
        f"of {asked.below} the report says: {seen.words}; {asked.ring.name} asks {rule.clusters}"
    )


def _verdict(rule: VerdictRule, asked: RuleInput) -> tuple[bool, str]:
    publication = asked.publication
    if publication.verdict != "PASS":
        return False, f"the verdict is {publication.verdict}"
    if missed := missed_since(asked.view, publication.release, publication.target):
        return False, f"its engine FAILs since it was published: {missed}"
    # The record is of the day it was published: clusters may be labelled otherwise since.
    device = label_of(asked.view, publication.target) or publication.fleet_label
    clusters = {
        name: labels
        for name, labels in asked.labels.items()
        if labels.get("ring") == asked.ring.name and labels.get("device") == device
    }
    if not any(key in labels for labels in clusters.values() for key in MEASURED_ON):
        return True, f"the verdict is PASS, measured on {publication.target}"
    try:
        measured = measured_on(check_signature(asked.view, publication, asked.now).statement)
    except (InputError, WrongEngine) as error:
        return False, (
            "clusters are labelled with what they run on, and what the verdict was measured on "
            f"stands in the attestation, which does not hold: {str(error).rstrip('.')}"
        )
    wrong = sorted(
        f"{name} has {one}"
        for name, labels in clusters.items()
        for one in labelled_otherwise(labels, measured)
    )
    on = ", ".join(f"{key} {value}" for key, value in measured.items() if value)
    if wrong:
        return False, f"the verdict was measured on {on}, but {named(wrong)}"
    return True, f"the verdict is PASS, measured on {on} as the ring's clusters"


def _signature(rule: SignatureRule, asked: RuleInput) -> tuple[bool, str]:
    try:
        found = check_signature(asked.view, asked.publication, asked.now)
    except (InputError, WrongEngine) as error:
        return False, str(error).rstrip(".")
    return True, f"signed by {found.key.name} on {found.statement.predicate.signed_at:%Y-%m-%d}"


def _image(rule: ImageRule, asked: RuleInput) -> tuple[bool, str]:
    if {rule.rule, ALL} & asked.overridden:
        return False, "the registry was not asked"
    digest = parse_tag(asked.tag).digest
    if digest is None:
        return False, (
            "the tag has no digest, so nobody knows which image it is; pack it with `release pack "
            f"{asked.tag}`, and write the first ring with `release write`"
        )
    try:
        packed = read_image(asked.view, asked.publication.release)
        if packed is not None and packed.digest != digest:
            return False, (
                f"{asked.below} has the tag with {digest}, but the image that was packed and "
                f"signed is {packed.digest}; `release write --push` puts that into the first ring, "
                f"`release promote` into another, `release rollback` takes {asked.below} back"
            )
        address = repository_of(asked.view, asked.publication, asked.ring.name)
        credentials = find_credentials(address)
        client = Client(
            repository=parse_repository(address), credentials=credentials, say=lambda _: None
        )
        found = client.manifest(digest) is not None
    except (InputError, ServiceError, WrongEngine) as error:
        return False, str(error).rstrip(".")
    if not found:
        push = f"`release push {parse_tag(asked.tag).name}`"
        return False, f"{address} has no image {digest}; push it with {push}"
    return True, f"{address} has the image {digest}"


def _lint(rule: LintRule, asked: RuleInput) -> tuple[bool, str]:
    found = errors_with(asked.view, asked.place, asked.content)
    if not found:
        return True, f"no error in {asked.place.folder}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    one = found[0]
    return False, f"{one.file}:{one.line} {one.rule.code}: {one.text.rstrip('.')}{more}"


def _who(rule: WhoRule, asked: RuleInput) -> tuple[bool, str]:
    address = asked.author.rpartition("<")[2].rstrip(">")
    names = [address, os.environ.get("GITLAB_USER_LOGIN"), os.environ.get("GITLAB_USER_EMAIL")]
    known = [name for name in names if name]
    allowed = any(name in rule.people for name in known)
    return allowed, (
        f"{asked.author} {'may' if allowed else 'is not among those who may'} promote to "
        f"{asked.ring.name}"
    )


_RULES: dict[str, Callable[[Any, RuleInput], tuple[bool, str]]] = {
    "age": _age,
    "image": _image,
    "lint": _lint,
    "ready": _ready,
    "signature": _signature,
    "verdict": _verdict,
    "who": _who,
}
