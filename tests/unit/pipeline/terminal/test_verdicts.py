"""What `gate` and `report` print."""

from __future__ import annotations

import io
from pathlib import Path

from factories.records import BUDGETS, benchmark, evaluation, judge, manifest, soaked
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
        assert max(len(line) for line in text.splitlines()) <= 80
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


def test_what_a_small_evaluation_is_worth_goes_with_the_verdict() -> None:
    console = Console(width=80, file=io.StringIO())
    few = evaluation().model_copy(update={"notes": ("Only 40 evaluation pictures.",)})
    verdict = judge(manifest(), benchmark(), few, BUDGETS)
    assert (verdict.verdict, verdict.notes) == ("PASS", ("Only 40 evaluation pictures.",))
    print_verdict(verdict, console=console)
    assert "Only 40 evaluation pictures." in console.file.getvalue()  # type: ignore[attr-defined]
