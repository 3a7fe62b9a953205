"""status: what is published of each model on a target, and what its rings run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.config.rings import load_rings
from engines.config.workspace import Workspace
from engines.errors import InputError, ServiceError, WrongEngine
from engines.files import listed, temporary_folder
from engines.records.attestation import verify_envelope
from engines.records.record import PRECISIONS
from engines.records.trusted_key import TrustedKey
from release.gitops.branch import Snapshot, open_gitops
from release.gitops.clone import PULL, pull
from release.gitops.history import Commit, latest_change
from release.lock import exclusive
from release.moves.aliases import Answer, ask, point
from release.moves.by_git import behind_on, by_git, ever_published
from release.moves.ledger import since
from release.moves.otherwise import otherwise
from release.moves.place import Place, goes_by_push, is_only_behind, places, read_at, rings_of
from release.moves.seen import Seen, see
from release.packed import ImageRecord, read_image
from release.records import (
    Candidates,
    Publication,
    Quarantine,
    attestation_path,
    candidates_path,
    chosen_targets,
    missed_since,
    publication_path,
    read_publication,
    read_quarantine,
    refuse_old_layout,
)
from release.reports.report import Report
from release.rollout.release_yaml import ReleaseValues, models_of, read_values
from release.say import Say
from release.signing.keys import counting_here
from release.smoke.record import Smoke, read_smoke
from release.tags import parse_tag

FETCH_SECONDS = 20
"""How long status waits for the branch: whoever looks may be where there is no network."""


@dataclass(frozen=True, kw_only=True)
class RingStatus:
    """One ring of a model on a target."""

    here: ReleaseValues | None
    """What the clone's release.yaml says; None before its first release."""
    pushed: ReleaseValues | None = None
    """What Fleet's branch says."""
    behind: bool = False
    """Whether the branch moved and the clone did not: `git pull` is all it lacks."""
    commit: Commit | None = None
    """By which it says so."""
    quarantine: Quarantine | None = None
    """Of what the ring runs."""
    missed: str = ""
    """What that missed when its engine was judged again, where it FAILs since it was published."""
    wrong: tuple[str, ...] = ()
    """What no command left so: people edited the files that are the machine's, or rings.yaml."""
    broken: str = ""
    """Why nobody can read its release.yaml, here or on the branch."""
    unreadable: bool = False
    """Whether that is so on the branch."""
    seen: Seen | None = None
    """What the sites say of it."""


@dataclass(frozen=True, kw_only=True)
class Status:
    """One model on one target."""

    model: str
    target: str
    candidate: Publication | None
    """What `release write` puts into the first ring; none where no engine passed."""
    quarantine: Quarantine | None = None
    """Of the candidate, which no ring gets then."""
    behind: bool = False
    """Whether the branch has newer candidates of the target: `git pull` brings them."""
    failed: bool = False
    """Whether engines of it were judged here, and none has the verdict PASS."""
    signed_by: TrustedKey | None = None
    """The key that signed the candidate, trusted or for trying; None where none of them did."""
    image: ImageRecord | None = None
    """Of the candidate, once it is packed."""
    smoke: Smoke | None = None
    """How that image did in a container."""
    rings: dict[str, RingStatus]


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All of it, and where it is from."""

    statuses: list[Status]
    branch: str | None
    """Fleet's branch; None where it could not be read."""
    trouble: str | None = None
    """Why not."""
    pull: str = PULL
    """The command that brings what the branch has."""
    mlflow: Answer
    """Where it is not as git says, and where it has the candidates."""


