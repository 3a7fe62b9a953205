"""A played sync as one HTML file: a timeline of every bundle, no scripts, nothing to load."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from engines.files import write_atomic
from release.rollout.simulation.outcome import STATES, Fate, Outcome
from release.rollout.simulation.result import Simulation, reached
from release.rollout.simulation.series import COLOURS, PHASES, counts, end_of, spans
from release.rollout.simulation.sync import BundleChange
from release.rollout.simulation.table import clock

BUNDLES = 60
"""Bundles that are drawn."""
ROWS = 60
"""Clusters of a bundle that have a line each; the others are in the curves."""
WIDTH, LABEL, LINE, HEIGHT = 760, 200, 16, 150

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: auto; padding: 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1rem; margin: 2.2rem 0 .4rem; font-family: monospace; }
svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
table { border-collapse: collapse; } td, th { padding: .15rem .8rem .15rem 0; text-align: left; }
td.n, th.n { text-align: right; } .key i { display: inline-block; width: .8em; height: .8em; }
.key span { margin-right: 1.2rem; white-space: nowrap; } .bad { color: #c0392b; font-weight: 600; }
"""


def write_page(simulation: Simulation, path: Path) -> None:
    """Write the page. Raises InputError where the disk is full."""
    write_atomic(path, "".join(_page(simulation)))


def _page(simulation: Simulation) -> Iterator[str]:
    asked = simulation.asked
    title = f"What Fleet {simulation.version} does with the next sync"
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<style>{_STYLE}</style><h1>{escape(title)}</h1><p>{escape(simulation.base)}; "
    yield f"{len(simulation.inventory.clusters):,} clusters, {len(simulation.offline):,} of them "
    yield f"offline; {asked.minutes} minutes.</p>"
    if asked.bad:
        yield f'<p class="bad">Bad image <code>{escape(asked.bad)}</code>: tried on '
        yield f"{len(simulation.reached):,} clusters.</p>"
    yield "".join(f"<p>{escape(note)}</p>" for note in simulation.notes)
    yield '<p class="key">'
    for phase, words in PHASES.items():
        yield f'<span><i style="background:{COLOURS[phase]}"></i> {escape(words)}</span>'
    yield "</p>"
    for change in simulation.sync.changes[:BUNDLES]:
        yield from _change(change, asked.minutes * 60)
    more = len(simulation.sync.changes) - BUNDLES
    if more > 0:
        yield f"<p>{more:,} bundles more change; simulation.json has all.</p>"
    yield f"<p>{simulation.sync.same} bundles more: nothing changes.</p></html>\n"


def _change(change: BundleChange, limit_s: int) -> Iterator[str]:
    yield f"<h2>{escape(change.folder)}</h2>"
    if change.stops:
        yield f'<p class="bad">{escape(change.refusal)}</p>'
    if change.started_from:
        yield "<p>Clusters stand where the bad image stopped, played from "
        yield f"{escape(change.started_from)}.</p>"
    for words, names in (("New on", change.added), ("Uninstalled from", change.removed)):
        if names:
            yield f"<p>{words} {len(names):,}: {escape(', '.join(names[:20]))}"
            yield f"{' …' if len(names) > 20 else ''}</p>"
    outcome = change.outcome
    if outcome is None or not outcome.fates:
        return
    end_s = end_of(outcome, limit_s)
    yield from _curves(outcome, end_s)
    yield from _rows(outcome, end_s)
    yield from _states(outcome)
    tried = reached(change)
    if tried:
        yield f'<p class="bad">The bad image was tried on {len(tried):,} of '
        yield f"{len(outcome.fates):,} clusters.</p>"
    for why, count in outcome.holds.items():
        yield f"<p>{count:,} held by {escape(why)}.</p>"


def _x(second: int, end_s: int) -> float:
    return round(LABEL + WIDTH * second / max(1, end_s), 1)


def _axis(end_s: int, height: int) -> Iterator[str]:
    for tenth in range(0, 11, 2):
        second = end_s * tenth // 10
        x = _x(second, end_s)
        anchor = "end" if tenth == 10 else "middle"
        yield f'<line x1="{x}" y1="0" x2="{x}" y2="{height}" stroke="#8884"/>'
        yield f'<text x="{x}" y="{height + 13}" text-anchor="{anchor}">{clock(second)}</text>'


def _curves(outcome: Outcome, end_s: int) -> Iterator[str]:
    """How many clusters are in which phase, stacked."""
    seconds, rows = counts(outcome, end_s)
    total = len(outcome.fates)
    yield f'<svg viewBox="0 0 {LABEL + WIDTH + 10} {HEIGHT + 18}" role="img" '
    yield 'aria-label="clusters by state over time">'
    yield f'<text x="0" y="12">{total:,} clusters</text>'
    floor = [0] * len(seconds)
    for phase, row in rows.items():
        top = [low + number for low, number in zip(floor, row, strict=True)]
        points = [*_steps(seconds, top, end_s, total), *_steps(seconds, floor, end_s, total)[::-1]]
        yield f'<polygon fill="{COLOURS[phase]}" points="{" ".join(points)}">'
        yield f"<title>{escape(PHASES[phase])}: {row[-1]:,} at the end</title></polygon>"
        floor = top
    yield from _axis(end_s, HEIGHT)
    yield "</svg>"


def _steps(seconds: list[int], heights: list[int], end_s: int, total: int) -> list[str]:
    points, last = [], heights[0]
    for second, height in zip(seconds, heights, strict=True):
        x = _x(second, end_s)
        points += [f"{x},{_y(last, total)}", f"{x},{_y(height, total)}"]
        last = height
    return points


def _y(number: int, total: int) -> float:
    return round(HEIGHT * (1 - number / max(1, total)), 1)


def _rows(outcome: Outcome, end_s: int) -> Iterator[str]:
    """A line for each of the first clusters, with its phases."""
    fates = outcome.fates[:ROWS]
    height = LINE * len(fates)
    yield f'<svg viewBox="0 0 {LABEL + WIDTH + 10} {height + 18}" role="img" '
    yield 'aria-label="each cluster over time">'
    for at, fate in enumerate(fates):
        yield f'<text x="0" y="{at * LINE + 12}">{escape(fate.name[:30])}</text>'
        for span in spans(fate, end_s):
            x, end = _x(span.start_s, end_s), _x(span.end_s, end_s)
            wide = round(end - x, 1)
            yield f'<rect x="{x}" y="{at * LINE + 2}" width="{wide}" height="{LINE - 4}"'
            yield f' fill="{COLOURS[span.phase]}"><title>{escape(_words(fate))}</title></rect>'
    yield from _axis(end_s, height)
    yield "</svg>"
    if len(outcome.fates) > ROWS:
        yield f"<p>{len(outcome.fates) - ROWS:,} clusters more are in the curves only.</p>"


def _words(fate: Fate) -> str:
    why = f": {fate.why}" if fate.why else ""
    return f"{fate.name} {STATES[fate.state]}{why}"


def _states(outcome: Outcome) -> Iterator[str]:
    yield '<table><tr><th class="n">clusters</th><th>at the end</th></tr>'
    for state, count in outcome.counts.items():
        yield f'<tr><td class="n">{count:,}</td><td>each {escape(STATES[state])}</td></tr>'
    yield "</table>"
