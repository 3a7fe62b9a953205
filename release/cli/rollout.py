"""Commands on what Fleet makes of the files: looked over, and played before it happens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli import reports_errors
from engines.errors import InputError
from release.cli.app import commands

CLUSTERS = "Inventory: YAML with `clusters:`, or kubectl's JSON of Fleet's Cluster objects."

FleetVersion = Annotated[
    str | None,
    typer.Option(
        "--fleet-version", help="Fleet's version, as 0.15 or 0.16.1; default: the newest known."
    ),
]


@commands.command()
@reports_errors
def lint(
    clusters: Annotated[
        Path | None, typer.Option("--clusters", "-c", help=CLUSTERS, show_default=False)
    ] = None,
    fleet_version: FleetVersion = None,
    form: Annotated[str, typer.Option("--format", help="text, sarif or gitlab.")] = "text",
    explain: Annotated[
        str | None, typer.Option("--explain", help="Tell of one rule, by its code, and end.")
    ] = None,
    registry_check: Annotated[
        bool,
        typer.Option(
            "--registry-check", help="Ask the registry for each ring's image and chart, too."
        ),
    ] = False,
) -> None:
    """Say what Fleet would do wrong, and a cluster would refuse.

    All of release/fleet, by the version of Fleet, and against the clusters where an inventory is
    given. It reads files and records only, and with --registry-check asks the registry. Each
    finding has a code, a place and what to do. Exit 2 where one of them is an error; warnings and
    notes are none. `# lint: allow CODE` in a fleet.yaml takes findings of that code in it away.

    Examples:

      release lint --clusters clusters.yaml

      release lint --fleet-version 0.14 --format gitlab > gl-code-quality-report.json

      release lint --explain atomic
    """
    from engines.config.workspace import find_workspace
    from release.steps import lint as step
    from release.terminal import line

    if explain is not None:
        line(step.explained(explain))
        return
    workspace = find_workspace()
    linted = step.lint(
        workspace,
        clusters=clusters,
        fleet_version=fleet_version,
        form=form,
        in_registry=step.asks_registry(workspace, line) if registry_check else None,
    )
    line(linted.text)
    if linted.failed:
        raise typer.Exit(InputError.exit_code)


@commands.command()
@reports_errors
def simulate(
    clusters: Annotated[
        Path,
        typer.Option(
            "--clusters",
            "-c",
            help=CLUSTERS,
            show_default=False,
        ),
    ],
    bad: Annotated[
        str | None, typer.Option("--bad", help="An image tag that never gets ready.")
    ] = None,
    offline: Annotated[
        str | None, typer.Option("--offline", help="Clusters out of reach: 30% or a number.")
    ] = None,
    fleet_version: FleetVersion = None,
    minutes: Annotated[int, typer.Option("--minutes", help="How long to play.")] = 60,
    base: Annotated[
        str | None,
        typer.Option(
            "--from", help="Commit that clusters run, or `nothing`; default: see docs/rollout.md."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for simulation.json, simulation.png, simulation.html."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON in place of the table.")] = (
        False
    ),
) -> None:
    """Play what the next sync of Fleet does, before it happens.

    Who gets what and when, where a bad image stops, how many sites it reaches, which are held and
    by whom. What is not committed, or not pushed, is compared with what clusters run. It asks
    nobody and changes nothing.

    Examples:

      release simulate --clusters clusters.yaml

      release simulate --clusters clusters.yaml --bad v1.1-x86-openvino-int8-… --offline 30%
    """
    from engines.config.workspace import find_workspace
    from release.rollout.simulation.result import SimulationInput
    from release.steps import simulate as step
    from release.terminal import line

    asked = SimulationInput(
        clusters=clusters,
        bad=bad,
        offline=offline,
        fleet_version=fleet_version,
        minutes=minutes,
        base=base,
    )
    simulation = step.simulate(find_workspace(), asked)
    step.tell(simulation, line, as_json=as_json, out=out)