def status(workspace: Workspace, target: str | None, report: Report | None = None) -> Overview:
    """The status of each model on `target`, or on every one of records or of the branch.

    What Fleet's branch says is fetched; where it cannot be, the clone is what there is to show.
    `report` is what the sites say. A release.yaml that nobody can read is shown as that. Raises
    InputError when nothing was published yet or another file cannot be read, and WrongEngine for a
    record that does not add up.
    """
    refuse_old_layout(workspace)
    snapshot, trouble = _fetched(workspace)
    published = ever_published(workspace, target, snapshot)
    with temporary_folder() as folder:
        # A clone may lack a quarantine, or that an engine FAILs, which the branch has.
        records = snapshot.export(folder, "release/records") if snapshot else workspace
        found = _statuses(workspace, target, snapshot, records, report, published)
        aliases = by_git(workspace, target, snapshot, records, published).releases
    if not found and not published:
        for name in chosen_targets(workspace, target):
            Candidates.read(candidates_path(workspace, name))
    return Overview(
        statuses=found,
        branch=snapshot.gitops.shown if snapshot else None,
        trouble=trouble,
        pull=pull(snapshot) if snapshot else PULL,
        mlflow=ask(workspace, aliases, [one.candidate for one in found if one.candidate]),
    )


def _fetched(workspace: Workspace) -> tuple[Snapshot | None, str | None]:
    """Fleet's branch, or why it could not be read."""
    try:
        return open_gitops(workspace).fetch(FETCH_SECONDS), None
    except (InputError, ServiceError) as error:
        return None, str(error)


def _recorded(workspace: Workspace, target: str | None) -> dict[str, Candidates]:
    """The candidates of `target`, or of every one that there are any of in this clone."""
    folder = candidates_path(workspace, "any").parent
    found = (path for path in listed(folder, "*.json") if target in (None, path.stem))
    return {path.stem: Candidates.read(path) for path in found}


def repair(workspace: Workspace, target: str | None, say: Say) -> None:
    """Let every alias in MLflow name what git says: a ring's what Fleet's branch says that it runs,
    and `candidate` what the records say.

    Raises InputError, and ServiceError where the branch or MLflow does not answer.
    """
    with exclusive(workspace), temporary_folder() as folder:
        snapshot = open_gitops(workspace).fetch()
        records = snapshot.export(folder, "release/records")
        published = ever_published(workspace, target, snapshot)
        releases, stay = by_git(workspace, target, snapshot, records, published)
        for sentence in stay:
            say(sentence)
        if point(workspace, releases, say) and not stay:
            say(f"MLflow's aliases are as {snapshot.gitops.shown} says")


@dataclass(frozen=True, kw_only=True)
class _Look:
    """Where rings are looked at."""

    workspace: Workspace
    snapshot: Snapshot | None
    """Fleet's branch; None where it could not be read."""
    records: Workspace
    """Those of the branch, or the clone's where it could not be read."""
    left: Snapshot | None
    """Where the clone left the branch."""
    report: Report | None
    there: Sequence[Place]
    """The rings that have a folder on the branch."""


def _statuses(
    workspace: Workspace,
    only: str | None,
    snapshot: Snapshot | None,
    records: Workspace,
    report: Report | None,
    published: set[tuple[str, str]],
) -> list[Status]:
    rings = (rings_of(snapshot, workspace) if snapshot else load_rings(workspace)).names
    there = places(snapshot) if snapshot else []
    found = []
    commits = since(snapshot, there) if snapshot else {}
    left = snapshot.left_at() if snapshot else None
    look = _Look(
        workspace=workspace,
        snapshot=snapshot,
        records=records,
        left=left,
        report=report,
        there=there,
    )
    recorded = _recorded(workspace, only)
    # The branch may run what nobody pulled yet, or what was taken away here alone; MLflow's aliases
    # may name what was reverted since.
    targets = {*recorded, *(one.target for one in commits if only in (None, one.target))}
    targets |= {target for _, target in published}
    behind = behind_on(workspace, snapshot, targets)
    for target in sorted(targets):
        said = recorded.get(target)
        candidates = said.candidates if said else {}
        run = {one.model for one in commits if one.target == target}
        for model in sorted({*candidates, *models_of(workspace, target), *run}):
            candidate = candidates.get(model)
            image = read_image(workspace, candidate.release) if candidate else None
            where = {ring: Place(model=model, target=target, ring=ring) for ring in rings}
            where |= {
                one.ring: one
                for one in there
                if (one.model, one.target) == (model, target) and one in commits
            }
            found.append(
                Status(
                    model=model,
                    target=target,
                    behind=target in behind,
                    failed=bool(
                        said and said.skipped.keys() & {f"{model}-{one}" for one in PRECISIONS}
                    ),
                    candidate=read_publication(workspace, candidate.release) if candidate else None,
                    quarantine=read_quarantine(records, candidate.release) if candidate else None,
                    signed_by=_signer(workspace, candidate.release) if candidate else None,
                    image=image,
                    smoke=read_smoke(workspace, image.release, image.digest) if image else None,
                    rings={
                        ring: _ring(look, place, commits.get(place), rings)
                        for ring, place in where.items()
                    },
                )
            )
    return found


