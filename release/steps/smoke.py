"""smoke: a release's image runs on this machine as a cluster would run it, and its record says how.

Not root, nothing to write to, no capabilities, no network, the memory that the row's budget allows.
`runtime check` in it asks for the signature, the device and the golden boxes, and takes times.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from math import ceil
from pathlib import Path

from engines.config.target import load_target
from engines.config.workspace import Workspace
from engines.errors import GateFailed, InputError, WrongEngine
from engines.files import temporary_folder
from engines.records.attestation import Predicate
from engines.records.trusted_key import TrustedKey
from release.image.layout import Image, Layout
from release.packed import ImageRecord, read_image
from release.records import Publication, read_publication
from release.say import Say
from release.signing.keys import counting_here
from release.smoke.container import MOUNT, Run, check_mountable, run
from release.smoke.record import Boxes, Smoke, SmokeTimes, smoke_path, why_failed
from release.smoke.taken import taken_in
from release.smoke.tool import version
from release.smoke.verdict import read_answer, shortcomings, times_of
from release.smoke.wanted import in_words, signed_predicate, why_not_here
from release.tags import parse_tag

ROUNDS = 200
"""Frames whose times are taken."""
ATTEMPTS = 3
"""Others may use the machine: the budget counts against the quietest attempt."""
BASE = "base-"
"""How runtime images are called in release/images/."""


@dataclass(frozen=True, kw_only=True)
class _Subject:
    """What is smoked."""

    publication: Publication
    image: ImageRecord
    memory_mib: int


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What one attempt came to."""

    device: str | None = None
    boxes: Boxes | None = None
    times: SmokeTimes | None = None
    reasons: tuple[str, ...] = ()


def smoke(workspace: Workspace, tag: str, runtime: str | None, say: Say) -> Smoke:
    """Run the image of a release that is packed here, and write smoke.json.

    `runtime` names the runtime image in release/images/ for an image on no base. Raises InputError
    where something is missing or the engine is for another device, WrongEngine where the pod
    refuses the engine, GateFailed where it is too slow, and ServiceError where podman or docker
    fails.
    """
    release = parse_tag(tag).name
    subject = _subject(workspace, release)
    layout = Layout(workspace.images)
    keys = counting_here(workspace)
    _check_here(signed_predicate(workspace, release, keys), release)
    packed = layout.image(subject.image.digest)
    layout.check_layers(packed)
    if subject.image.base is None:
        check_mountable()
    base = None if subject.image.base else _runtime(layout, subject.image, runtime)
    with ExitStack() as open_:
        image = open_.enter_context(taken_in(layout, release, packed))
        folder_of_keys = open_.enter_context(_mountable(keys))
        mounted, below = None, image
        if base is not None:
            mounted = image
            below = open_.enter_context(taken_in(layout, *base))
        folder = f"{MOUNT}/models" if mounted else "/models"
        command = ("runtime", "check", folder, "--rounds", str(ROUNDS))
        wanted = Run(
            image=below,
            command=(*command, "--expected", subject.publication.model_version),
            keys=folder_of_keys,
            memory_mib=subject.memory_mib,
            mounted=mounted,
        )
        found, refused = _attempts(wanted, subject.publication)
    record = _record(subject, base[1].digest if base else None, found)
    record.write(smoke_path(workspace, release))
    if refused:
        raise WrongEngine(str(refused)) from refused
    if record.verdict == "FAIL":
        raise GateFailed(why_failed(record))
    say(f"{release}: {in_words(record)}")
    return record


def _subject(workspace: Workspace, release: str) -> _Subject:
    publication = read_publication(workspace, release)
    image = read_image(workspace, release)
    if image is None:
        raise InputError(
            f"Expected the image of {release}, but it is not packed. Run `release pack {release}` "
            "where its engine is."
        )
    budgets = load_target(workspace, publication.target).budgets_of(publication.engine)
    return _Subject(publication=publication, image=image, memory_mib=ceil(budgets.memory_peak_mib))


def _check_here(predicate: Predicate | None, release: str) -> None:
    if predicate is None:
        raise InputError(
            f"Expected {release} to be signed, but it is not. Run `release sign {release}` and "
            f"`release pack {release}` where its engine is."
        )
    if problem := why_not_here(predicate):
        raise InputError(
            f"{release} cannot be smoked here: {problem}. Run the command on such a machine."
        )


def _runtime(layout: Layout, image: ImageRecord, name: str | None) -> tuple[str, Image]:
    """The runtime image, with its name, for an image that holds an engine only."""
    bases = [one for one in layout.images() if one.startswith(BASE)]
    fitting = [one for one in bases if str(layout.image(one).config.platform) == image.platform]
    if name is None and len(fitting) != 1:
        raise InputError(
            f"Expected one runtime image for {image.platform} in {layout.path}, since "
            f"{image.release} holds its engine only, got {', '.join(fitting) or 'none'}. Build one "
            "with `release base build NAME`, or name one with --runtime."
        )
    chosen = name or fitting[0]
    found = layout.image(chosen)
    layout.check_layers(found)
    return chosen, found


@contextmanager
def _mountable(keys: Iterable[TrustedKey]) -> Iterator[Path]:
    """The keys in a folder that the pod's user may read."""
    with temporary_folder() as folder:
        for key in keys:
            key.write(folder / f"{key.name}.json")
            (folder / f"{key.name}.json").chmod(0o644)
        folder.chmod(0o755)
        yield folder


def _attempts(wanted: Run, publication: Publication) -> tuple[_Found, WrongEngine | None]:
    """The first attempt that passes, or the one with the lowest p99; and how the pod refused."""
    tries: list[_Found] = []
    for _ in range(ATTEMPTS):
        try:
            answer = read_answer(run(wanted))
        except WrongEngine as refused:
            return _Found(reasons=(str(refused),)), refused
        times = times_of(answer, publication)
        reasons = tuple(shortcomings(answer, times, publication))
        tries.append(
            _Found(device=answer.device, boxes=answer.boxes(), times=times, reasons=reasons)
        )
        if not reasons:
            return tries[-1], None
    return min(tries, key=lambda one: one.times.p99_ms if one.times else 0.0), None


def _record(subject: _Subject, runtime: str | None, found: _Found) -> Smoke:
    return Smoke(
        release=subject.publication.release,
        digest=subject.image.digest,
        runtime=runtime,
        container_engine=version(),
        device=found.device,
        memory_limit_mib=subject.memory_mib,
        ran_at=datetime.now(timezone.utc).replace(microsecond=0),
        verdict="FAIL" if found.reasons else "PASS",
        reasons=found.reasons,
        boxes=found.boxes,
        times=found.times,
    )
