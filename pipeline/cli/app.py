"""The app that every command of `pipeline` is registered with, and options of several of them."""

from __future__ import annotations

from typing import Annotated

import typer

from engines import completion
from engines.cli import app

commands = app("From a YOLOv8 checkpoint to a verdict on each engine of a target.")

Model = Annotated[
    str,
    typer.Argument(
        help="A folder under models/.", show_default=False, autocompletion=completion.models
    ),
]
Engine = Annotated[
    str,
    typer.Argument(
        help="<model>-<precision>, for example meter-yolov8n-fp16.",
        autocompletion=completion.engines,
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
