"""The command `release`: parse, call one step, map errors to exit codes; nothing else."""

from __future__ import annotations

from typing import Annotated

import typer

from engines.cli import app, reports_errors

commands = app("From engines that pass to the image tags that Fleet rolls out.")

Target = Annotated[str, typer.Option("--target", "-t", help="A folder under engines/targets/.")]

DEFAULT_TARGET = "x86-openvino"


@commands.command()
@reports_errors
def publish(
    target: Target = DEFAULT_TARGET,
    engine: Annotated[
        str | None, typer.Option("--engine", "-e", help="Only this engine of the target.")
    ] = None,
) -> None:
    """Publish the engines of a target that passed to MLflow.

    Each gets a run with its figures and files, and a version of the registered model
    <model>.<target>; the best by the target's policy gets the alias `candidate`. Engines that did
    not pass are left out, and a model of which none does any more loses the alias. Publishing
    again makes nothing twice. MLflow is a file in the repository, or the server that
    MLFLOW_TRACKING_URI names.

    Examples:

      release publish --target x86-openvino

      release publish --target x86-openvino --engine meter-yolov8n-fp16
    """
    from engines.config.workspace import find_workspace
    from release.steps import publish as step
    from release.terminal import line, show_published

    workspace = find_workspace()
    published = step.publish(workspace, target, engine, line)
    show_published(published, step.shown_uri(workspace))


@commands.command()
@reports_errors
def write(target: Target = DEFAULT_TARGET) -> None:
    """Write the tags of a target's candidates into fleet.yaml.

    The tag goes to the canary entry of release/fleet/inference/fleet.yaml for the target; all
    else in the file stays as it is, comments and spaces too.

    Example:

      release write --target x86-openvino
    """
    from engines.config.workspace import find_workspace
    from release.steps import write as step
    from release.terminal import line

    step.write(find_workspace(), target, line)


@commands.command()
@reports_errors
def status(target: Target = DEFAULT_TARGET) -> None:
    """Show what a target has in MLflow and in its rings.

    Example:

      release status --target x86-openvino
    """
    from engines.config.workspace import find_workspace
    from release.steps import status as step
    from release.terminal import show_status

    show_status(step.status(find_workspace(), target))


def main() -> None:
    """Entry point of the command."""
    commands()


if __name__ == "__main__":
    main()
