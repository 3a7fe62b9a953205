"""A class may be called anything: what people read stays one clean line, and XML stays XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from factories.records import BUDGETS, benchmark, evaluation, judge, manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from engines.config.names import shown
from pipeline.accuracy.worth import worth
from pipeline.report.junit import write_junit
from pipeline.terminal.verdicts import print_verdict
from release.registry.description import plain

NAMES = st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200
) | st.sampled_from(
    [
        "<b>&amp;</b>\n",
        '"|`$x$`',
        "🔩" * 60,
        "\x1b[31mred\x00",
        "[red]",
        "]]>",
        "\u202etxt",
        "a\r\nb",
    ]
)


@given(NAMES)
def test_one_clean_line(name: str) -> None:
    text = shown(name)
    assert len(text) <= 40
    assert text.isprintable()
    if name.isprintable() and " ".join(name.split()) == name and len(name) <= 40:
        assert text == name


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=NAMES)
def test_notes_of_classes(name: str, tmp_path: Path) -> None:
    notes = worth(3, {name: 1})
    assert all(note.isprintable() for note in notes)
    assert all(plain(note).isprintable() for note in notes)
    verdict = judge(manifest(), benchmark(), evaluation(), BUDGETS)
    # Of a record that was written before names were cleaned.
    verdict = verdict.model_copy(update={"notes": (*notes, f"of {name}")})
    write_junit(verdict, tmp_path / "verdict.junit.xml")
    text = ET.parse(tmp_path / "verdict.junit.xml").getroot().findtext(".//system-out")
    assert notes[1] in str(text)
    console = Console(record=True, width=80, file=(tmp_path / "said").open("w"))
    print_verdict(verdict.model_copy(update={"notes": notes}), console=console)
    assert "Traceback" not in console.export_text()
