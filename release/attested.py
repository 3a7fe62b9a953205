"""What the attestation of a release tells before it runs somewhere: whether pods trust it, and what
device it was measured on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import listed
from engines.records.attestation import Statement, verify_envelope
from engines.records.trusted_key import read_keys
from release.records import attestation_path

MEASURED_ON = ("jetpack", "backend", "architecture")
"""Labels of clusters that are compared with the device that the verdict is of, where they stand."""


def why_not_trusted(workspace: Workspace, release: str) -> str:
    """Why pods that are given release/trust/keys refuse a release when they start; empty where they
    do not, or where there is no key yet."""
    try:
        trusted_statement(workspace, release)
    except (InputError, WrongEngine) as error:
        return str(error).split(". ")[0]
    return ""


def trusted_statement(workspace: Workspace, release: str) -> Statement | None:
    """What a key in release/trust/keys signed of a release; None where there is no key yet. Raises
    WrongEngine where none of them signed it."""
    path, keys = attestation_path(workspace, release), workspace.trusted_keys
    where = f"attestation.json of {release}"
    if not listed(keys, "*.json"):
        return None
    if not path.is_file():
        raise WrongEngine(f"there is no {where}")
    return verify_envelope(path.read_bytes(), read_keys(keys), where=where).statement


def measured_on(statement: Statement) -> dict[str, str]:
    """The device that the statement speaks of, by the names of MEASURED_ON."""
    said = statement.predicate
    return {
        "jetpack": said.device.jetpack or "",
        "backend": said.backend,
        "architecture": said.device.architecture,
    }


def labelled_otherwise(labels: Mapping[str, str], measured: Mapping[str, str]) -> list[str]:
    """The labels of a cluster that name something else than a release was measured on."""
    return [
        f"{key} {labels[key]}"
        for key in MEASURED_ON
        if key in labels and not _same(labels[key], measured[key])
    ]


def _same(label: str, measured: str) -> bool:
    """Whether a label names the version that was measured on; it may be shorter or longer."""
    parts = [re.split(r"[.+_-]", text) for text in (label, measured)]
    return bool(measured) and all(one == other for one, other in zip(*parts, strict=False))
