"""The command `runtime`: parse, call one subject, map errors to exit codes; nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engines.cli import app, reports_errors

if TYPE_CHECKING:
    from runtime.trust import ExpectedRelease

MODELS = Path("/models")
KEYS = Path("/etc/jetrail/keys")

commands = app("The pod: check an engine that was signed, and run it.")

Folder = Annotated[
    Path | None,
    typer.Argument(
        help="The files of a release; default: the folder of MODEL_PATH, or /models.",
        show_default=False,
    ),
]
Keys = Annotated[
    Path,
    typer.Option(
        "--keys", envvar="TRUSTED_KEYS", help="The trusted keys, mounted apart from the image."
    ),
]
Expected = Annotated[
    str | None,
    typer.Option(
        "--expected",
        envvar="MODEL_VERSION_EXPECTED",
        help="The model's version that must be there; default: any.",
        show_default=False,
    ),
]


@commands.command()
@reports_errors
def check(
    folder: Folder = None,
    keys: Keys = KEYS,
    expected: Expected = None,
    rounds: Annotated[
        int, typer.Option("--rounds", min=0, max=100_000, help="Frames more, for their times.")
    ] = 0,
) -> None:
    """Check that an engine may run here; what was found as JSON.

    The files are there and exactly those that a trusted key signed, the version is the expected
    one, the engine is of this device, and it finds its golden boxes. Nothing but local files is
    read. Ends with 0, 2 (something is missing) or 5 (not trusted, or wrong here).

    Examples:

      runtime check

      runtime check ./models --keys release/trust/keys --rounds 200
    """
    from engines.errors import JetrailError
    from runtime.check import admit, refusal

    try:
        admitted = admit(_wanted(folder, keys, expected), rounds=rounds)
    except JetrailError as error:
        print(refusal(error).model_dump_json(indent=2, by_alias=True))
        raise
    admitted.detector.close()
    print(admitted.report.model_dump_json(indent=2, by_alias=True))


@commands.command()
@reports_errors
def serve(
    folder: Folder = None,
    keys: Keys = KEYS,
    expected: Expected = None,
    port: Annotated[
        int,
        typer.Option("--port", envvar="PORT", min=0, max=65535, help="To answer on; 0: any free."),
    ] = 8080,
    deadline_ms: Annotated[
        int,
        typer.Option(
            "--deadline-ms",
            envvar="HEALTH_DEADLINE_MS",
            min=1,
            help="Within which the engine answers, or the pod is not healthy.",
        ),
    ] = 1000,
) -> None:
    """Check it, then serve health and metrics until SIGTERM.

    GET /health/live says that the process lives, /health/inference that the engine finds its golden
    boxes in time (200, or 503 with the reason), /metrics is Prometheus'. No port is open before
    the check is through.

    Example:

      runtime serve --port 8080
    """
    from runtime import pod

    pod.serve(_wanted(folder, keys, expected), port=port, deadline_s=deadline_ms / 1e3)


def _wanted(folder: Path | None, keys: Path, expected: str | None) -> ExpectedRelease:
    """The chart says where the engine is by MODEL_PATH, as a file of the folder."""
    from runtime.trust import ExpectedRelease

    path = os.environ.get("MODEL_PATH")
    engine = Path(path) if path and folder is None else None
    return ExpectedRelease(
        folder=folder or (engine.parent if engine else MODELS),
        keys=keys,
        version=expected,
        engine_file=engine.name if engine else None,
    )


def main() -> None:
    """Entry point of the command."""
    commands()


if __name__ == "__main__":
    main()
