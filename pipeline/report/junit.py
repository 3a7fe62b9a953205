"""The verdict as JUnit XML, which GitLab shows in the merge request: one test case a budget."""

from __future__ import annotations

import re
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite

from engines.files import atomic_path
from engines.records.verdict import Check, Verdict
from pipeline.report.told import sentences

_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""All but `Char` of XML 1.0."""


def write_junit(verdict: Verdict, path: Path) -> None:
    """Write the verdict as a suite named `<target>/<engine>`, atomically.

    INVALID is an `error` (the measurement broke), FAIL a `failure` (the engine did). A verdict that
    is INVALID for what was not measured at all has a case of its own. Notes are what the accuracy's
    case says.
    """
    verdict = _legal(verdict)
    suite = TestSuite(f"{verdict.target}/{verdict.engine}")
    for check in verdict.checks:
        suite.add_testcase(_case(verdict, check.name, _problem(verdict, check)))
    if verdict.verdict == "INVALID" and all(check.verdict == "PASS" for check in verdict.checks):
        suite.add_testcase(_case(verdict, "measured", Error(" ".join(sentences(verdict.told)))))
    if verdict.notes:
        suite.add_property("notes", " ".join(verdict.notes))
        noted = next((one for one in suite if one.name == "map50_95_drop"), None)
        if noted is not None:  # GitLab shows what a case says, and no properties
            noted.system_out = "\n".join(verdict.notes)
    document = JUnitXml()
    document.add_testsuite(suite)
    with atomic_path(path) as temporary:
        document.write(str(temporary), pretty=True)


def _legal(verdict: Verdict) -> Verdict:
    """Without the characters that XML cannot hold, which a class's name may bring into sentences;
    one of them makes GitLab drop the whole file."""
    checks = tuple(
        one.model_copy(update={"cause": _ILLEGAL.sub(" ", one.cause)}) if one.cause else one
        for one in verdict.checks
    )
    texts = {
        name: tuple(_ILLEGAL.sub(" ", text) for text in getattr(verdict, name))
        for name in ("notes", "reasons", "causes")
    }
    return verdict.model_copy(update={"checks": checks, **texts})


def _case(verdict: Verdict, name: str, problem: Error | Failure | None) -> TestCase:
    case = TestCase(name, classname=f"{verdict.target}.{verdict.engine}")
    if problem is not None:
        case.result = [problem]
    return case


def _problem(verdict: Verdict, check: Check) -> Error | Failure | None:
    measured = f"measured {check.measured:.6g} {check.unit}".rstrip()
    text = f"{measured}, {check.rule} {check.limit:g}"
    if check.verdict == "FAIL":
        return Failure(". ".join(filter(None, (text, check.cause))))
    if check.verdict == "INVALID":
        return Error(" ".join((text + ".", *sentences(verdict.told))))
    return None
