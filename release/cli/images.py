"""Images: packed, pushed, and the bases that they stand on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from engines import completion
from engines.cli import app, reports_errors
from release.cli.app import Key, Recorded, Release, commands

if TYPE_CHECKING:
    from engines.config.workspace import Workspace

bases = app(
    "Build and push the runtime images that engines stand on.\n\n"
    "They are those of release/bases.yaml.\n\n"
    "Example:\n\n"
    "  release base build x86"
)
commands.add_typer(bases, name="base")


@completion.completes
def _bases(workspace: Workspace, _: typer.Context) -> Iterable[str]:
    from release.image.bases import load_bases

    return load_bases(workspace).bases


BaseName = Annotated[
    str,
    typer.Argument(help="A base of release/bases.yaml.", show_default=False, autocompletion=_bases),
]


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
    tag: Release = None,
    target: Recorded = None,
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

    Without TAG it pushes the candidates.

    What is there is not sent again; what is cut off or refused is tried again with growing pauses,
    for as long as the registry asks. A tag that is another image's there stays it: exit 7, and so
    it is with the chart's version. Who we are comes from JETRAIL_REGISTRY_USER and
    JETRAIL_REGISTRY_PASSWORD, or from where `podman login` and `docker login` keep it. The image is
    signed by its digest in both of cosign's formats, with provenance, verdict and SBOM, by the key
    that `release sign` would take. Where helm is installed, the chart goes along.

    Examples:

      release push v1.0-x86-openvino-fp16-3f2a91c04b7e

      release push --target x86-openvino

      release push v1.0-x86-openvino-fp16-3f2a91c04b7e --registry localhost:5000/jetrail
    """
    from engines.config.workspace import find_workspace
    from release.steps import push as step
    from release.tags import release_of
    from release.terminal import line

    workspace = find_workspace()
    if tag is None:
        step.push_candidates(workspace, target, registry, line, key)
    else:
        step.push(workspace, release_of(tag, target), registry, line, key)


@bases.command("build")
@reports_errors
def build_base(
    name: BaseName,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", help="Handed on to the container engine's `build`; repeatable."),
    ] = None,
) -> None:
    """Build a runtime image with buildah, podman or docker, whichever is here.

    It has what jetrail[runtime] needs, by constraints.txt, without what
    release/bases/NAME/left-out.txt names, and runs as a user that is not root. The image lies in
    release/images/ then, its digest in release/bases.yaml, and what is in it in
    release/bases/NAME/sbom.cdx.json (CycloneDX).

    Examples:

      release base build x86

      release base build x86 --option=--build-arg=FROM=mirror.example.com/python:3.11-slim
    """
    from engines.config.workspace import find_workspace
    from release.steps import base as step
    from release.terminal import line

    step.build_base(find_workspace(), name, tuple(option or ()), line)


@bases.command("push")
@reports_errors
def push_base(name: BaseName, key: Key = None) -> None:
    """Push a runtime image to its repository of release/bases.yaml, and sign it there.

    Its tag is its name; what counts is the digest in release/bases.yaml. It is signed by that
    digest in both of cosign's formats, with its SBOM, by the key that `release push` would take.

    Example:

      release base push x86
    """
    from engines.config.workspace import find_workspace
    from release.steps import base as step
    from release.terminal import line

    step.push_base(find_workspace(), name, line, key)
