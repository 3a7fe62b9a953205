"""Label selectors, as Kubernetes has them (`metav1.LabelSelectorAsSelector`)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice, product
from typing import Any

_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class BadSelector(Exception):
    """A selector that Kubernetes refuses, and with it Fleet the whole bundle."""


@dataclass(frozen=True)
class Requirement:
    """One line of a selector: `key` and what its value must be."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy it; a label that is not there is in no list."""
        value = labels.get(self.key)
        if self.operator == "In":
            return value is not None and value in self.values
        if self.operator == "NotIn":
            return value is None or value not in self.values
        return (value is not None) == (self.operator == "Exists")


@dataclass(frozen=True)
class Selector:
    """A label selector; without requirements it selects everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the labels satisfy every line."""
        return all(one.matches(labels) for one in self.requirements)

    def exact(self) -> list[tuple[str, str]]:
        """The labels that it demands with one value each."""
        return [
            (one.key, next(iter(one.values)))
            for one in self.requirements
            if one.operator == "In" and len(one.values) == 1
        ]

    def demanded(self) -> dict[str, str]:
        """The labels that have to be there, each with a value that is taken."""
        return {
            one.key: min(one.values, default="any")
            for one in self.requirements
            if one.operator in ("In", "Exists")
        }

    def examples(self, most: int = 64) -> list[dict[str, str]]:
        """Labels that it selects, one set for each choice among the values that it takes; `most`
        at most. A label that only has to be there has no value to try."""
        lines = [
            [(one.key, value) for value in sorted(one.values)]
            for one in self.requirements
            if one.operator == "In"
        ]
        made = [dict(pairs) for pairs in islice(product(*lines), most)]
        return [one for one in made if all(line.matches(one) for line in self.requirements)]


def selector_of(entry: Mapping[str, Any] | None) -> Selector | None:
    """A selector as decoded. Raises BadSelector where Kubernetes would refuse it."""
    if entry is None:
        return None
    lines = [
        Requirement(key, "In", frozenset((value,)))
        for key, value in (entry.get("matchLabels") or {}).items()
    ]
    lines += [_expression(one) for one in entry.get("matchExpressions") or ()]
    for line in lines:
        _check(line)
    return Selector(tuple(lines))


def _expression(entry: Mapping[str, Any]) -> Requirement:
    operator, values = entry.get("operator", ""), entry.get("values") or []
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        raise BadSelector(f"{operator!r} is no operator; In, NotIn, Exists and DoesNotExist are")
    if bool(values) != (operator in ("In", "NotIn")):
        raise BadSelector(
            f"{operator} of the label {entry.get('key')!r} wants "
            f"{'at least one value' if not values else 'no values'}"
        )
    return Requirement(entry.get("key", ""), operator, frozenset(values))


def _check(line: Requirement) -> None:
    *prefix, name = line.key.split("/", 1)
    if not _NAME.fullmatch(name) or (prefix and not _is_domain(prefix[0])):
        raise BadSelector(f"{line.key!r} can be no label")
    if bad := bad_values(line.values):
        raise BadSelector(f"{bad[0]!r} can be no value of the label {line.key!r}")


def bad_values(values: Iterable[str]) -> list[str]:
    """Those that Kubernetes takes for no label's value: at most 63 letters, digits, `-_.`."""
    return [one for one in sorted(values) if one and not _NAME.fullmatch(one)]


def _is_domain(prefix: str) -> bool:
    return len(prefix) <= 253 and _PREFIX.fullmatch(prefix) is not None
