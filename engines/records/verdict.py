"""`verdict.json`: the gate's word on one engine."""

from __future__ import annotations

from typing import ClassVar, Literal

from engines.records.record import EngineRecord, Part, Sha256, VerdictName

Rule = Literal["at most", "at least"]


class Check(Part):
    """One budget against one measurement."""

    name: str
    measured: float
    limit: float
    unit: str
    verdict: VerdictName
    rule: Rule
    cause: str = ""
    """Where it is a FAIL and the records say more: what made it one."""


class Verdict(EngineRecord):
    """The gate's word on one engine: PASS and FAIL speak of it, INVALID of the measurement."""

    file: ClassVar[str] = "verdict.json"
    written_by: ClassVar[str] = "pipeline gate"

    verdict: VerdictName
    checks: tuple[Check, ...]
    reasons: tuple[str, ...]
    """Why a measurement is INVALID; empty otherwise."""
    causes: tuple[str, ...] = ()
    """Those of the reasons that follow from no other one; none in a verdict of before."""
    notes: tuple[str, ...] = ()
    """What else to know of the measurements: they hold, with these limits."""
    judged: dict[str, Sha256]
    """Name to sha256 of every file that was judged: the engine, and the records about it."""

    @property
    def told(self) -> tuple[str, ...]:
        """What people are told of the reasons: each cause, and not what follows from it."""
        return self.causes or self.reasons
