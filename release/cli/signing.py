"""keygen, sign and verify: who may say that a release runs, and whether somebody did."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from engines.cli import reports_errors
from release.cli.app import Key, Release, Target, commands

DAY = ["%Y-%m-%d"]


@commands.command()
@reports_errors
def keygen(
    name: Annotated[str, typer.Argument(help="What the key is called.")] = "release",
    begin: Annotated[
        datetime | None,
        typer.Option("--from", formats=DAY, help="First day (UTC) on which it counts."),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--until", formats=DAY, help="Day (UTC) from whose start on it does not."),
    ] = None,
    private: Annotated[
        Path | None,
        typer.Option("--private", help="Where its private half goes, outside release/trust/."),
    ] = None,
    public: Annotated[
        Path | None,
        typer.Option("--public", help="PEM of a key that a token or a cloud keeps: record it."),
    ] = None,
) -> None:
    """Make a key that may sign releases.

    Its private half goes to release/trust/private/NAME.pem, which git leaves out, readable by its
    owner and locked with the passphrase in JETRAIL_KEY_PASSPHRASE if there is one; its public half,
    with the dates, to release/trust/keys/NAME.json, which belongs into git. Nothing is overwritten.

    Examples:

      release keygen plant-2026 --until 2028-01-01

      release keygen token --public token.pem
    """
    from engines.config.workspace import find_workspace
    from release.steps import keygen as step
    from release.terminal import show_key

    workspace = find_workspace()
    key = step.keygen(workspace, name, begin, end, private=private, public=public)
    show_key(workspace, key)


@commands.command()
@reports_errors
def sign(
    tag: Release = None,
    target: Target = None,
    key: Key = None,
    pushed: Annotated[
        bool,
        typer.Option("--pushed", help="Of candidates: first look for what the registry has."),
    ] = False,
) -> None:
    """Sign the files of a release, where its engine is.

    The statement binds every file of the image by its hash, and with them checkpoint, ONNX file,
    data sets, device, measurements, verdict, MLflow version and commit. It is
    release/records/TAG/attestation.json, and `release pack` lays it into the image. Signing again
    changes nothing. Without --key it is the only key in release/trust/private/, or one that this
    clone makes for itself to try with. A passphrase or PIN comes from JETRAIL_KEY_PASSPHRASE.

    With --pushed a candidate that was pushed already keeps the statement of its image in the
    registry, as where a job of CI is run again that could not bring its records to the branch.

    Examples:

      release sign --target x86-openvino

      release sign v1.0-x86-openvino-fp16-3f2a91c04b7e --key hsm:1?label=plant
    """
    from engines.config.default import target_or_default
    from engines.config.workspace import find_workspace
    from engines.errors import InputError
    from release.steps import sign as step
    from release.terminal import line

    if tag and pushed:
        raise InputError(
            "Expected --pushed without a TAG, since it is of the candidates of a target. Leave one "
            "of the two out."
        )
    workspace = find_workspace()
    if tag:
        step.sign_release(workspace, tag, target, key, line)
    else:
        name = target_or_default(workspace, target)
        if pushed:
            from release.steps.take_signed import take_signed

            take_signed(workspace, name, line)
        step.sign_candidates(workspace, name, key, line)


@commands.command()
@reports_errors
def verify(
    what: Annotated[
        str,
        typer.Argument(
            metavar="TAG|DIGEST|FOLDER",
            help="Of release/images; a layout or /models; or registry/repository@sha256:….",
            show_default=False,
        ),
    ],
    keys: Annotated[
        Path | None,
        typer.Option("--keys", help="Folder of trusted keys; default: release/trust/keys."),
    ] = None,
) -> None:
    """Check who signed a release, and every byte of it.

    Signature, the key's dates, each file's hash, the verdict, and that statement, manifest and
    image speak of one release; exit 5 says what does not hold. A folder is checked offline: an OCI
    layout, or the files of /models as a pod has them.

    Examples:

      release verify v1.0-x86-openvino-fp16-3f2a91c04b7e

      release verify /media/usb/layout --keys release/trust/keys

      release verify registry.example/meter@sha256:…
    """
    from engines.config.workspace import find_workspace
    from release.steps import verify as step
    from release.terminal import line, show_checked

    alone = keys is not None and Path(what).is_dir()
    show_checked(step.verify(None if alone else find_workspace(), what, keys, line))
