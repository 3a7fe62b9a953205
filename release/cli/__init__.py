"""The command `release`: parse, call one step, map errors to exit codes; nothing else.

app        the app itself, and options of several commands
signing    keygen, sign, verify
images     pack, push, and the bases that images stand on
smoke      the image of a release, run on this machine
rollout    lint, simulate: what Fleet makes of the files
moves      what rings run, and moves from one to the next
sites      sites, one or many, and the file for one without a network

publish and write are here.
"""

from __future__ import annotations

from typing import Annotated

import typer

from engines import completion
from engines.cli import reports_errors
from release.cli import (  # noqa: F401  # they register their commands
    images,
    moves,
    rollout,
    signing,
    sites,
    smoke,
)
from release.cli.app import Recorded, Target, commands
from release.cli.moves import Request


@commands.command()
@reports_errors
def publish(
    target: Target = None,
    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            "-e",
            help="Only this engine of the target.",
            autocompletion=completion.engines,
        ),
    ] = None,
    pushed: Annotated[
        bool, typer.Option("--pushed", help="First bring the records that Fleet's branch has.")
    ] = False,
) -> None:
    """Publish the engines of a target that passed to MLflow.

    Each gets a run with its figures and files, and a version of the registered model
    <model>.<target>, and a record in release/records/; the best by the target's policy gets the
    alias `candidate`. Engines that did not pass are left out, and a model of which all fail loses
    the alias. Publishing again makes nothing twice. MLflow is a file in the repository, or the
    server that MLFLOW_TRACKING_URI names.

    With --pushed a clone goes on from the records that a repository of Fleet's own has of the
    target: which release is the candidate, and with what each was published. Elsewhere `git pull`
    does it.

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
    if pushed:
        from release.steps.take_records import take_records

        take_records(workspace, chosen, line)
    show_published(step.publish(workspace, chosen, engine, line))


@commands.command()
@reports_errors
def write(
    target: Recorded = None,
    push: Annotated[
        bool, typer.Option("--push", help="Then commit and push it, with the records.")
    ] = False,
    request: Request = False,
) -> None:
    """Write the candidates to the first ring.

    Each model's candidate goes to release/fleet/<model>/<target>/<ring>/release.yaml, for every
    target there is a record of. It works from release/records/ and needs no engine.

    With --push a commit a ring goes to the branch that Fleet reads, together with the records that
    are new. What somebody else changed there meanwhile is exit 7, and a ring that went back from a
    release does not get it again.

    Examples:

      release write --target x86-openvino

      release write --target x86-openvino --push
    """
    from engines.config.workspace import find_workspace
    from release.steps import write as step
    from release.terminal import line

    workspace = find_workspace()
    written = step.write(workspace, target, line)
    if push or request:
        from release.steps.hand_over import hand_over

        hand_over(workspace, target, written, request=request, say=line)


def main() -> None:
    """Entry point of the command."""
    commands()
