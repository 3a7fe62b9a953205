"""/models is what a trusted key signed, and what this pod was told to run. Local files only."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.errors import WrongEngine
from engines.records.attestation import Verified
from engines.records.folder import EngineFolder
from engines.records.manifest import Manifest
from engines.records.signed_folder import verify_folder
from engines.records.trusted_key import read_keys


@dataclass(frozen=True, kw_only=True)
class ExpectedRelease:
    """What this pod was told to run, and whom to trust."""

    folder: Path
    """`/models` of the image."""
    keys: Path
    """The trusted keys, mounted apart from the image."""
    version: str | None = None
    """The model's version that is expected; None: any."""
    engine_file: str | None = None
    """The engine's name in the folder; None: the manifest's."""


def check_trust(wanted: ExpectedRelease) -> tuple[Verified, Manifest]:
    """The statement that was signed, with its key, and the manifest beside it.

    Raises WrongEngine where the folder is not what was signed or not what was asked for, and
    InputError where there is no key.
    """
    verified = verify_folder(wanted.folder, read_keys(wanted.keys))
    manifest = EngineFolder(wanted.folder).read(Manifest)
    _check_wanted("model version", wanted.version, manifest.model_version, wanted.folder)
    _check_wanted("engine file", wanted.engine_file, manifest.engine_file, wanted.folder)
    return verified, manifest


def _check_wanted(what: str, expected: str | None, found: str, folder: Path) -> None:
    if expected is not None and expected != found:
        raise WrongEngine(
            f"Expected the {what} {expected}, got {found} in {folder}. The image and the values of "
            "its release.yaml belong together: roll out both, or write release.yaml again."
        )
