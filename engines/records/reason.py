"""Why a measurement cannot be trusted: the kinds of reasons, and which of them follow from others.

A hot device slows its clock down, its times drift, and their p99 spreads over the budget: four
reasons and one cause. People are told the cause, whose remedy takes the rest away; the records keep
all.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal, NamedTuple

Kind = Literal[
    "unread",
    "quota",
    "quiet",
    "gpu_processes",
    "power_mode",
    "over_current",
    "temperature",
    "throttling",
    "power",
    "clock",
    "drift",
    "uncertain",
    "cross_check",
    "soak",
    "soak_left_out",
    "contradiction",
    "undecided",
    "hot_undecided",
    "soak_too_short",
    "not_soaked",
    "found_nothing",
    "golden",
    "unknown",
]
"""What a reason is about. `unread`: what the device does not say; `quiet`: too little time in which
nobody else had the processors; `power`: slowed down for want of power, and `throttling` by anything
else; `uncertain`: a p99 that is known too badly, `undecided`: one whose interval holds the budget;
`soak`: somebody disturbed it; `golden`: nothing that a pod could look for;
`unknown`: of a record that does not say."""


class Reason(NamedTuple):
    """One reason: its kind, and a sentence that says what was measured with one that says what to
    do."""

    kind: Kind
    text: str


_OTHERS: frozenset[Kind] = frozenset({"quota", "quiet", "gpu_processes", "power_mode", "unknown"})
"""What others, or another mode, did to the device."""
_SLOWED: frozenset[Kind] = frozenset({"over_current", "temperature", "throttling", "power"})
_MOVED: frozenset[Kind] = _OTHERS | _SLOWED | {"clock"}
_TIMES: frozenset[Kind] = _MOVED | {"drift", "uncertain"}
"""All that makes times others than the engine's."""

FOLLOW_FROM: dict[Kind, frozenset[Kind]] = {
    "quiet": frozenset({"quota", "gpu_processes"}),
    "throttling": frozenset({"over_current", "temperature", "power"}),
    "power": frozenset({"over_current"}),
    "clock": _OTHERS - {"quota"} | _SLOWED,
    "drift": _MOVED,
    "uncertain": _MOVED | {"drift"},
    "cross_check": _TIMES,
    "soak": _OTHERS,
    "soak_left_out": frozenset({"unread", "quota", "power_mode"}),
    "contradiction": _TIMES,
    "undecided": _TIMES | {"contradiction"},
    "hot_undecided": _OTHERS | {"soak"},
    "not_soaked": frozenset({"soak_left_out"}),
    "golden": frozenset({"found_nothing"}),
}
"""A kind to those that it follows from where one of them is a reason too; no circle."""


def causes(reasons: Collection[Reason]) -> tuple[str, ...]:
    """The texts of the reasons that follow from no other one."""
    kinds = {one.kind for one in reasons}
    return tuple(one.text for one in reasons if not FOLLOW_FROM.get(one.kind, frozenset()) & kinds)
