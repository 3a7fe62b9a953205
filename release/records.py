"""What git keeps of releases. `write`, `status` and promotions work from these files alone.

    release/records/<release>/publication.json     Publication: written once, never changed
    release/records/<release>/quarantine.json      Quarantine: goes to no ring any more
    release/records/<release>/attestation.json     what was signed of it (`release sign`)
    release/records/signed/<target>.json           Signed: the statements of a target's candidates
    release/records/candidates/<target>.json       Candidates: which release a model's is now

A release is an engine, so a release that is published again is the same one and its file stays byte
for byte. What changes is which release of a model is the candidate. Each file has one writer, here
`release publish`.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from engines.config.names import Name
from engines.config.target import Policy, load_target
from engines.config.workspace import Workspace
from engines.errors import InputError, WrongEngine
from engines.files import listed
from engines.records.record import Part, Precision, Record, Sha256, VerdictName
from engines.records.thresholds import Thresholds
from engines.records.verdict import Check
from release.tags import ENGINE_DIGITS, Tag


class MlflowEntry(Part):
    """Where MLflow keeps the engine."""

    tracking_uri: str
    """Without user and password; a store in the repository is written relative to its root."""
    experiment: str
    run_id: str
    registered_model: str
    version: int = Field(ge=1)


class Figures(Part):
    """What a policy chooses by; whole-frame times are at batch 1."""

    frame_p50_ms: float
    frame_p99_ms: float
    map50_95: float
    engine_bytes: int = Field(ge=1)
    frame_p50_noise_ms: float = 0.0
    """Half of the range of the medians of the measurement's tenths."""
    map50_95_noise: float = 0.0
    """Half of the 95 % interval of the drop against FP32, from the bootstrap over pictures."""
    pictures_sha256: Sha256 | None = None
    """Of the evaluation set. None in records that are older than this field."""


class Publication(Record):
    """`publication.json`: one release, as it was judged when it was published first."""

    written_by: ClassVar[str] = "release publish"

    release: str
    """The image tag without a digest."""
    engine: str
    model: Name
    model_version: str
    target: Name
    fleet_label: Name
    """Value of the label `device` of the clusters that the release is for."""
    precision: Precision
    engine_file: str = Field(pattern=r"^engine\.[a-z]+$")
    engine_sha256: Sha256
    git_commit: str
    """Commit that the engine was built from; empty without git."""
    mlflow: MlflowEntry
    figures: Figures
    verdict: VerdictName
    checks: tuple[Check, ...]
    judged: dict[str, Sha256]
    """Name of the engine's file and of each one that the verdict rests on, to its sha256."""
    thresholds: Thresholds | None = None
    batch_max: int | None = None
    """By what pods run it, of the target's row: in the manifest, and not in the engine's bytes.
    None in records that are older than these fields."""


class Candidate(Part):
    """The release of a model that goes to the first ring, and why this one."""

    release: str
    engine: str
    reason: str


class Signed(Record):
    """`signed/<target>.json`: which statements there are of a target's candidates, so that DVC, and
    whoever reads the history, sees when one is another."""

    written_by: ClassVar[str] = "release sign"

    target: Name
    releases: dict[str, Sha256]
    """Release to the sha256 of its attestation.json."""


class Candidates(Record):
    """`candidates/<target>.json`: the candidate of each model of a target."""

    written_by: ClassVar[str] = "release publish"

    target: Name
    policy: Policy
    candidates: dict[str, Candidate]
    """Model name to its candidate; a model of which nothing passes is not there."""
    skipped: dict[str, VerdictName]
    """Engine to the verdict for which it was not published."""
    failed: dict[str, str] = Field(default_factory=dict)
    """Release to what its engine missed when that was judged again, since which nobody judged it
    otherwise: its record is of the day it was published, and says PASS."""


class Quarantine(Record):
    """`quarantine.json`: a release that goes to no ring any more, of which somebody said why."""

    written_by: ClassVar[str] = "release quarantine"

    release: str
    why: str
    by: str
    """Name and address, as git writes an author."""
    at: datetime


IN_GIT = Workspace(root=Path())
"""Of it the paths below are as git has them."""


def quarantine_path(workspace: Workspace, release: str) -> Path:
    """`release/records/<release>/quarantine.json`."""
    return workspace.records / release / "quarantine.json"


def read_quarantine(workspace: Workspace, release: str) -> Quarantine | None:
    """Why the release is quarantined; None where it is not. Raises InputError for a broken file."""
    path = quarantine_path(workspace, release)
    return Quarantine.read(path) if path.is_file() else None


def publication_path(workspace: Workspace, release: str) -> Path:
    """`release/records/<release>/publication.json`."""
    return workspace.records / release / "publication.json"