def _signer(workspace: Workspace, release: str) -> TrustedKey | None:
    path = attestation_path(workspace, release)
    keys = counting_here(workspace)
    if not path.is_file():
        return None
    try:
        return verify_envelope(path.read_bytes(), keys).key
    except WrongEngine:
        return None


def _ring(look: _Look, place: Place, commit: Commit | None, rings: Sequence[str]) -> RingStatus:
    workspace, snapshot = look.workspace, look.snapshot
    here, broken = _here(workspace, place)
    pushed, there = read_at(snapshot, place) if snapshot else (None, "")
    if there:
        # Of the branch's a rollback gets rid; the clone's is the same, or somebody's own.
        broken = f"{there} Or {_back(place)}"
    if snapshot and not goes_by_push(look.left, place, rings, here):
        here = pushed
    runs = pushed or here
    name = parse_tag(runs.image.tag).name if runs else None
    wrong = []
    if place.ring not in rings and runs:
        wrong.append("release/rings.yaml does not name this ring, so nothing is promoted to it")
    if runs and (how := _otherwise(look, place, runs)):
        wrong.append(how)
    if snapshot and _lacks_folder(look.there, place):
        lost = latest_change(snapshot, f"{place.folder}/fleet.yaml") is not None
        wrong.append(
            f"its folder is not on {snapshot.gitops.shown}: Fleet brings it nothing"
            f"{', and uninstalls what it had brought' if lost else ''}; `release promote` says how "
            f"it {'comes back' if lost else 'gets one'}"
        )
    return RingStatus(
        here=here,
        pushed=pushed,
        broken=broken,
        unreadable=bool(there),
        behind=here != pushed and is_only_behind(workspace, look.left, place.path),
        commit=commit if pushed else None,
        quarantine=read_quarantine(look.records, name) if name else None,
        missed=_missed(look, name, place.target) if name else "",
        wrong=tuple(wrong),
        seen=see(snapshot, look.report, place, name) if snapshot and look.report and name else None,
    )


def _lacks_folder(there: Sequence[Place], place: Place) -> bool:
    """Whether a ring has no folder where other rings have one."""
    theirs = (place.model, place.target)
    return place not in there and any((one.model, one.target) == theirs for one in there)


def _here(workspace: Workspace, place: Place) -> tuple[ReleaseValues | None, str]:
    try:
        return read_values(workspace.root / place.path), ""
    except InputError as error:
        return None, str(error)


def _back(place: Place) -> str:
    return (
        f"`release rollback {place.model} --target {place.target} --ring {place.ring}` brings back "
        "what the ring had before"
    )


def _otherwise(look: _Look, place: Place, runs: ReleaseValues) -> str:
    name = parse_tag(runs.image.tag).name
    there = publication_path(look.records, name).is_file()
    how = otherwise(look.records if there else look.workspace, place, runs)
    return f"{how}; {_back(place)}" if how else ""


def _missed(look: _Look, release: str, target: str) -> str:
    # A clone that published and did not hand over yet knows more than the branch.
    found = (missed_since(one, release, target) for one in (look.records, look.workspace))
    return next(filter(None, found), "")
