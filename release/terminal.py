"""What the commands say on the terminal.

A tag is up to 71 characters, or 143 with a digest, so each fact has a line that is never cut or
broken: a tag is copied from here.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

from rich.console import Console
from rich.text import Text

from release.moves.planned import Planned
from release.records import MlflowEntry
from release.steps.publish import Published
from release.steps.status import Status


def line(text: str) -> None:
    """One line of progress."""
    Console(highlight=False, soft_wrap=True).print(Text(text))


def show_published(published: Published) -> None:
    """The releases of a target, its candidates, and how to open MLflow."""
    candidates = published.candidates
    if not published.publications:
        line(f"{candidates.target}: nothing to publish, since no engine has the verdict PASS")
        return
    chosen = {candidate.release for candidate in candidates.candidates.values()}
    for one in published.publications:
        line(one.release)
        alias = ", candidate" if one.release in chosen else ""
        line(f"  {_entry(one.mlflow)}{alias}")
    for model, candidate in candidates.candidates.items():
        line(f"{model}: {candidate.engine} is the candidate ({candidate.reason})")
    line(f"MLflow: {how_to_open(published.publications[0].mlflow.tracking_uri)}")


def show_status(statuses: Iterable[Status]) -> None:
    """Candidate, MLflow run and rings of each model, a fact a line."""
    for one in statuses:
        line(f"{one.model} on {one.target}")
        if one.candidate is None:
            line("  candidate  none: no engine has the verdict PASS")
        else:
            line(f"  candidate  {one.candidate.release}")
            line(f"  MLflow     {_entry(one.candidate.mlflow)}")
            line(f"  open       {how_to_open(one.candidate.mlflow.tracking_uri)}")
        for ring, values in one.rings.items():
            line(f"  {ring:10} {values.image.tag if values else '-'}")


def show_planned(planned: Planned) -> None:
    """What a move changes, and what each rule says."""
    place = planned.place
    line(f"{planned.action} {place.model} on {place.target}: {place.ring}, from {planned.source}")
    line(f"  runs      {planned.runs.image.tag if planned.runs else '-'}")
    if planned.since:
        line(f"  since     {moment(planned.since.at)} by {planned.since.who}")
    line(f"  will run  {planned.will_run.image.tag}")
    if planned.move is None:
        line("  It runs that already: nothing to do")
    for one in planned.answers:
        word = "holds" if one.holds else "overridden" if one.overridden else "refuses"
        line(f"  {one.rule:10} {word}: {one.said}")


def moment(at: datetime) -> str:
    """A time as people read it, in UTC."""
    return f"{at.astimezone(timezone.utc):%Y-%m-%d %H:%M} UTC"


def _entry(entry: MlflowEntry) -> str:
    return f"{entry.registered_model} version {entry.version}, run {entry.run_id}"


def how_to_open(uri: str) -> str:
    """A server's address, or the command that serves a local store."""
    if uri.startswith(("http://", "https://")):
        return uri
    return f"mlflow ui --backend-store-uri {uri}"
