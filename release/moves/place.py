"""A ring of one model and target, on the branch that Fleet reads."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engines.config.names import NAME_PATTERN, meant
from engines.config.rings import Rings, load_rings, parse_rings
from engines.config.workspace import Workspace
from engines.errors import InputError
from release.gitops.branch import Snapshot
from release.gitops.history import latest_change
from release.rollout.release_yaml import SITES, ReleaseValues, parse_values


@dataclass(frozen=True, kw_only=True)
class Place:
    """`release/fleet/<model>/<target>/<ring>`."""

    model: str
    target: str
    ring: str

    @property
    def folder(self) -> str:
        return f"release/fleet/{self.model}/{self.target}/{self.ring}"

    @property
    def path(self) -> str:
        """Its release.yaml."""
        return f"{self.folder}/release.yaml"

    def other(self, ring: str) -> Place:
        """Another ring of the same model and target."""
        return Place(model=self.model, target=self.target, ring=ring)


def rings_of(snapshot: Snapshot, workspace: Workspace) -> Rings:
    """The rings and their rules as they are on the branch, so that an edit in a clone loosens
    nothing; those of the clone where the branch has none, as in a repository of Fleet's own."""
    path = workspace.relative(workspace.rings_file)
    content = snapshot.read(path)
    if content is None and snapshot.left_at() is None:
        return load_rings(workspace)
    if content is None:
        raise InputError(
            f"Expected {path} on {snapshot.gitops.shown}, whose rules count, but it is not there. "
            "Commit and push it."
        )
    return parse_rings(content, f"{path} on {snapshot.gitops.shown}")


def place_of(snapshot: Snapshot, rings: Rings, model: str, target: str, ring: str) -> Place:
    """The ring of that name. Raises InputError where a name is none or the branch has no such
    folder."""
    for what, name in (("model", model), ("target", target), ("ring", ring)):
        if not re.fullmatch(NAME_PATTERN, name):
            raise InputError(
                f"Expected the name of a {what}: lower-case letters, digits and hyphens; "
                f"got {name!r}."
            )
    place = Place(model=model, target=target, ring=rings.ring(ring).name)
    if snapshot.file(f"{place.folder}/fleet.yaml") is None:
        known = sorted({f"{one.model} on {one.target}" for one in places(snapshot)})
        raise InputError(
            f"Expected {place.folder}/fleet.yaml on {snapshot.gitops.shown}, which says which "
            f"clusters run this, but it is not there. There are: {', '.join(known) or 'none'}. "
            f"{_taken_away(snapshot, place) or _laid_out(snapshot, model, target)}, commit and "
            "push."
        )
    return place


def gets_another(rings: Rings, place: Place) -> str:
    """How a ring gets a release that it never had."""
    if place.ring not in rings.names:
        return "name it in release/rings.yaml, then `release promote`"
    below = rings.below(place.ring)
    if below is None:
        return "`release write --push`"
    return (
        f"`release promote {place.model} --target {place.target} --to {place.ring}` from "
        f"{below.name}"
    )


def _taken_away(snapshot: Snapshot, place: Place) -> str:
    """How a ring gets the folder back that it had; empty where it had none."""
    last = latest_change(snapshot, f"{place.folder}/fleet.yaml")
    if last is None:
        return ""
    return (
        f"{last.commit.who} took it away, and Fleet uninstalls what it had brought: bring it back "
        f"with `git checkout {last.commit.name[:12]}^ -- {place.folder}`"
    )


def _laid_out(snapshot: Snapshot, model: str, target: str) -> str:
    """How a ring gets a folder. The two commands lay out rings of what is new only."""
    if any((one.model, one.target) == (model, target) for one in places(snapshot)):
        return (
            "For a new ring copy the folder of another ring, change the ring in its fleet.yaml and "
            "take its release.yaml away; for a new name `git mv` it and change the label of its "
            "clusters"
        )
    return "Lay it out with `pipeline add-target` or `pipeline add-model`"


def places(snapshot: Snapshot) -> list[Place]:
    """Every ring of every model and target on the branch, sorted."""
    return places_of(snapshot.below("release/fleet"), "fleet.yaml")


def places_of(paths: Iterable[str], file: str) -> list[Place]:
    """The rings that have a `file` among `paths`, sorted."""
    found = set()
    for path in paths:
        parts = path.split("/")
        if len(parts) == 6 and parts[2] != SITES and parts[5] == file:
            found.add(Place(model=parts[2], target=parts[3], ring=parts[4]))
    return sorted(found, key=lambda one: (one.model, one.target, one.ring))


def chosen_places(
    snapshot: Snapshot,
    model: str | None,
    target: str | None,
    ring: str | None = None,
    *,
    gone: Iterable[Place] = (),
) -> list[Place]:
    """Those of `places`, and of `gone`, which were, that are of `model`, `target` and `ring`, where
    they are given. Raises InputError where the branch knows none of them."""
    wanted = list(dict.fromkeys([*places(snapshot), *gone]))
    for what, name in (("model", model), ("target", target), ("ring", ring)):
        known = sorted({str(getattr(one, what)) for one in wanted})
        if name is not None and name not in known:
            raise InputError(
                f"Expected one of the {what}s that {snapshot.gitops.shown} has in release/fleet: "
                f"{', '.join(known) or 'none'}; got {name!r}{meant(name, known)}."
            )
        wanted = [one for one in wanted if name in (None, getattr(one, what))]
    return wanted


def values_at(snapshot: Snapshot, place: Place) -> ReleaseValues | None:
    """What a ring runs; None before its first release. Raises InputError for a file that the
    commands did not write."""
    file = snapshot.file(place.path)
    if file is None:
        return None
    name = f"{place.path} on {snapshot.gitops.shown}"
    if file.mode not in {"100644", "100755"}:
        raise InputError(
            f"Expected a file at {name}, got a link or a submodule. Put a plain file there."
        )
    return parse_values(snapshot.blobs([file.blob])[file.blob], name)


def read_at(snapshot: Snapshot, place: Place) -> tuple[ReleaseValues | None, str]:
    """As `values_at`, with the reason where nobody can read the file, as after a merge: one that is
    broken keeps nobody from another, nor from putting it right."""
    try:
        return values_at(snapshot, place), ""
    except InputError as error:
        return None, str(error)


def is_only_behind(workspace: Workspace, left: Snapshot | None, path: str) -> bool:
    """Whether the clone has a file below `release/` as it was at `left`, where it left the branch:
    what is otherwise on the branch was moved there since, and `git pull` brings it."""
    if left is None:
        return False
    here = workspace.root / path
    return left.read(path) == (here.read_bytes() if here.is_file() else None)


def goes_by_push(
    left: Snapshot | None, place: Place, rings: Sequence[str], here: ReleaseValues | None
) -> bool:
    """Whether what the clone has `here` for a ring gets to the branch, which it `left`: to a
    repository of Fleet's own `write --push` alone brings something, and to the first ring only."""
    return left is not None or (here is not None and place.ring == rings[0])
