"""Limits and partitions of a rollout."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from release.rollout.clusters.criteria import criteria_of
from release.rollout.clusters.labels import BadSelector
from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding, Rule, Severity
from release.rollout.reading.bundle import Bundle
from release.rollout.simulation.partitions import BadAmount, Partition, limit, partitions

NO_LIMIT = Rule(
    "no-limit",
    "warning",
    "Nothing limits how many clusters change at once.",
    "maxUnavailable is 100 % where nobody says otherwise: a bad image is tried everywhere at once.",
    "Add `rolloutStrategy: {maxUnavailable: 10%}`.",
)
ZERO = Rule(
    "max-zero",
    "error",
    "maxUnavailable 0 never changes a cluster that is ready.",
    "Only first installations and broken clusters go ahead, however many there are.",
    "Use 1 or a percentage; `0%` counts as 1.",
)
BAD_AMOUNT = Rule(
    "bad-amount",
    "error",
    "Fleet cannot read the number or percentage.",
    "It does nothing at all for the bundle then.",
    "Write a whole number, or a percentage as `10%`.",
)
QUOTED = Rule(
    "quoted-number",
    "warning",
    "A number in quotes is not cut to the number of clusters.",
    "As text it takes another way through Fleet than the number, and `'0'` is an error.",
    "Take the quotes away.",
)
BUNDLE_WIDE = Rule(
    "bundle-wide-limit",
    "warning",
    "rolloutStrategy.maxUnavailable is a limit over all partitions together, too.",
    "Clusters of a late partition that are unavailable keep the first one from starting.",
    "Say maxUnavailable in each partition, and not above them.",
)
DEFAULT = Rule(
    "partition-without-limit",
    "warning",
    "The partition says no maxUnavailable of its own.",
    "It is that of rolloutStrategy, else 100 %, and not 10 % as Fleet's own description says.",
    "Say maxUnavailable in each partition.",
)
NO_GATE = Rule(
    "no-gate",
    "error",
    "The partition is no gate.",
    "As many may be unavailable as it has clusters, so the next one starts in the same moment.",
    "Let it have at least two clusters, and fewer than that in maxUnavailable.",
)
NEVER = Rule(
    "partition-never-starts",
    "error",
    "The partition never starts.",
    "Its clusters are never changed, and all later partitions wait for it.",
    "Say a maxUnavailable of 1 or more, and criteria that match.",
)
IN_NONE = Rule(
    "cluster-in-no-partition",
    "error",
    "A cluster is in no partition.",
    "It is never created and never updated: there is no left-over partition.",
    "Add a last partition that takes all others.",
)
IN_TWO = Rule(
    "cluster-in-two-partitions",
    "warning",
    "A cluster is in two partitions.",
    "It counts against both.",
    "Make their selectors exclude each other.",
)
COUPLED = Rule(
    "rings-coupled",
    "warning",
    "Partitions by ring in one bundle hold each other.",
    "A stuck canary freezes production: no commit reaches it any more, a rollback included.",
    "Make a folder of each ring, as `release/fleet/<model>/<target>/<ring>`.",
)

RULES = (
    *(NO_LIMIT, ZERO, BAD_AMOUNT, QUOTED, BUNDLE_WIDE, DEFAULT, NO_GATE, NEVER, IN_NONE, IN_TWO),
    COUPLED,
)

Place = tuple[str | int, ...]


def check(checkout: Checkout) -> Iterator[Finding]:
    """What is wrong with rollouts."""
    for bundle in checkout.tree.bundles:
        if checkout.ring(bundle) is None and not bundle.rollout:
            continue  # a site's folder is for one cluster
        yield from _amounts(checkout, bundle)
        yield from _limits(checkout, bundle)
        if bundle.rollout.get("partitions"):
            yield from _partitions(checkout, bundle)
            if checkout.given is not None:
                yield from _members(checkout, bundle)


def _amounts(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    for path, value in _all_amounts(bundle.rollout):
        try:
            limit(10, value)
        except BadAmount as error:
            yield checkout.found(BAD_AMOUNT, bundle, path, str(error))
            continue
        if isinstance(value, str) and not value.endswith("%"):
            text = f"expected a number, got {value!r} in quotes"
            yield checkout.found(QUOTED, bundle, path, text)


def _all_amounts(rollout: Mapping[str, Any]) -> Iterator[tuple[Place, Any]]:
    top: Place = ("rolloutStrategy",)
    for name in ("maxUnavailable", "maxUnavailablePartitions", "autoPartitionSize"):
        if name in rollout:
            yield (*top, name), rollout[name]
    for at, one in enumerate(rollout.get("partitions") or ()):
        if "maxUnavailable" in one:
            yield (*top, "partitions", at, "maxUnavailable"), one["maxUnavailable"]


def _limits(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    rollout = bundle.rollout
    most = rollout.get("maxUnavailable")
    path = ("rolloutStrategy", "maxUnavailable")
    if most is None and not rollout.get("partitions"):
        yield checkout.found(NO_LIMIT, bundle, path[:1], "maxUnavailable is not said")
    elif _open(most) and not rollout.get("partitions"):
        yield checkout.found(NO_LIMIT, bundle, path, f"{most} lets all clusters change at once")
    elif isinstance(most, int) and most <= 0:
        yield checkout.found(ZERO, bundle, path, f"expected 1 or more, got {most}")


def _open(amount: Any) -> bool:
    try:
        return isinstance(amount, str) and amount.endswith("%") and limit(1000, amount) == 1000
    except BadAmount:
        return False


def _partitions(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    rollout = bundle.rollout
    rows = rollout["partitions"]
    if rollout.get("maxUnavailable") is not None:
        text = f"{rollout['maxUnavailable']} holds over all {len(rows)} partitions together"
        yield checkout.found(BUNDLE_WIDE, bundle, ("rolloutStrategy", "maxUnavailable"), text)
    yield from _passes(checkout, bundle, len(rows))
    rings = set()
    for at, row in enumerate(rows):
        here = ("rolloutStrategy", "partitions", at)
        name = row.get("name") or f"number {at + 1}"
        yield from _partition(checkout, bundle, here, row, name)
        rings.add(((row.get("clusterSelector") or {}).get("matchLabels") or {}).get("ring"))
    if len(rings - {None}) > 1:
        path = ("rolloutStrategy", "partitions")
        text = f"the rings {', '.join(sorted(one for one in rings if one))} are in one bundle"
        yield checkout.found(COUPLED, bundle, path, text)


def _passes(checkout: Checkout, bundle: Bundle, count: int) -> Iterator[Finding]:
    """So many partitions may be stuck before a later one waits."""
    said = bundle.rollout.get("maxUnavailablePartitions")
    try:
        passes = limit(count, said) if said is not None else 0
    except BadAmount:
        return  # said already
    if passes <= 0 or count < 2:
        return
    text = f"{said} lets {passes} of {count} partitions be unavailable, so the first hold nobody"
    severity: Severity = "error" if passes >= count - 1 else "warning"
    path = ("rolloutStrategy", "maxUnavailablePartitions")
    yield checkout.found(NO_GATE, bundle, path, text, severity)


def _partition(
    checkout: Checkout, bundle: Bundle, path: Place, row: Mapping[str, Any], name: str
) -> Iterator[Finding]:
    most = row.get("maxUnavailable")
    last = path[-1] == len(bundle.rollout["partitions"]) - 1
    if most is None:
        yield checkout.found(DEFAULT, bundle, path, f"partition {name} has none")
        over = bundle.rollout.get("maxUnavailable")
        if not last and (over is None or _open(over)):
            text = f"partition {name} may be unavailable as a whole, since nothing else is said"
            yield checkout.found(NO_GATE, bundle, path, text)
    elif isinstance(most, int) and most <= 0:
        text = f"partition {name} has maxUnavailable {most}"
        yield checkout.found(NEVER, bundle, (*path, "maxUnavailable"), text)
    elif _open(most) and not last:
        text = f"partition {name} may be unavailable as a whole ({most})"
        yield checkout.found(NO_GATE, bundle, (*path, "maxUnavailable"), text)
    try:
        if criteria_of(row).empty:
            yield checkout.found(NEVER, bundle, path, f"partition {name} demands nothing")
    except BadSelector as error:
        yield checkout.found(BAD_AMOUNT, bundle, path, f"partition {name}: {error}")


def _members(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    """Partitions as the clusters of the inventory fill them."""
    clusters = checkout.selected[bundle.place]
    try:
        found = partitions(bundle.rollout, clusters, checkout.clusters.groups, checkout.version)
    except (BadAmount, BadSelector):
        return
    path: Place = ("rolloutStrategy", "partitions")
    for at, one in enumerate(found):
        yield from _filled(checkout, bundle, (*path, at), one, last=at == len(found) - 1)
    homes = Counter(member for one in found for member in one.members)
    for rule, names in (
        (IN_NONE, [one.name for at, one in enumerate(clusters) if not homes[at]]),
        (IN_TWO, [clusters[at].name for at in sorted(homes) if homes[at] > 1]),
    ):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            yield checkout.found(rule, bundle, path, ", ".join(names[:3]) + more)


def _filled(
    checkout: Checkout, bundle: Bundle, path: Place, one: Partition, *, last: bool
) -> Iterator[Finding]:
    name = one.name or f"number {int(path[-1]) + 1}"
    if not one.members:
        yield checkout.found(NEVER, bundle, path, f"partition {name} has no cluster", "warning")
    elif one.limit >= len(one.members) and not last:
        text = f"partition {name} has {len(one.members)} clusters, and {one.limit} may be "
        yield checkout.found(NO_GATE, bundle, path, f"{text}unavailable")
