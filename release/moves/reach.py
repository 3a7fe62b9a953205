"""Whether Fleet will bring what git says to a ring's clusters, and what holds it, by a report."""

from __future__ import annotations

from datetime import timedelta

from release.moves.seen import Seen, named
from release.reports.report import Report

OFFLINE = timedelta(minutes=30)
"""An agent that was not heard for so long counts as offline; they report every 15 minutes
(`agentCheckinInterval` in Fleet's chart)."""


def reach(seen: Seen, report: Report) -> tuple[str, ...]:
    """A sentence for each thing that keeps Fleet from a cluster; one that says so where nothing
    does. What a cluster that Fleet never let have the release needs is to be left as it is."""
    said = []
    if not seen.deployments:
        return ("The report knows no cluster of this ring, so whether Fleet reaches it is unknown",)
    if seen.paused:
        said.append("The bundle is paused, so Fleet changes no cluster: set spec.paused to false")
    paused = [one.cluster for one in seen.deployments if one.paused]
    if paused:
        said.append(f"Paused, and left as they are until they are not: {named(paused)}")
    silent = {cluster for cluster, heard in report.heard.items() if report.at - heard > OFFLINE}
    offline = [one.cluster for one in seen.deployments if one.cluster in silent]
    if offline:
        said.append(
            f"Offline, and reached when they are back: {named(offline)}; until then each holds a "
            "place among those that may be unavailable"
        )
    if seen.held:
        holders = sorted({*(one.cluster for one in seen.failing), *offline, *paused})
        by = f", held by {named(holders)}" if holders else ""
        said.append(
            f"Never given the release{by}: {named(one.cluster for one in seen.held)}; with what "
            "they have they are up to date again at once"
        )
    if seen.failing:
        failing = named(one.cluster for one in seen.failing)
        said.append(f"Not ready, so changed at once and first: {failing}")
    return tuple(said) or (f"Fleet reaches all {len(seen.deployments)} clusters of the ring",)
