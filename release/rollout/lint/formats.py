"""Findings for people, for GitHub and editors (SARIF), and for GitLab's merge requests."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from release.rollout.lint.finding import SEVERITIES, Finding, Rule

SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_GITLAB = {"error": "critical", "warning": "minor", "note": "info"}


def text(findings: Sequence[Finding], rules: Iterable[Rule]) -> str:
    """A line for each: place, severity, code and sentence; below it what to do."""
    rows = []
    for one in findings:
        rows.append(f"{one.file}:{one.line}: {one.severity}: {one.rule.code}: {one.rule.title}")
        rows.append(f"  {one.text}. {one.rule.fix}")
    counts = Counter(one.severity for one in findings)
    numbers = [
        f"{counts[one]} {one}{'s' * (counts[one] != 1)}" for one in SEVERITIES if counts[one]
    ]
    rows.append(", ".join(numbers) or "nothing found")
    return "\n".join(rows)


def sarif(findings: Sequence[Finding], rules: Iterable[Rule]) -> str:
    """SARIF 2.1.0 (https://docs.oasis-open.org/sarif/sarif/v2.1.0)."""
    known = list(rules)
    places = {rule.code: at for at, rule in enumerate(known)}
    run = {
        "tool": {
            "driver": {"name": "release lint", "rules": [_sarif_rule(rule) for rule in known]}
        },
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"ROOT": {"description": {"text": "The repository"}}},
        "results": [_sarif_result(one, places[one.rule.code]) for one in findings],
    }
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2)


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.fix},
        "defaultConfiguration": {"level": rule.severity},
    }


def _sarif_result(one: Finding, at: int) -> dict[str, Any]:
    place = {
        "artifactLocation": {"uri": one.file, "uriBaseId": "ROOT"},
        "region": {"startLine": one.line},
    }
    return {
        "ruleId": one.rule.code,
        "ruleIndex": at,
        "level": one.severity,
        "message": {"text": f"{one.rule.title} {one.text}. {one.rule.fix}"},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"jetrail/v1": fingerprint(one)},
    }


def code_quality(findings: Sequence[Finding], rules: Iterable[Rule]) -> str:
    """GitLab's code quality report (https://docs.gitlab.com/ci/testing/code_quality)."""
    rows = [
        {
            "description": f"{one.rule.title} {one.text}. {one.rule.fix}",
            "check_name": one.rule.code,
            "fingerprint": fingerprint(one),
            "severity": _GITLAB[one.severity],
            "location": {"path": one.file, "lines": {"begin": one.line}},
        }
        for one in findings
    ]
    return json.dumps(rows, indent=2)


def fingerprint(one: Finding) -> str:
    """The same for the same finding, also where lines above it come and go."""
    return hashlib.sha256(f"{one.rule.code}\0{one.file}\0{one.text}".encode()).hexdigest()


FORMATS: dict[str, Callable[[Sequence[Finding], Iterable[Rule]], str]] = {
    "text": text,
    "sarif": sarif,
    "gitlab": code_quality,
}


def explain(rule: Rule) -> str:
    """A rule in full."""
    return f"{rule.code} ({rule.severity})\n{rule.title}\n\n{rule.why}\n\nWhat to do: {rule.fix}"
