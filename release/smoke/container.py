"""One command in a container that may do nothing but its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engines.errors import InputError, ServiceError
from release.smoke.tool import PODMAN, Done, call, found, last_line

MOUNT = "/release"
"""Where an image on no base is mounted."""
NOT_RUN = (125, 126, 127)
"""Exit codes of the engine itself: the container did not run, or not what it was told to."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is run."""

    image: str
    """Its id."""
    command: Sequence[str]
    keys: Path
    """Folder of trusted keys, which everybody may read."""
    memory_mib: int
    mounted: str | None = None
    """Id of an image that is mounted at MOUNT."""
    seconds: float = 600


def run(wanted: Run) -> Done:
    """Run the command as the chart does: another user than root, a read-only root and nowhere to
    write, no capabilities, no network, bounded memory.

    Raises ServiceError where it cannot run.
    """
    tool = found()
    done = call(_arguments(tool, wanted), wanted.seconds)
    if done.code in NOT_RUN:
        raise ServiceError(
            f"Expected {tool} to run {' '.join(wanted.command)} in the image, but it says: "
            f"{last_line(done.err)}. Try `{tool} info`, then run again."
        )
    return done


def _arguments(tool: str, wanted: Run) -> list[str]:
    arguments = [tool, "run", "--rm", "--pull", "never", "--network", "none"]
    arguments += ["--user", "1000:1000", "--read-only", "--cap-drop", "all"]
    arguments += ["--security-opt", "no-new-privileges", "--pids-limit", "512"]
    arguments += ["--memory", f"{wanted.memory_mib}m", "--memory-swap", f"{wanted.memory_mib}m"]
    arguments += ["--volume", f"{wanted.keys}:/etc/jetrail/keys:ro"]
    if tool == PODMAN:  # docker gives a read-only container no folders to write to
        arguments += ["--read-only-tmpfs=false", "--entrypoint", "[]"]
    else:
        arguments += ["--entrypoint", ""]
    if wanted.mounted is not None:
        arguments += ["--mount", f"type=image,source={wanted.mounted},destination={MOUNT}"]
    return [*arguments, wanted.image, *wanted.command]


def check_mountable() -> None:
    """Raise InputError where the engine that is here mounts no images."""
    tool = found()
    if tool != PODMAN:
        raise InputError(
            f"Expected {PODMAN}, since the image holds its engine only and is mounted, got {tool}, "
            f"which mounts no images. Install {PODMAN}, or let the target stand on a base."
        )
