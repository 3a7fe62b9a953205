"""What a ring ran before, as a rollback sees it."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

from engines.errors import InputError
from release.gitops.branch import Snapshot
from release.gitops.history import FileCommit, changes
from release.moves.place import Place
from release.rollout.release_yaml import ReleaseValues, parse_values
from release.tags import parse_tag


@dataclass(frozen=True, kw_only=True)
class Held:
    """A release that a ring held, from one commit on."""

    values: ReleaseValues
    content: bytes
    """Its release.yaml: a rollback restores these bytes."""
    change: FileCommit

    @property
    def release(self) -> str:
        """Its name, which its records have."""
        return parse_tag(self.values.image.tag).name


def held_by(snapshot: Snapshot, place: Place) -> list[Held]:
    """All that the ring ever held, the oldest first. What nobody can read now is left out: a broken
    file is nothing to go back to; and so is an edit of a comment or of line ends, which is no step.
    """
    found = changes(snapshot, place.path)
    contents = snapshot.blobs(one.file.blob for one in found if one.file)
    held: list[Held] = []
    for one in found:
        if one.file is None:
            continue
        content = contents[one.file.blob]
        try:
            values = parse_values(content, place.path)
        except InputError:
            continue
        if values is not None and (not held or held[-1].values != values):
            held.append(Held(values=values, content=content, change=one))
    return held


def went_back(held: Sequence[Held]) -> bool:
    """Whether a ring's latest change was a step back: to what it would have gone back to. A release
    that it went back from and that was promoted again is a step forward."""
    return bool(held) and held[-1].values in [one.values for one in stack(held[:-1])]


def step_back(held: Sequence[Held], quarantined: Container[str]) -> Held | None:
    """What a ring goes back to from what it holds; None where it had nothing before that or only
    what is quarantined."""
    before = reversed(stack(held)[:-1])
    return next((one for one in before if one.release not in quarantined), None)


def stack(held: Iterable[Held]) -> list[Held]:
    """What a ring would go back to step by step; what it holds now is last.

    A release that a ring went back from is not there: after A, B and back to A the ring stands on
    A, and another step back is what it had before A, not B.
    """
    steps: list[Held] = []
    for one in held:
        before = [step.values for step in steps]
        if one.values in before:
            del steps[before.index(one.values) :]
        steps.append(one)
    return steps
