"""What the commands say on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from release.records import Published
from release.steps.status import Status


def line(text: str) -> None:
    """One line of progress."""
    Console(highlight=False, soft_wrap=True).print(Text(text))


def show_published(published: Published, uri: str | None) -> None:
    """The releases of a target, its candidates, and how to open MLflow."""
    if not published.engines or uri is None:
        line(f"{published.target}: nothing to publish, since no engine has the verdict PASS")
        return
    chosen = {candidate.release for candidate in published.candidates.values()}
    table = Table(box=None, pad_edge=False)
    for heading in ("release", "registered model", "version", "alias"):
        table.add_column(heading, overflow="fold")
    for engine in published.engines:
        alias = "candidate" if engine.release in chosen else ""
        table.add_row(engine.release, engine.registered_model, str(engine.version), alias)
    Console(highlight=False).print(table)
    for model, candidate in published.candidates.items():
        line(f"{model}: {candidate.engine} is the candidate ({candidate.reason})")
    line(f"MLflow: {how_to_open(uri)}")


def show_status(status: Status) -> None:
    """Candidate, MLflow run and rings of each model, a fact a line."""
    for one in status.models:
        line(f"{one.model} on {status.target}")
        if one.candidate is None:
            line("  candidate  none: no engine has the verdict PASS")
        else:
            entry = one.candidate.mlflow
            line(f"  candidate  {one.candidate.release}")
            line(
                f"  MLflow     {entry.registered_model} version {entry.version}, run {entry.run_id}"
            )
            line(f"  open       {how_to_open(entry.tracking_uri)}")
        for ring, tag in one.rings.items():
            line(f"  {ring:10} {tag or '-'}")
    line(f"rings are those of {status.fleet_file}")


def how_to_open(uri: str) -> str:
    """A server's address, or the command that serves a local store."""
    if uri.startswith(("http://", "https://")):
        return uri
    return f"mlflow ui --backend-store-uri {uri}"
