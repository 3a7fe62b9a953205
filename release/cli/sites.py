"""Commands about sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engines import completion
from engines.cli import reports_errors
from release.cli.app import OneTarget, commands

if TYPE_CHECKING:
    from engines.config.workspace import Workspace


@completion.completes
def _sites(workspace: Workspace, _: typer.Context) -> list[str]:
    from release.sites.folder import site_names

    return site_names(workspace)


@commands.command(name="add-site")
@reports_errors
def add_site(
    name: Annotated[str, typer.Argument(help="The site; its cluster's label.", show_default=False)],
    target: OneTarget,
    ring: Annotated[
        str,
        typer.Option(
            "--ring", help="A ring of release/rings.yaml.", autocompletion=completion.rings
        ),
    ],
    camera: Annotated[
        list[str] | None,
        typer.Option("--camera", help="An address, or name=address, or name=address@@secret."),
    ] = None,
    location: Annotated[str, typer.Option("--location", help="Where it is, in words.")] = "",
    confidence: Annotated[
        float | None, typer.Option("--confidence", help="From which on pods speak of an object.")
    ] = None,
) -> None:
    """Lay out the folder of a new site.

    release/fleet/sites/NAME gets a ConfigMap with the site's cameras, threshold and location, and a
    fleet.yaml that brings it to the cluster with the label `site: NAME`. Credentials of a camera
    stay in a Secret of that cluster, which is named here and no more.

    Example:

      release add-site dock-7 --target x86-openvino --ring canary --camera gate=rtsp://10.0.7.10/1
    """
    from engines.config.workspace import find_workspace
    from release.steps import add_site as step
    from release.terminal import show_site

    workspace = find_workspace()
    added = step.add_site(
        workspace,
        name,
        target=target,
        ring=ring,
        cameras=camera or [],
        location=location,
        confidence=confidence,
    )
    show_site(workspace, added)


@commands.command()
@reports_errors
def sites(
    action: Annotated[
        str | None, typer.Argument(help="`import` and a table.", show_default=False)
    ] = None,
    table: Annotated[
        Path | None,
        typer.Argument(
            help="CSV: site,target,ring,location,confidence,cameras.", show_default=False
        ),
    ] = None,
) -> None:
    """List the sites and check them, or import many.

    Every folder of release/fleet/sites is checked; exit 2 where one is wrong. `import` lays out
    those of a table that have no folder yet, and leaves the others as they are.

    Examples:

      release sites

      release sites import inventory.csv
    """
    from engines.config.workspace import find_workspace
    from engines.errors import InputError
    from release.steps import sites as step
    from release.terminal import line, show_sites

    workspace = find_workspace()
    if action is None:
        show_sites(step.sites(workspace))
        return
    if action != "import" or table is None:
        raise InputError(
            "Expected `release sites` or `release sites import TABLE`, got something else. See "
            "`release sites --help`."
        )
    step.import_sites(workspace, table, line)


@commands.command()
@reports_errors
def bundle(
    site: Annotated[
        str | None,
        typer.Option("--site", help="A folder under release/fleet/sites/.", autocompletion=_sites),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file; default: jetrail-SITE.tar.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", envvar="JETRAIL_SIGNING_KEY", help="As of `release sign`: a file or a URI."
        ),
    ] = None,
    verify: Annotated[
        Path | None, typer.Option("--verify", help="Check this bundle instead of making one.")
    ] = None,
) -> None:
    """Write all that a site without a network runs into one file.

    Image archives as K3s imports them, chart, values, statements, public keys, and a shell script
    that checks all of it at the site against the keys there, then installs. It works from this
    clone and from release/images.

    Examples:

      release bundle --site dock-7

      release bundle --verify jetrail-dock-7.tar
    """
    from engines.config.workspace import find_workspace
    from engines.errors import InputError
    from release.steps import bundle as step
    from release.terminal import line

    workspace = find_workspace()
    if (site is None) == (verify is None):
        raise InputError("Expected --site NAME or --verify FILE. See `release bundle --help`.")
    if verify is not None:
        line(f"{verify}: whole, signed by {step.verify(workspace, verify).name}")
    elif site is not None:
        step.bundle(workspace, site, out, key, line)
