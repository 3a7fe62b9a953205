"""A played sync as PNG: of each bundle how many clusters are in which state over time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from engines.files import atomic_path
from release.rollout.simulation.result import Simulation
from release.rollout.simulation.series import COLOURS, PHASES, counts, end_of
from release.rollout.simulation.sync import BundleChange

MOST = 6
"""Bundles in one picture."""


def draw(simulation: Simulation, path: Path) -> None:
    """Write the picture. Raises InputError where the disk is full."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    played = [one for one in simulation.sync.changes if one.outcome]
    shown = played[:MOST]
    rows = max(1, len(shown))
    figure = Figure(figsize=(10, 1.2 + 2.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
    for axis, change in zip(axes, shown, strict=False):
        _bundle(axis, change, simulation.asked.minutes * 60)
    if not shown:
        axes[0].set_axis_off()
        axes[0].text(0.5, 0.5, "nothing changes on any cluster", ha="center", va="center")
    figure.suptitle(_title(simulation, len(played) - len(shown)), fontsize=10, x=0.01, ha="left")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, metadata={"Software": None})


def _title(simulation: Simulation, more: int) -> str:
    asked = simulation.asked
    parts = [f"Fleet {simulation.version}: {simulation.base}"]
    if asked.bad:
        parts.append(f"bad image {asked.bad}: tried on {len(simulation.reached):,} clusters")
    if more:
        parts.append(f"{more} bundles more are not drawn")
    return "\n".join(parts)


def _bundle(axis: Any, change: BundleChange, limit_s: int) -> None:
    outcome = change.outcome
    assert outcome is not None
    seconds, rows = counts(outcome, end_of(outcome, limit_s))
    minutes = [second / 60 for second in seconds]
    axis.stackplot(
        minutes,
        *rows.values(),
        colors=[COLOURS[phase] for phase in rows],
        labels=[f"{PHASES[phase]} ({row[-1]:,})" for phase, row in rows.items()],
        step="post",
    )
    axis.set_title(change.folder, loc="left", fontsize=9)
    axis.set_xlim(0, max(minutes))
    axis.set_ylim(0, max(1, len(outcome.fates)))
    axis.set_ylabel("clusters", fontsize=8)
    axis.set_xlabel("minutes after Fleet saw the commit", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.yaxis.get_major_locator().set_params(integer=True)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8, frameon=False)
