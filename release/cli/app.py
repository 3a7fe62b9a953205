"""The app that every command of `release` is registered with, and options of several of them."""

from __future__ import annotations

from typing import Annotated

import typer

from engines import completion
from engines.cli import app

commands = app("From engines that pass to the image tags that Fleet rolls out.")

Recorded = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="Only this target; default: all with a record.",
        show_default=False,
        autocompletion=completion.targets,
    ),
]
Target = Annotated[
    str | None,
    typer.Option(
        "--target",
        "-t",
        help="A folder under engines/targets/; default: `target` of params.yaml.",
        show_default=False,
        autocompletion=completion.targets,
    ),
]
OneTarget = Annotated[
    str,
    typer.Option(
        "--target",
        "-t",
        help="A folder under engines/targets/.",
        show_default=False,
        autocompletion=completion.targets,
    ),
]
Release = Annotated[
    str | None,
    typer.Argument(
        help="A release; default: the candidates.",
        show_default=False,
        autocompletion=completion.releases,
    ),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        envvar="JETRAIL_SIGNING_KEY",
        show_envvar=True,
        help="File of the private key, or its URI: hsm:, gcpkms:, awskms:, azurekms:, hv:.",
    ),
]
