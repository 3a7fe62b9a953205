"""smoke: the image of a release, run in a container of this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from engines import completion
from engines.cli import reports_errors
from release.cli.app import commands


@commands.command()
@reports_errors
def smoke(
    tag: Annotated[
        str,
        typer.Argument(
            help="A release that is packed.",
            show_default=False,
            autocompletion=completion.releases,
        ),
    ],
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            help="Runtime image of release/images/ for an image on no base; default: the only one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the image of a release as a cluster would run it.

    By podman or docker, from release/images/ and by its digest: not as root, with a read-only root,
    no capabilities, no network, and the memory that the row's budget allows. Docker mounts no
    images, so one on no base wants podman. `runtime check` in it
    finds signature, device and golden boxes, and takes times: the p99 must keep the budget. The
    result is release/records/TAG/smoke.json. Exit 3: too slow; 5: refused.

    Examples:

      release smoke v1.0-x86-openvino-fp16-3f2a91c04b7e

      release smoke v1.0-x86-openvino-fp16-3f2a91c04b7e --runtime base-x86
    """
    from engines.config.workspace import find_workspace
    from release.steps import smoke as step
    from release.terminal import line

    step.smoke(find_workspace(), tag, runtime, line)
