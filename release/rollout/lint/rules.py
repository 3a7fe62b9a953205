"""The table of all rules, and a run of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from release.rollout.lint import (
    chart,
    files,
    partitions,
    pod,
    sites,
    tags,
    targets,
    values,
)
from release.rollout.lint.checkout import Checkout
from release.rollout.lint.finding import Finding, Rule

UNUSED = Rule(
    "allowed-for-nothing",
    "warning",
    "A comment allows what is not there.",
    "It would hide the next finding of this kind.",
    "Take the comment away.",
)

SUBJECTS = {
    "files": files.RULES,
    "targets": targets.RULES,
    "partitions": partitions.RULES,
    "chart": chart.RULES,
    "pod": pod.RULES,
    "values": values.RULES,
    "tags": tags.RULES,
    "sites": sites.RULES,
    "lint": (UNUSED,),
}
RULES: dict[str, Rule] = {rule.code: rule for rows in SUBJECTS.values() for rule in rows}

_ALLOW = re.compile(r"#\s*lint: allow ([a-z][a-z-]*)\b")


def run(checkout: Checkout, in_registry: tags.InRegistry | None = None) -> list[Finding]:
    """All findings, by file and line, less those that a comment in the file allows."""
    found = [
        *files.check(checkout),
        *targets.check(checkout),
        *partitions.check(checkout),
        *chart.check(checkout),
        *pod.check(checkout),
        *values.check(checkout),
        *tags.check(checkout, in_registry),
        *sites.check(checkout),
    ]
    return sorted(set(_not_allowed(checkout, found)), key=lambda one: one.order)


def _not_allowed(checkout: Checkout, found: Iterable[Finding]) -> Iterator[Finding]:
    """`# lint: allow CODE` anywhere in a fleet.yaml takes the findings of CODE in it away."""
    used: set[tuple[str, str]] = set()
    allowed = {
        (bundle.file.relative_to(checkout.tree.root).as_posix(), code): line
        for bundle in checkout.tree.bundles
        if bundle.file.is_file()
        for line, code in _comments(bundle.file.read_text(encoding="utf-8"))
    }
    for one in found:
        if (one.file, one.rule.code) in allowed:
            used.add((one.file, one.rule.code))
        else:
            yield one
    for (file, code), line in allowed.items():
        if (file, code) not in used:
            yield checkout.at(UNUSED, checkout.tree.root / file, line, f"nothing to allow: {code}")


def _comments(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        for code in _ALLOW.findall(line):
            yield number, code
