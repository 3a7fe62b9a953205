"""`/models` of an image, or a copy of it, held against the statement that was signed of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from engines.errors import WrongEngine
from engines.files import sha256_file
from engines.records.attestation import (
    FILE,
    MAX_BYTES,
    Predicate,
    Statement,
    Verified,
    verify_envelope,
)
from engines.records.explain import explain
from engines.records.manifest import Manifest
from engines.records.record import Record
from engines.records.trusted_key import TrustedKey
from engines.records.verdict import Verdict

AnyRecord = TypeVar("AnyRecord", bound=Record)


def verify_folder(
    folder: Path,
    keys: Iterable[TrustedKey],
    now: datetime | None = None,
    *,
    where: str | None = None,
) -> Verified:
    """Check all that can be checked of `/models`, or of a copy of it, without running the engine.

    The signature and its key's dates (`verify_envelope`), every file (`check_files`), and that
    manifest and verdict say what the statement says. Raises WrongEngine with the cause; `where`
    stands in it for a folder that is only a copy.
    """
    where = where or str(folder)
    _entries(folder, where)
    data = _read_bounded(folder / FILE, where)
    verified = verify_envelope(data, keys, now, where=f"{where}/{FILE}")
    check_files(verified.statement, folder, where=where)
    check_records(
        verified.statement,
        manifest_json=_read_signed(verified.statement, folder / Manifest.file),
        verdict_json=_read_signed(verified.statement, folder / Verdict.file),
    )
    return verified


def check_files(statement: Statement, folder: Path, *, where: str | None = None) -> None:
    """Raise WrongEngine unless `folder` holds exactly the files that were signed, byte for byte,
    and the statement itself."""
    where = where or str(folder)
    entries = _entries(folder, where)
    known = {name: path for name, path in entries.items() if name in statement.files}
    check_hashes(
        statement,
        {name: sha256_file(path) for name, path in known.items()}
        | dict.fromkeys(entries.keys() - known.keys(), ""),
        where=where,
    )


def _entries(folder: Path, where: str) -> dict[str, Path]:
    """The plain files of the folder by name, but for the statement."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    if not found:
        raise WrongEngine(
            f"Expected the files of a release in {where}, got an empty folder or none. See that "
            "the image is mounted there."
        )
    for path in found:
        if path.is_symlink() or not path.is_file():
            raise WrongEngine(
                f"Expected plain files only in {where}, got {path.name}, which is a link or a "
                "folder. Nobody signed for what it leads to: take the release's image again."
            )
    return {path.name: path for path in found if path.name != FILE}


def check_hashes(statement: Statement, found: Mapping[str, str], *, where: str) -> None:
    """Raise WrongEngine unless `found` (name to sha256) is what was signed: no file altered, none
    missing, none extra."""
    signed = statement.files
    for name in sorted(signed.keys() | found.keys()):
        if name not in found:
            problem = f"{name} is missing"
        elif name not in signed:
            problem = f"{name} is there, for which nobody signed"
        elif signed[name] != found[name]:
            problem = (
                f"{name} was altered: its sha256 is {found[name][:12]}…, and {signed[name][:12]}… "
                "was signed"
            )
        else:
            continue
        raise WrongEngine(
            f"Expected exactly the files that {FILE} names in {where}, but {problem}. Take the "
            "release's image again, or publish, sign and pack it again."
        )


def check_records(statement: Statement, *, manifest_json: bytes, verdict_json: bytes) -> None:
    """Raise WrongEngine unless manifest and verdict say what the statement says, of the engine and
    of its device: a right signature over another device's engine is worth nothing."""
    manifest = _parse(Manifest, manifest_json)
    for name, signed, found in _twice_told(statement.predicate, manifest):
        if signed != found:
            raise WrongEngine(
                f"{FILE} was signed for another engine than the one it lies beside: it says "
                f"{name} {signed}, {Manifest.file} says {found}. Publish, sign and pack the "
                "release again."
            )
    if statement.files.get(manifest.engine_file) != manifest.engine_sha256:
        raise WrongEngine(
            f"{FILE} does not bind the engine: {Manifest.file} names {manifest.engine_file} with "
            f"sha256 {manifest.engine_sha256[:12]}…, which was not signed. Sign the release again."
        )
    verdict = _parse(Verdict, verdict_json)
    if (verdict.verdict, verdict.engine_sha256) != ("PASS", manifest.engine_sha256):
        raise WrongEngine(
            f"Expected PASS for the engine {manifest.engine_sha256[:12]} in {Verdict.file}, got "
            f"{verdict.verdict} for {verdict.engine_sha256[:12]}. Release an engine that passed "
            "its gate."
        )


def _parse(kind: type[AnyRecord], data: bytes) -> AnyRecord:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise WrongEngine(
            f"{kind.file} is not what `{kind.written_by}` writes: {explain(error)}. "
            "Publish, sign and pack the release again."
        ) from error


def _twice_told(predicate: Predicate, manifest: Manifest) -> list[tuple[str, Any, Any]]:
    """What stands in both: its name, as it was signed, as the manifest has it."""
    names = ("engine", "model", "model_version", "target", "precision", "engine_sha256")
    backend = ("backend", "backend_package", "backend_version")
    pairs = [(one, getattr(predicate, one), getattr(manifest, one)) for one in (*names, *backend)]
    device = manifest.device.model_dump()
    pairs += [(f"device.{k}", v, device[k]) for k, v in predicate.device.model_dump().items()]
    source = manifest.source
    return [
        *pairs,
        ("weights_sha256", predicate.weights_sha256, source.weights_sha256),
        ("onnx_sha256", predicate.onnx_sha256, source.onnx_sha256),
        ("git_commit", predicate.git_commit, source.git_commit),
    ]


def _read_signed(statement: Statement, path: Path) -> bytes:
    if path.name not in statement.files:
        raise WrongEngine(
            f"Expected {path.name} among the files that were signed, got "
            f"{', '.join(sorted(statement.files))}. Sign the release again."
        )
    return path.read_bytes()


def _read_bounded(path: Path, where: str) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise WrongEngine(
            f"Expected the signed statement {FILE} in {where}, but it is not there: nobody says "
            "that these files may run. Sign the release (`release sign`) and pack it again."
        ) from error
