"""The command `release`: parse, call one step, map errors to exit codes; nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from engines.cli import reports_errors
from release.cli import moves, signing, sites  # noqa: F401  # they register their commands
from release.cli.app import Recorded, Release, Target, commands

FleetVersion = Annotated[
    str | None,
    typer.Option(
        "--fleet-version", help="Fleet's version, as 0.15 or 0.16.1; default: the newest known."
    ),
]


@commands.command()
@reports_errors
def publish(
    target: Target = None,
    engine: Annotated[
        str | None, typer.Option("--engine", "-e", help="Only this engine of the target.")
    ] = None,
) -> None:
    """Publish the engines of a target that passed to MLflow.

    Each gets a run with its figures and files, and a version of the registered model
    <model>.<target>, and a record in release/records/; the best by the target's policy gets the
    alias `candidate`. Engines that did not pass are left out, and a model of which all fail loses
    the alias. Publishing again makes nothing twice. MLflow is a file in the repository, or the
    server that MLFLOW_TRACKING_URI names.

    Examples:

      release publish --target x86-openvino

      release publish --target x86-openvino --engine meter-yolov8n-fp16
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from release.steps import publish as step
    from release.terminal import line, show_published

    workspace = find_workspace()
    chosen = target_or_default(workspace, target)
    show_published(step.publish(workspace, chosen, engine, line))


@commands.command()
@reports_errors
def pack(tag: Release = None, target: Recorded = None) -> None:
    """Make the image of a signed release, where its engine is.

    The engine, its records and the attestation become the layer /models of an image in
    release/images/, an OCI layout that all releases share. It needs no container engine and no
    root. The same files make the same image on any machine, and packing again changes nothing.
    Without TAG and --target it packs every candidate whose engine is on this machine.

    Examples:

      release pack --target x86-openvino

      release pack v1.0-x86-openvino-fp16-3f2a91c04b7e
    """
    from engines.config.workspace import find_workspace
    from release.steps import pack as step
    from release.terminal import line

    step.pack(find_workspace(), tag, target, line)


@commands.command()
@reports_errors
def push(
    tag: Annotated[str, typer.Argument(help="A release that is packed.", show_default=False)],
    registry: Annotated[
        str | None,
        typer.Option(
            "--registry",
            help="Where to, as registry.example.com/jetrail; the model's name is added. Default: "
            "image.repository of the first ring's fleet.yaml.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Push the image of a release to a registry.

    What is there is not sent again; what is cut off or refused is tried again with growing pauses,
    for as long as the registry asks. A tag that is another image's there stays it: exit 7. Who we
    are comes from JETRAIL_REGISTRY_USER and JETRAIL_REGISTRY_PASSWORD, or from where `podman login`
    and `docker login` keep it.

    Examples:

      release push v1.0-x86-openvino-fp16-3f2a91c04b7e

      release push v1.0-x86-openvino-fp16-3f2a91c04b7e --registry localhost:5000/jetrail
    """
    from engines.config.workspace import find_workspace
    from release.steps import push as step
    from release.terminal import line

    step.push(find_workspace(), tag, registry, line)


@commands.command()
@reports_errors
def write(target: Recorded = None) -> None:
    """Write the candidates to the first ring.

    Each model's candidate goes to release/fleet/<model>/<target>/<ring>/release.yaml, for every
    target there is a record of. It works from release/records/ and needs no engine.

    Example:

      release write --target x86-openvino
    """
    from engines.config.workspace import find_workspace
    from release.steps import write as step
    from release.terminal import line

    step.write(find_workspace(), target, line)


@commands.command()
@reports_errors
def simulate(
    clusters: Annotated[
        Path,
        typer.Option(
            "--clusters",
            "-c",
            help="Inventory: YAML with `clusters:`, or kubectl's JSON of Fleet's Cluster objects.",
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
    from release.rollout.simulation.result import Asked
    from release.steps import simulate as step
    from release.terminal import line

    asked = Asked(
        clusters=clusters,
        bad=bad,
        offline=offline,
        fleet_version=fleet_version,
        minutes=minutes,
        base=base,
    )
    simulation = step.simulate(find_workspace(), asked)
    step.tell(simulation, line, as_json=as_json, out=out)


def main() -> None:
    """Entry point of the command."""
    commands()


if __name__ == "__main__":
    main()
