"""The command `release`: parse, call one step, map errors to exit codes; nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from engines.cli import reports_errors
from release.cli import (  # noqa: F401  # they register their commands
    moves,
    rollout,
    signing,
    sites,
    smoke,
)
from release.cli.app import Key, Recorded, Release, Target, commands


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
    key: Key = None,
) -> None:
    """Push the image of a release to a registry, and sign it there.

    What is there is not sent again; what is cut off or refused is tried again with growing pauses,
    for as long as the registry asks. A tag that is another image's there stays it: exit 7. Who we
    are comes from JETRAIL_REGISTRY_USER and JETRAIL_REGISTRY_PASSWORD, or from where `podman login`
    and `docker login` keep it. The image is signed by its digest in both of cosign's formats, with
    provenance, verdict and SBOM, by the key that `release sign` would take.

    Examples:

      release push v1.0-x86-openvino-fp16-3f2a91c04b7e

      release push v1.0-x86-openvino-fp16-3f2a91c04b7e --registry localhost:5000/jetrail
    """
    from engines.config.workspace import find_workspace
    from release.steps import push as step
    from release.terminal import line

    step.push(find_workspace(), tag, registry, line, key)


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


def main() -> None:
    """Entry point of the command."""
    commands()


if __name__ == "__main__":
    main()
