"""What `gate` and `report` print: verdicts as tables that fit a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from engines.config.target import BudgetSource
from engines.records.record import VerdictName
from engines.records.verdict import Check, Verdict
from pipeline.report.summary import Summary
from pipeline.report.told import apart, remedies, sentences
from pipeline.terminal.tables import fits, print_line, print_marked, print_whole

COLOURS: dict[VerdictName, str] = {"PASS": "green", "FAIL": "red", "INVALID": "yellow"}


def print_verdict(
    verdict: Verdict, summary: Summary | None = None, console: Console | None = None
) -> None:
    """One line a budget, the verdict in the title, what else was measured, and what explains it."""
    console = console or Console()
    print_marked(f"{verdict.engine} on {verdict.target}: {_coloured(verdict.verdict)}", console)
    table = Table()
    table.add_column("budget")
    table.add_column("measured", justify="right")
    table.add_column("limit", justify="right")
    table.add_column("verdict")
    for check in verdict.checks:
        limit = f"{'≤' if check.rule == 'at most' else '≥'} {check.limit:g} {check.unit}"
        table.add_row(check.name, _measured(check), limit.rstrip(), _word(check))
    print_whole(table, console)
    if summary and (more := ", ".join(_more(summary))):
        print_line(f"  {more}", console)
    for sentence in (*_explanations(verdict), *verdict.notes):
        print_line(f"  {sentence}", console)


NOT_MEASURED: dict[BudgetSource, str] = {
    "derived": "derived, not measured",
    "article": "the article's, not measured",
    "required": "what cameras need, not measured",
}
"""Where a budget is from, in words; one that was measured on the device needs none."""


def print_report(
    target: str,
    rows: Sequence[tuple[Summary, Verdict]],
    sources: Mapping[str, BudgetSource],
    executed: Sequence[str] = (),
    console: Console | None = None,
) -> None:
    """One line an engine: the figures that people choose by, and the verdict; `sources` says where
    the engines' budgets are from, `executed` what really ran."""
    console = console or Console()
    if not rows:
        console.print(f"{target} has no engine yet: bring a model with `pipeline add-model`")
        return
    table = _engines([row for row, _ in rows])
    print_line(f"Engines of {target}", console)
    if fits(table, console):
        print_whole(table, console)
    else:  # a long name has a line of its own above its figures
        for row, _ in rows:
            print_line(f"{row.engine}", console)
            print_marked(f"  {_in_a_line(row)}", console)
    for line in _below(rows):
        print_line(f"  {line}", console)
    for sentence in executed:
        print_line(f"  {sentence}", console)
    for source, words in NOT_MEASURED.items():
        if engines := [row.engine for row, _ in rows if sources.get(row.engine) == source]:
            print_line(f"  {', '.join(engines)}: budget: {words}", console)


def _engines(rows: Sequence[Summary]) -> Table:
    table = Table()
    table.add_column("engine")
    for column in FIGURES:
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for row in rows:
        table.add_row(row.engine, *_figures(row), _coloured(row.verdict))
    return table


FIGURES = ("p50 ms", "p99 ms", "fps", "mAP50-95", "drop")


def _figures(row: Summary) -> tuple[str, ...]:
    return (
        f"{row.frame_p50_ms:.2f}",
        f"{row.frame_p99_ms:.2f}",
        f"{row.throughput_fps:.0f}",
        f"{row.map50_95:.4f}",
        # Adding zero takes the sign off what was rounded to minus nothing.
        f"{round(row.map50_95_drop, 4) + 0.0:+.4f}",
    )


def _in_a_line(row: Summary) -> str:
    named = [f"{name} {figure}" for name, figure in zip(FIGURES, _figures(row), strict=True)]
    return ", ".join([*named, _coloured(row.verdict)])


def _below(rows: Sequence[tuple[Summary, Verdict]]) -> list[str]:
    """What does not fit into the table: what only some have, what missed its budget and by how
    much, what is INVALID and why; then each remedy, once."""
    more = [f"{row.engine}: {', '.join(figures)}" for row, _ in rows if (figures := _more(row))]
    for row, verdict in rows:
        more += [f"{row.engine}: {one}" for one in (*_misses(verdict), *_causes(verdict))]
        if doubts := "; ".join(apart(reason)[0][:-1] for reason in verdict.told):
            more.append(f"{row.engine}: {doubts}.")
    return [*more, *remedies(reason for _, verdict in rows for reason in verdict.told)]


def _more(summary: Summary) -> list[str]:
    """What only some devices and measurements have."""
    hot, energy = summary.hot_frame_p99_ms, summary.energy_per_frame_mj
    return [
        *([f"hot p99 {hot:.2f} ms"] if hot is not None else []),
        *([f"{energy:.1f} mJ a frame"] if energy is not None else []),
    ]


def _explanations(verdict: Verdict) -> list[str]:
    """Why it is INVALID, and what made it a FAIL."""
    return [*sentences(verdict.told), *_causes(verdict)]


def _causes(verdict: Verdict) -> list[str]:
    """Each once: mAP and confidences are lost in one place."""
    return list(dict.fromkeys(check.cause for check in verdict.checks if check.cause))


def _word(check: Check) -> str:
    """The verdict; of a FAIL, by how much it misses the limit."""
    if check.verdict != "FAIL":
        return _coloured(check.verdict)
    return f"{_coloured('FAIL')} by {abs(check.measured - check.limit):.3g}"


def _misses(verdict: Verdict) -> list[str]:
    """Each budget that failed, and by how much."""
    return [
        f"{check.name} {_measured(check)}, {check.rule} {check.limit:g}: off by "
        f"{f'{abs(check.measured - check.limit):.3g} {check.unit}'.rstrip()}"
        for check in verdict.checks
        if check.verdict == "FAIL"
    ]


def _measured(check: Check) -> str:
    return f"{check.measured:.4g} {check.unit}".rstrip()


def _coloured(verdict: VerdictName) -> str:
    return f"[{COLOURS[verdict]}]{verdict}[/]"
