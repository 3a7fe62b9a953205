"""What the image of a release holds under `/models`, from the engine's folder on this machine.

Signing binds these files by their hashes, and packing lays the same ones, so both ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import sha256_file
from engines.records.attestation import FILE
from engines.records.evaluation import Evaluation
from engines.records.folder import GOLDEN
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from engines.verdict.judged import JudgedEngine, load_judged, load_passed
from release.packed import ImageRecord, read_image
from release.records import (
    Publication,
    attestation_path,
    publication_path,
    read_publication,
)
from release.tags import make_tag, parse_tag


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The files of one release, of an engine that passed and was published."""

    publication: Publication
    judged: JudgedEngine
    files: dict[str, Path]
    """Name under `/models` to the file on this machine, sorted; without the attestation."""


def why_kept(workspace: Workspace, release: str) -> str | None:
    """Why a signed release stays as it was signed, whatever lies in its engine's folder now; None
    where it may be signed and packed anew.

    A record of publishing is written once, and what was pushed may run somewhere: an engine that is
    measured again is no other release. Nor is one whose engine is INVALID by now, or gone from the
    target's row: it stays the candidate. Raises WrongEngine for files that were changed.
    """
    if not attestation_path(workspace, release).is_file():
        return None
    image = read_image(workspace, release)
    if image is not None and image.repositories:
        return f"it was pushed to {image.repositories[0]}"
    publication = read_publication(workspace, release)
    try:
        judged = load_passed(workspace, publication.target, publication.engine)
    except InputError:
        return f"{publication.engine} does not lie here as one that passed"
    same_engine = make_tag(judged.manifest).name == release
    if same_engine and judged.verdict.judged != publication.judged:
        return "it was measured again since it was published"
    return None


def is_statement_of(workspace: Workspace, image: ImageRecord) -> bool:
    """Whether the statement that lies here is the one that was packed into an image."""
    path = attestation_path(workspace, image.release)
    return path.is_file() and sha256_file(path) == image.files.get(FILE)


def refuse_another_statement(workspace: Workspace, release: str) -> None:
    """Raise InputError where a release was pushed and the statement that its image has is not here:
    another one would never be that image's."""
    image = read_image(workspace, release)
    if image is None or not image.repositories or is_statement_of(workspace, image):
        return
    where = workspace.relative(attestation_path(workspace, release))
    raise InputError(
        f"Expected {where} to be the statement in the image of {release}, which was pushed to "
        f"{image.repositories[0]}, got another one or none. Bring that one back: `git log -- "
        f"{where}` shows a COMMIT that had it, for `git checkout COMMIT -- {where}`; or remove "
        f"what is there, and `release sign --target {parse_tag(release).target} --pushed` takes "
        "that of a candidate from the registry."
    )


def contents_of(workspace: Workspace, release: str) -> Contents:
    """The files of a published release.

    Raises InputError when the release was not published or its engine is not on this machine, and
    WrongEngine when the engine that lies there is not the one that was published.
    """
    publication = read_publication(workspace, release)
    judged = load_judged(workspace, publication.target, publication.engine)
    found = make_tag(judged.manifest).name
    record = workspace.relative(publication_path(workspace, release).parent)
    publish = f"`release publish --target {publication.target}`"
    if judged.verdict.verdict != "PASS":
        # That it is measured anew is said now, since it would be the next refusal.
        same = found == release
        its = "it" if same else f"{found}, built since then,"
        then = f"where nobody has the release yet, remove {record} and run {publish}"
        then = f"{then if same else publish}, then the same command of the candidate again"
        on = f"{publication.engine} --target {publication.target}"
        raise InputError(
            f"Expected {release} in {judged.folder.path} as it was published, but {its} is "
            f"{judged.verdict.verdict} by now: see the verdict's `reasons`. "
            f"Run `pipeline benchmark {on}` and `pipeline gate {on}`; once it passes, {then}."
        )
    if found != release:
        raise WrongEngine(
            f"Expected the engine that was published as {release} in {judged.folder.path}, got "
            f"another one ({found}). Publish it: {publish}."
        )
    if judged.verdict.judged != publication.judged:
        raise WrongEngine(
            f"Expected the measurements of {release} with which it was published, got other "
            f"measurements in {judged.folder.path}: it was measured again. Where nobody has the "
            f"release yet, remove {record} and run {publish}."
        )
    names = (publication.engine_file, Manifest.file, Verdict.file, Evaluation.file, GOLDEN)
    return Contents(
        publication=publication,
        judged=judged,
        files={name: judged.folder.path / name for name in sorted(names)},
    )
