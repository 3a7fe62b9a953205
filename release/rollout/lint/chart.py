"""The chart, and what Helm is told."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding, Rule
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.names import MAX_NAME

OUTSIDE = Rule(
    "chart-outside",
    "error",
    "The chart lies outside the bundle's own folder.",
    "A chart that is on the disk is not added to the bundle: nothing is rendered, nothing is said, "
    "and what was deployed before is uninstalled (fleet#270, fleet#4693).",
    "Put the chart into the folder, or name an OCI chart: `chart: oci://registry/charts/NAME`.",
)
MISSING = Rule(
    "chart-missing",
    "error",
    "The chart is neither in the folder nor an address.",
    "Fleet tries to download it and fails, and then changes no folder of the GitRepo.",
    "Correct the path, or name an OCI chart.",
)
NOTHING = Rule(
    "nothing-deployed",
    "error",
    "The folder deploys nothing.",
    "Fleet makes no bundle of it, and removes one that is there: it is uninstalled everywhere.",
    "Add a chart or manifests, or take the folder away.",
)
REPO_ALONE = Rule(
    "oci-repo-alone",
    "error",
    "Before Fleet 0.16 a chart under `repo` by itself is not downloaded.",
    "Only `chart` counts there, and `valuesFiles` are not read either.",
    "Write `chart: oci://…` and no `repo`, which every version takes.",
)
NO_VERSION = Rule(
    "chart-unpinned",
    "warning",
    "The chart has no version.",
    "Fleet takes the newest one each time, so that sites change without a commit.",
    "Add `version`: one, and not a range.",
)
LONG_NAME = Rule(
    "release-name",
    "error",
    "Helm refuses the release's name.",
    "It takes at most 53 characters: small letters, digits, `-` and `.`.",
    "Shorten `helm.releaseName`; without it the bundle's name is taken, which Fleet shortens.",
)
SAME_RELEASE = Rule(
    "same-release",
    "error",
    "Two folders install the same Helm release on one cluster.",
    "Each takes it from the other, for ever.",
    "Give them other release names or namespaces, or selectors that exclude each other.",
)
ATOMIC = Rule(
    "atomic",
    "error",
    "`helm.atomic` makes a bad image worse.",
    "From Fleet 0.15 on a failed upgrade is rolled back and tried for ever, since Fleet looks "
    "for Helm 3's words; before, without timeoutSeconds, each upgrade fails at once (fleet#928).",
    "Take it away: the new pod takes over only once it is ready, without Helm's help.",
)
TIMEOUT = Rule(
    "timeout",
    "warning",
    "`helm.timeoutSeconds` repeats a failed upgrade for ever.",
    "From Fleet 0.15 on the text of a wait that ran out is not known any more.",
    "Take it away, and let readiness speak.",
)
CANNOT_OFF = Rule(
    "cannot-switch-off",
    "warning",
    "A target cannot switch the option off.",
    "`atomic`, `force` and the like are OR-ed: true in the bundle stays true for all clusters.",
    "Take it away at the top, and set it where it is wanted.",
)
CLEARED = Rule(
    "namespace-not-cleared",
    "warning",
    '`defaultNamespace: "-"` does not clear the namespace.',
    "The text `-` is taken as the name, which Kubernetes refuses.",
    "Name the namespace, or leave it out.",
)
DEPENDS = Rule(
    "depends-on-nobody",
    "warning",
    "The bundle waits for one that is not there.",
    "The agent tries again every 15 s, for ever.",
    "Correct the name: Fleet makes it of the GitRepo's name and the path.",
)
RULES = (
    *(OUTSIDE, MISSING, NOTHING, REPO_ALONE, NO_VERSION, LONG_NAME, SAME_RELEASE, ATOMIC, TIMEOUT),
    *(CANNOT_OFF, CLEARED, DEPENDS),
)

_PART = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_PART}(\.{_PART})*")
_EXACT = re.compile(r"v?\d+\.\d+\.\d+([-+][0-9A-Za-z.+-]*)?")
"""One version; Helm takes `1.2` and `1.x` for ranges."""
_GETTER = re.compile(r"\w+::|[\w.-]+@[\w.-]+:|(github|gitlab|bitbucket)\.(com|org)/")
"""Addresses without `://` that Fleet downloads from, as go-getter spells them."""
_FLAGS = ("atomic", "force", "takeOwnership", "waitForJobs", "disableDNS", "disablePreProcess")

Place = tuple[str | int, ...]


def check(checkout: Checkout) -> Iterator[Finding]:
    """What is wrong with charts."""
    for bundle in checkout.tree.bundles:
        rows = list(_helms(bundle))
        for path, helm in rows:
            yield from _chart(checkout, bundle, path, helm)
            yield from _wait(checkout, bundle, path, _waits(bundle, path, helm))
        yield from _off(checkout, bundle, rows)
        yield from _bundle(checkout, bundle)
    yield from _same_release(checkout)


def _helms(bundle: Bundle) -> Iterator[tuple[Place, dict[str, Any]]]:
    """`helm` of the bundle and of each target, as written."""
    value = bundle.decoded.value
    if value.get("helm") is not None:
        yield ("helm",), value["helm"]
    for part in ("targets", "targetCustomizations"):
        for at, one in enumerate(value.get(part) or ()):
            if one.get("helm") is not None:
                yield (part, at, "helm"), one["helm"]


def _chart(
    checkout: Checkout, bundle: Bundle, path: Place, helm: dict[str, Any]
) -> Iterator[Finding]:
    chart, repo = helm.get("chart") or "", helm.get("repo") or ""
    address = "://" in chart or bool(repo) or _GETTER.match(chart) is not None
    if repo.startswith("oci://") and not chart and not checkout.version.at_least(0, 16):
        text = f"Fleet {checkout.version} downloads no chart of `repo` without `chart`"
        yield checkout.found(REPO_ALONE, bundle, (*path, "repo"), text)
    if chart and not address:
        yield from _local_chart(checkout, bundle, path, chart)
    if address and (path == ("helm",) or helm.get("version")):
        yield from _version(checkout, bundle, path, helm)
    name = helm.get("releaseName") or ""
    if name and (len(name) > MAX_NAME or not _NAME.fullmatch(name)):
        text = f"expected at most {MAX_NAME} of a-z, 0-9, `-` and `.`; got {len(name)}: {name!r}"
        yield checkout.found(LONG_NAME, bundle, (*path, "releaseName"), text)


def _version(
    checkout: Checkout, bundle: Bundle, path: Place, helm: dict[str, Any]
) -> Iterator[Finding]:
    chart, version = helm.get("chart") or "", helm.get("version") or ""
    pinned = re.search(
        r"[:@][^/]+$|\.(tgz|tar\.gz|zip)$|[?&]ref=", chart.partition("://")[2] or chart
    )
    if not version and not (pinned and not helm.get("repo")):
        yield checkout.found(NO_VERSION, bundle, (*path, "chart"), "expected `version`, got none")
    elif version and not _EXACT.fullmatch(version):
        text = f"expected one version, got {version!r}, which several match"
        yield checkout.found(NO_VERSION, bundle, (*path, "version"), text)


def _local_chart(checkout: Checkout, bundle: Bundle, path: Place, chart: str) -> Iterator[Finding]:
    place = (bundle.folder / chart).resolve()
    inside = place.is_relative_to(bundle.folder.resolve())
    if not inside:
        text = f"{chart!r} leads out of {bundle.place}"
        yield checkout.found(OUTSIDE, bundle, (*path, "chart"), text)
    elif not (place / "Chart.yaml").is_file():
        text = f"expected {chart}/Chart.yaml in the folder, but it is not there"
        yield checkout.found(MISSING, bundle, (*path, "chart"), text)


def _waits(bundle: Bundle, path: Place, helm: dict[str, Any]) -> dict[str, Any]:
    """`atomic` and `timeoutSeconds` as they are on clusters: a target's with the bundle's below,
    where the target says one of the two."""
    own = {name: helm[name] for name in ("atomic", "timeoutSeconds") if helm.get(name)}
    base = bundle.decoded.value.get("helm") or {}
    if path == ("helm",) or not own:
        return own
    timeout = own.get("timeoutSeconds") or base.get("timeoutSeconds") or 0
    return {"atomic": own.get("atomic") or base.get("atomic"), "timeoutSeconds": max(timeout, 0)}


def _wait(
    checkout: Checkout, bundle: Bundle, path: Place, helm: dict[str, Any]
) -> Iterator[Finding]:
    timeout = helm.get("timeoutSeconds") or 0
    if helm.get("atomic"):
        new = checkout.version.helm4
        words = "a bad image is rolled back and tried again for ever"
        if not new and timeout <= 0:
            words = "without timeoutSeconds every upgrade fails at once"
        if new or timeout <= 0:
            text = f"with Fleet {checkout.version} {words}"
            yield checkout.found(ATOMIC, bundle, (*path, "atomic"), text)
    elif timeout > 0 and checkout.version.helm4:
        text = f"with Fleet {checkout.version} an upgrade that takes longer is repeated for ever"
        yield checkout.found(TIMEOUT, bundle, (*path, "timeoutSeconds"), text)


def _off(
    checkout: Checkout, bundle: Bundle, rows: list[tuple[Place, dict[str, Any]]]
) -> Iterator[Finding]:
    value = bundle.decoded.value
    base = value.get("helm") or {}
    for path, helm in rows[1:] if rows and rows[0][0] == ("helm",) else ():
        for name in _FLAGS:
            if base.get(name) and helm.get(name) is False:
                text = f"`{name}: false` does nothing, since it is true at the top"
                yield checkout.found(CANNOT_OFF, bundle, (*path, name), text)
        if (base.get("timeoutSeconds") or 0) > 0 and helm.get("timeoutSeconds") == 0:
            text = "`timeoutSeconds: 0` does nothing; -1 takes the one at the top away"
            yield checkout.found(CANNOT_OFF, bundle, (*path, "timeoutSeconds"), text)
    for part in ("targets", "targetCustomizations"):
        for at, one in enumerate(value.get(part) or ()):
            if value.get("keepResources") and one.get("keepResources") is False:
                text = "`keepResources: false` does nothing, since it is true at the top"
                yield checkout.found(CANNOT_OFF, bundle, (part, at, "keepResources"), text)


def _bundle(checkout: Checkout, bundle: Bundle) -> Iterator[Finding]:
    value = bundle.decoded.value
    if bundle.empty:
        text = f"{bundle.place} has no chart that is downloaded and no file to deploy"
        yield checkout.found(NOTHING, bundle, ("helm", "chart"), text)
    for path, entry in [((), value)] + [
        ((part, at), one)
        for part in ("targets", "targetCustomizations")
        for at, one in enumerate(value.get(part) or ())
    ]:
        for name in ("defaultNamespace", "namespace", "serviceAccount"):
            if entry.get(name) == "-":
                yield checkout.found(CLEARED, bundle, (*path, name), f'{name}: "-" stays `-`')
    names = {one.name for one in checkout.tree.bundles}
    for at, one in enumerate(value.get("dependsOn") or ()):
        if one.get("name") and one["name"] not in names and not one.get("selector"):
            text = f"no folder makes a bundle {one['name']!r}"
            yield checkout.found(DEPENDS, bundle, ("dependsOn", at), text)


def _same_release(checkout: Checkout) -> Iterator[Finding]:
    """Folders of different models with the same release name on one cluster."""
    homes: dict[tuple[str, str, str], list[Bundle]] = defaultdict(list)
    for bundle in checkout.tree.bundles:
        helm = bundle.options.get("helm") or {}
        name = helm.get("releaseName") or bundle.name
        space = bundle.options.get("namespace") or bundle.options.get("defaultNamespace") or ""
        for cluster in checkout.selected[bundle.place]:
            homes[name, space, cluster.name].append(bundle)
    said: set[tuple[str, str]] = set()
    for (name, _, where), bundles in sorted(homes.items(), key=lambda one: one[0]):
        for later in bundles[1:]:
            one, other = checkout.ring(bundles[0]), checkout.ring(later)
            pair = bundles[0].place, later.place
            if pair in said or (one and other and one.model == other.model):
                continue  # of one model it is `two-folders`
            said.add(pair)
            site = f" on {where}" if checkout.given else ""
            text = f"{bundles[0].place} installs the release {name!r} too{site}"
            yield checkout.found(SAME_RELEASE, later, ("helm", "releaseName"), text)
