"""What is wrong is said of each engine, and what to do about it once."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from io import StringIO
from pathlib import Path

from factories.records import BUDGETS, benchmark, evaluation, judge, manifest
from rich.console import Console

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.records.benchmark import MachineState, Quiet
from engines.records.verdict import Verdict
from pipeline.latency.attempts import validity_of
from pipeline.latency.validity import invalid_reasons
from pipeline.report.junit import write_junit
from pipeline.report.summary import summarise
from pipeline.report.told import remedies, sentences
from pipeline.terminal.verdicts import print_report, print_verdict

ROW = load_target(Workspace(root=Path(__file__).parents[4]), "x86-openvino").benchmark


def unsure(quiet: Quiet | None = None, **state: object) -> Verdict:
    """Of an engine whose p99's interval holds the budget, on a machine that was as given."""
    of = benchmark()
    frame = of.frame["1"].model_copy(update={"p99_low_ms": 9.0, "p99_high_ms": 31.0})
    machine = of.machine.model_copy(update={"steal_share": 0.0} | state)
    why = invalid_reasons(MachineState.model_validate(machine.model_dump()), quiet or of.quiet, ROW)
    of = of.model_copy(update={"frame": {"1": frame}, "validity": validity_of(why, 1)})
    return judge(manifest(), of, evaluation(), BUDGETS)


LITTLE = Quiet(share=0.1, enough=False, seconds=1, set_aside={"others": 9})


def printed(verdict: Verdict) -> tuple[str, str]:
    """What `report` and `gate` print."""
    texts = StringIO(), StringIO()
    row = summarise(manifest(), benchmark(), evaluation(), verdict)
    print_report("t", [(row, verdict)], {}, console=Console(width=80, file=texts[0]))
    print_verdict(verdict, console=Console(width=80, file=texts[1]))
    return texts[0].getvalue(), texts[1].getvalue()


def test_too_little_quiet_is_one_remedy_where_the_p99_is_undecided_too(tmp_path: Path) -> None:
    verdict = unsure(LITTLE, drift_share=0.9)
    assert len(verdict.reasons) == 2
    assert [reason.split()[2] for reason in verdict.told] == ["time"]
    write_junit(verdict, tmp_path / "v.xml")
    junit = ET.parse(tmp_path / "v.xml").find(".//testcase[@name='frame_p99_ms']/error")
    assert junit is not None
    for text in (*printed(verdict), str(junit.get("message"))):
        assert text.count("10% quiet") == 1
        assert text.count("Stop other programs on this machine and measure again") == 1
        assert "Measure longer" not in text
        assert "lies between" not in text


def test_a_hot_machine_that_throttled_and_drifted_is_told_to_be_cooled() -> None:
    verdict = unsure(temperature_max_c=99.0, throttle_events=3, drift_share=0.5)
    assert len(verdict.reasons) == 4
    for text in printed(verdict):
        assert text.count("measure again") == 1
        assert "reached 99 °C" in text


def test_a_p99_that_is_undecided_by_itself_is_told() -> None:
    (reason,) = unsure().told
    assert "Measure longer" in reason


def test_a_remedy_stands_behind_the_last_that_has_it() -> None:
    reasons = ("It was busy. Stop others.", "It waited. Stop others.", "It broke. Mend it.")
    assert sentences(reasons) == ["It was busy.", "It waited. Stop others.", "It broke. Mend it."]
    assert remedies(reasons) == ["Stop others.", "Mend it."]
    assert sentences(("It was busy.", "No end")) == ["It was busy.", "No end."]
