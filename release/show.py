"""What the commands say on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from release.records import Published


def line(text: str) -> None:
    """One line of progress."""
    Console(highlight=False, soft_wrap=True).print(Text(text))


def show_published(published: Published, uri: str) -> None:
    """The releases of a target, its candidates, and how to open MLflow."""
    if not published.engines:
        line(f"{published.target}: nothing to publish, since no engine has the verdict PASS")
        return
    chosen = {candidate.release for candidate in published.candidates.values()}
    table = Table(box=None, pad_edge=False)
    for heading in ("release", "registered model", "version", "alias"):
        table.add_column(heading, overflow="fold")
    for engine in published.engines:
        alias = "candidate" if engine.release in chosen else ""
        table.add_row(engine.release, engine.registered_model, str(engine.version), alias)
    console = Console(highlight=False)
    console.print(table)
    for model, candidate in published.candidates.items():
        line(f"{model}: {candidate.engine} is the candidate ({candidate.reason})")
    server = uri.startswith(("http://", "https://"))
    line(f"MLflow: {uri}" if server else f"MLflow: mlflow ui --backend-store-uri {uri}")
