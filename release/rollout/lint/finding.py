"""A rule, and one place where it is broken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Rule:
    """One trap."""

    code: str
    severity: Severity
    """The usual one; a version of Fleet may make it another."""
    title: str
    """What is wrong, in one sentence."""
    why: str
    """What Fleet or a cluster does then."""
    fix: str


@dataclass(frozen=True)
class Finding:
    """One place."""

    rule: Rule
    file: str
    """Relative to the repository."""
    line: int
    text: str
    """What was expected and what was got, in one sentence."""
    severity: Severity

    @property
    def order(self) -> tuple[str, int, str, str]:
        return self.file, self.line, self.rule.code, self.text
