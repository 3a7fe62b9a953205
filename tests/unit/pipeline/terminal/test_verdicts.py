"""What `gate` and `report` print."""

from __future__ import annotations

import io
from pathlib import Path

from factories.records import BUDGETS, benchmark, evaluation, judge, manifest, soaked
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from engines.records.benchmark import Benchmark
from pipeline.report.summary import Summary, summarise
from pipeline.terminal.verdicts import print_report, print_verdict

GOLDEN = Path(__file__).parents[3] / "golden"


def _summary(of: Benchmark) -> Summary:
    return summarise(manifest(), of, evaluation(), judge(manifest(), of, evaluation(), BUDGETS))


def test_energy_and_hot_p99_are_printed_where_they_were_measured() -> None:
    def printed(of: Benchmark) -> str:
        console = Console(width=80, file=io.StringIO())
        verdict = judge(manifest(), of, evaluation(), BUDGETS)
        print_verdict(verdict, _summary(of), console)
        print_report("t", [(_summary(of), verdict)], {"m-fp16": "measured"}, console=console)
        text = console.file.getvalue()  # type: ignore[attr-defined]
        tables = [line for line in text.splitlines() if line[0] in "┏┃┡│└"]
        assert max(map(len, tables)) <= 80
        return str(text)

    assert "hot" not in printed(benchmark())
    assert "mJ" not in printed(benchmark())
    text = printed(soaked(20))
    assert text.count("hot p99 20.00 ms, 93.2 mJ a frame") == 2


def test_a_drop_of_next_to_nothing_has_no_minus() -> None:
    console = Console(width=80, file=io.StringIO())
    verdict = judge(manifest(), benchmark(), evaluation(), BUDGETS)
    row = _summary(benchmark()).model_copy(update={"map50_95_drop": -4e-6})
    print_report("t", [(row, verdict)], {"m-fp16": "measured"}, console=console)
    assert "+0.0000" in console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_is_as_people_know_it() -> None:
    console = Console(width=80, file=io.StringIO())
    verdict = judge(manifest(), benchmark(valid=False), evaluation(0.5), BUDGETS)
    print_verdict(verdict, console=console)
    assert console.file.getvalue() == (GOLDEN / "verdict-table.txt").read_text()


def test_a_cause_of_two_missed_budgets_is_said_once() -> None:
    console = Console(width=80, file=io.StringIO())
    verdict = judge(manifest(), benchmark(), evaluation(drop=0.02, shift=0.06), BUDGETS)
    print_verdict(verdict, console=console)
    print_report("t", [(_summary(benchmark()), verdict)], {}, console=console)
    assert console.file.getvalue().count("the builder kept to it") == 2  # type: ignore[attr-defined]


def test_of_engines_that_are_invalid_the_remedy_is_said_once() -> None:
    console = Console(width=80, file=io.StringIO())
    verdict = judge(manifest(), benchmark(valid=False), evaluation(), BUDGETS)
    rows = []
    for engine in ("m-fp32", "m-fp16", "m-int8"):
        row = _summary(benchmark(valid=False)).model_copy(update={"engine": engine})
        rows.append((row, verdict.model_copy(update={"engine": engine})))
    print_report("t", rows, {}, console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    for engine in ("m-fp32", "m-fp16", "m-int8"):
        assert f"  {engine}: Others took 21 % of the processors.\n" in text
    assert text.count("Stop other work on the machine.") == 1


def test_a_remedy_that_another_goes_on_from_is_said_by_that() -> None:
    console = Console(width=80, file=io.StringIO())
    verdict = judge(manifest(), benchmark(valid=False), evaluation(), BUDGETS)
    reasons = ("It was busy. Stop others and wait.", "It waited. Stop others and wait, or leave.")
    row = _summary(benchmark(valid=False))
    told = verdict.model_copy(update={"reasons": reasons, "causes": reasons})
    print_report("t", [(row, told)], {}, console=console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "  m-fp16: It was busy; It waited.\n  Stop others and wait, or leave.\n" in text


def test_what_a_small_evaluation_is_worth_goes_with_the_verdict() -> None:
    console = Console(width=80, file=io.StringIO())
    few = evaluation().model_copy(update={"notes": ("Only 40 evaluation pictures.",)})
    verdict = judge(manifest(), benchmark(), few, BUDGETS)
    assert (verdict.verdict, verdict.notes) == ("PASS", ("Only 40 evaluation pictures.",))
    print_verdict(verdict, console=console)
    assert "Only 40 evaluation pictures." in console.file.getvalue()  # type: ignore[attr-defined]


def _of_long_names() -> str:
    """What is printed on 80 columns of a model of 40 letters on the target of the longest name."""
    console = Console(width=80, file=io.StringIO())
    judged = judge(manifest(), benchmark(p99=123.456, valid=False), evaluation(0.5), BUDGETS)
    rows = []
    for precision in ("fp32", "fp16", "int8"):
        engine = {"engine": f"plant-4-line-7-gauges-and-valves-yolov8m-{precision}"}
        rows.append(
            (_summary(benchmark()).model_copy(update=engine), judged.model_copy(update=engine))
        )
    print_report("jetson-orin-nano", rows, {rows[0][0].engine: "derived"}, console=console)
    print_verdict(rows[1][1].model_copy(update={"target": "jetson-orin-nano"}), None, console)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_nothing_that_is_copied_is_cut_or_broken() -> None:
    text = _of_long_names()
    assert text == (GOLDEN / "verdicts-of-long-names.txt").read_text()
    names = [line for line in text.splitlines() if line.startswith("plant")]
    assert [len(name) for name in names] == [45, 45, 45, 71]
    assert "…" not in text


@given(
    engine=st.from_regex(r"[a-z][a-z0-9-]{0,60}", fullmatch=True),
    measured=st.floats(1e-6, 1e6),
    columns=st.integers(40, 120),
)
def test_names_and_budgets_stay_whole_at_any_width(
    engine: str, measured: float, columns: int
) -> None:
    console = Console(width=columns, file=io.StringIO())
    judged = judge(manifest(), benchmark(p99=measured), evaluation(), BUDGETS)
    judged = judged.model_copy(update={"engine": engine})
    row = _summary(benchmark(p99=measured)).model_copy(update={"engine": engine})
    print_report("t", [(row, judged)], {}, console=console)
    report = console.file.getvalue()  # type: ignore[attr-defined]
    assert engine in report
    assert f"{measured:.2f}" in report
    print_verdict(judged, console=console)
    text = console.file.getvalue()[len(report) :]  # type: ignore[attr-defined]
    assert f"{engine} on t: {judged.verdict}\n" in text
    for check in judged.checks:
        (line,) = (one for one in text.splitlines() if one.startswith(f"│ {check.name} "))
        assert f"{check.measured:.4g} {check.unit}".rstrip() in line
        assert f" {check.limit:g} {check.unit}".rstrip() in line
        assert f" {check.verdict} " in line
