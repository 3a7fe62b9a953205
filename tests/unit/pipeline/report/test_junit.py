"""verdict.junit.xml, which GitLab shows in a merge request."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from factories.records import BUDGETS, BUSY, HOT, benchmark, evaluation, judge, manifest

from engines.records.verdict import Verdict
from pipeline.report.junit import write_junit

GOLDEN = Path(__file__).parents[3] / "golden"
VERDICTS = {
    "pass": judge(manifest(), benchmark(), evaluation(), BUDGETS),
    "fail-and-invalid": judge(manifest(), benchmark(valid=False), evaluation(drop=0.5), BUDGETS),
    "not-measured": judge(manifest(), benchmark(), evaluation(), HOT),
}
COUNTED_TOO = {"skipped": "0", "time": "0"}
"""What the library says beside the rest."""


def written(verdict: Verdict, folder: Path) -> ET.Element:
    write_junit(verdict, folder / "verdict.junit.xml")
    assert [path.name for path in folder.iterdir()] == ["verdict.junit.xml"]
    suite = ET.parse(folder / "verdict.junit.xml").getroot().find("testsuite")
    assert suite is not None
    return suite


@pytest.mark.parametrize("name", VERDICTS)
def test_it_is_as_gitlab_knows_it(name: str, tmp_path: Path) -> None:
    def content(element: ET.Element) -> object:
        return element.tag, element.attrib, [content(child) for child in element]

    expected = ET.parse(GOLDEN / f"verdict-{name}.junit.xml").getroot().find("testsuite")
    assert expected is not None
    expected.attrib.update(COUNTED_TOO)
    assert content(written(VERDICTS[name], tmp_path)) == content(expected)


def test_junit_tells_failures_from_errors(tmp_path: Path) -> None:
    suite = written(VERDICTS["fail-and-invalid"], tmp_path)
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("8", "1", "3")
    failure = suite.find("testcase[@name='map50_95_drop']/failure")
    assert failure is not None
    said, _, cause = str(failure.get("message")).partition(". ")
    assert said == "measured 0.5, at most 0.01"
    assert cause.startswith("The engine's scores are 0.002 off x.onnx on average")
    error = suite.find("testcase[@name='frame_p99_ms']/error")
    assert error is not None
    assert BUSY in str(error.get("message"))


def test_what_was_not_measured_has_a_case_of_its_own(tmp_path: Path) -> None:
    suite = written(VERDICTS["not-measured"], tmp_path)
    assert (suite.get("tests"), suite.get("errors")) == ("9", "1")
    error = suite.find("testcase[@name='measured']/error")
    assert error is not None
    assert "--soak MINUTES" in str(error.get("message"))


def test_notes_are_said_by_the_case_of_the_accuracy(tmp_path: Path) -> None:
    verdict = VERDICTS["pass"].model_copy(update={"notes": ("Only 6 <pictures>.",)})
    suite = written(verdict, tmp_path)
    said = suite.find("testcase[@name='map50_95_drop']/system-out")
    assert said is not None
    assert said.text == "Only 6 <pictures>."