def attestation_path(workspace: Workspace, release: str) -> Path:
    """`release/records/<release>/attestation.json`."""
    return workspace.records / release / "attestation.json"


def missed_since(workspace: Workspace, release: str, target: str) -> str:
    """What the release's engine missed when it was judged again; empty where it FAILs not."""
    path = candidates_path(workspace, target)
    return Candidates.read(path).failed.get(release, "") if path.is_file() else ""


def signed_path(workspace: Workspace, target: str) -> Path:
    """`release/records/signed/<target>.json`."""
    return workspace.records / "signed" / f"{target}.json"


def candidates_path(workspace: Workspace, target: str) -> Path:
    """`release/records/candidates/<target>.json`."""
    return workspace.records / "candidates" / f"{target}.json"


def chosen_targets(workspace: Workspace, target: str | None) -> list[str]:
    """`target`, or all that something was published of. Raises InputError where there is none."""
    found = [path.stem for path in listed(workspace.records / "candidates", "*.json")]
    if target is not None:
        if target not in found:
            load_target(workspace, target)
        return [target]
    if not found:
        raise InputError(
            f"Expected records of releases in {workspace.records}, but there are none. "
            "Run `release publish`, or `dvc repro` for all of it. What others published comes with "
            "`git pull`, or `release status --pushed` where Fleet has a repository of its own."
        )
    return found


def candidates_of(workspace: Workspace, target: str | None) -> list[str]:
    """The candidates of `target`, or of all that something was published of."""
    return [
        candidate.release
        for name in chosen_targets(workspace, target)
        for candidate in Candidates.read(candidates_path(workspace, name)).candidates.values()
    ]


def read_publication(workspace: Workspace, release: str) -> Publication:
    """The record of a release. Raises InputError where it is none, and WrongEngine where it does
    not add up: there is no engine at hand to judge again, so nothing in it may contradict the rest.
    """
    path = publication_path(workspace, release)
    publication = Publication.read(path)
    wrong = [*_wrong_names(publication, release), *_wrong_checks(publication)]
    if wrong:
        raise WrongEngine(
            f"{path} does not add up: {wrong[0]}. It was changed after `release publish` wrote it. "
            f"Bring it back with `git checkout -- {workspace.relative(path)}`, or remove it and "
            f"run `release publish --target {publication.target}` where the engine is."
        )
    return publication


def _wrong_names(publication: Publication, release: str) -> list[str]:
    """Where release, engine and what they are made of disagree."""
    tag = Tag(
        version=publication.model_version,
        target=publication.target,
        precision=publication.precision,
        engine=publication.engine_sha256[:ENGINE_DIGITS],
    )
    pairs = [
        ("release", publication.release, release),
        ("release", publication.release, tag.name),
        ("engine", publication.engine, f"{publication.model}-{publication.precision}"),
        (
            publication.engine_file,
            publication.judged.get(publication.engine_file, "no such file"),
            publication.engine_sha256,
        ),
    ]
    return [f"expected {name} {wanted}, got {got}" for name, got, wanted in pairs if got != wanted]


def _wrong_checks(publication: Publication) -> list[str]:
    """Where the verdict does not follow from its checks, or a figure is not what was checked."""
    checks = {check.name: check for check in publication.checks}
    if not checks or len(checks) != len(publication.checks):
        return [f"expected checks of different names, got {len(publication.checks)} checks"]
    figures = publication.figures.model_dump()
    figures["engine_size_mib"] = publication.figures.engine_bytes / 2**20
    words = [
        ("verdict", publication.verdict),
        *((one.name, one.verdict) for one in checks.values()),
    ]
    return [
        *(f"expected {name} to be PASS, got {word}" for name, word in words if word != "PASS"),
        *(
            f"{one.name} says {one.verdict}, but {one.measured:g} is not {one.rule} {one.limit:g}"
            for one in checks.values()
            if not _holds(one)
        ),
        *(
            f"expected {name} {checks[name].measured!r} as it was checked, got {value!r}"
            for name, value in figures.items()
            if name in checks and checks[name].measured != value
        ),
    ]


def _holds(check: Check) -> bool:
    if check.rule == "at most":
        return check.measured <= check.limit
    return check.measured >= check.limit


def refuse_old_layout(workspace: Workspace) -> None:
    """Raise InputError where an older Jetrail's files lie, which nothing reads or writes now."""
    places = (
        workspace.root / "release" / "published",
        workspace.fleet / "inference" / "fleet.yaml",
    )
    found = [path for path in places if path.exists()]
    found += listed(workspace.records, "*.json")
    if found:
        names = " ".join(workspace.relative(path) for path in found)
        raise InputError(
            f"Expected the records and Fleet files of this version, got those of an older one: "
            f"{names}. Remove them (`rm -r {names}`) and run `dvc repro`, which writes new ones."
        )
