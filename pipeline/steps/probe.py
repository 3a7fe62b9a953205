"""Probe: this device's fingerprint to `engines/targets/<target>/out/device.json`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from engines.config.target import load_target, readable_targets
from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.machine.fingerprint import read_fingerprint
from engines.records.fingerprint import Fingerprint
from pipeline.device.recognition import check_target


def probe(workspace: Workspace, target_name: str) -> Fingerprint:
    """Read the fingerprint, and write it when it changed: with the target's own package only, since
    others come and go beside it, as `make test` brings one, and all would be built again.

    Raises WrongEngine when this device is not the target's, with the targets that it is of.
    """
    target = load_target(workspace, target_name)
    fingerprint = read_fingerprint()
    others = partial(readable_targets, workspace)
    check_target(fingerprint, target, target.build_device, others)
    package = target.package.name
    own = {"backends": {package: fingerprint.backends[package]}}
    fingerprint = fingerprint.model_copy(update=own)
    path = workspace.device_file(target_name)
    if _read(path) != fingerprint:
        fingerprint.write(path)
    # The stage `report` depends on these, which a target without engines has nothing to put into.
    for folder in ("summary", "latency"):
        (path.parent / folder).mkdir(exist_ok=True)
    return fingerprint


def _read(path: Path) -> Fingerprint | None:
    """What an earlier probe wrote; None when there is nothing that can be read."""
    try:
        return Fingerprint.read(path)
    except InputError:
        return None
