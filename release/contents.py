"""What the image of a release holds under `/models`, from the engine's folder on this machine.

Signing binds these files by their hashes, and packing lays the same ones, so both ask here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import WrongEngine
from engines.records.evaluation import Evaluation
from engines.records.folder import GOLDEN
from engines.records.manifest import Manifest
from engines.records.verdict import Verdict
from engines.verdict.judged import JudgedEngine, load_passed
from release.records import Publication, read_publication
from release.tags import make_tag


@dataclass(frozen=True, kw_only=True)
class Contents:
    """The files of one release, of an engine that passed and was published."""

    publication: Publication
    judged: JudgedEngine
    files: dict[str, Path]
    """Name under `/models` to the file on this machine, sorted; without the attestation."""


def contents_of(workspace: Workspace, release: str) -> Contents:
    """The files of a published release.

    Raises InputError when the release was not published or its engine is not on this machine, and
    WrongEngine when the engine that lies there is not the one that was published.
    """
    publication = read_publication(workspace, release)
    judged = load_passed(workspace, publication.target, publication.engine)
    found = make_tag(judged.manifest).name
    if found != release or judged.verdict.judged != publication.judged:
        raise WrongEngine(
            f"Expected the engine that was published as {release} in {judged.folder.path}, got "
            f"another one or other measurements of it ({found}). Publish it: `release publish "
            f"--target {publication.target}`."
        )
    names = (publication.engine_file, Manifest.file, Verdict.file, Evaluation.file, GOLDEN)
    return Contents(
        publication=publication,
        judged=judged,
        files={name: judged.folder.path / name for name in sorted(names)},
    )
