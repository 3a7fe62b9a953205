"""`pipeline doctor`: what this machine is, what it can build and measure, and what is missing."""

from __future__ import annotations

from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import WrongEngine
from engines.machine.fingerprint import describe
from pipeline.device.diagnosis import Diagnosis, diagnose
from pipeline.device.record import record_device


def doctor(workspace: Workspace) -> Diagnosis:
    """Look at this machine, for every target under engines/targets."""
    return diagnose(workspace)


def raise_unless_useful(diagnosis: Diagnosis) -> None:
    """Raise WrongEngine when no target can be built here."""
    if any(target.build == () for target in diagnosis.targets):
        return
    fixable = [target.name for target in diagnosis.targets if target.build]
    remedy = f"Do what is said above of {' or '.join(fixable)}" if fixable else "Use another device"
    raise WrongEngine(
        "Expected a machine that can build the engines of at least one target, got "
        f"{describe(diagnosis.device)}, which can build none of the {len(diagnosis.targets)} under "
        f"engines/targets. {remedy}, or add a target for this machine with `pipeline add-target "
        "NAME --from TARGET`."
    )


def record(folder: Path) -> str:
    """Save this machine's files and tool outputs to a new or empty folder; says what was done.

    Raises InputError where the folder is neither.
    """
    files = record_device(folder)
    return (
        f"Recorded {len(files)} files to {folder}, without serial numbers, network addresses and "
        "the machine's name. Look through them before you pass them on."
    )
