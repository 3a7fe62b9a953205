"""simulate: what the next sync of Fleet does, played before it happens. It asks nobody."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import temporary_folder, write_atomic
from release.gitops.checkout import commit_of, differs, last_change, lay_out
from release.rollout.clusters.inventory import Inventory, read_inventory
from release.rollout.reading.bundle import Bundle
from release.rollout.reading.tree import Tree, read_tree, readable
from release.rollout.reading.version import FleetVersion, parse_version
from release.rollout.simulation import page, plot, result, table
from release.rollout.simulation.play import Conditions
from release.rollout.simulation.result import Simulation, SimulationInput
from release.rollout.simulation.sync import Sync, plan

FLEET = "release/fleet"
PLACE = "release"
"""All that a bundle may read."""

NOTHING = "nothing"
"""As a revision: clusters run nothing yet."""


def simulate(workspace: Workspace, asked: SimulationInput) -> Simulation:
    """Play what Fleet does when it sees the files of this clone.

    Raises InputError for an inventory or a revision that is none, and for files that Fleet cannot
    read: it then changes nothing.
    """
    version = parse_version(asked.fleet_version)
    after = readable(read_tree(workspace.root, version))
    inventory = read_inventory(asked.clusters, after.gitrepo.namespace)
    offline = _offline(asked.offline, inventory)
    if asked.minutes < 1:
        raise InputError(f"Expected at least 1 minute to play, got {asked.minutes}.")
    conditions = Conditions(
        version=version,
        seconds=asked.minutes * 60,
        bad=_is(asked.bad),
        offline=offline.__contains__,
    )
    commit, words = find_base(workspace.root, asked.base)
    with temporary_folder() as folder:
        before = _tree_at(workspace.root, commit, folder, version)
        earlier = _Earlier(workspace.root, commit, folder, version)
        sync = plan(before, after, inventory, conditions, earlier)
    return Simulation(
        asked=asked,
        version=version,
        base=words,
        inventory=inventory,
        offline=offline,
        sync=sync,
        notes=tuple(_notes(asked, after, inventory, conditions.bad, sync)),
    )


def tell(
    simulation: Simulation, say: Callable[[str], None], *, as_json: bool, out: Path | None
) -> None:
    """Say what was played, as a table or JSON, and with `out` write JSON, PNG and HTML there."""
    text = json.dumps(result.as_json(simulation), indent=2) if as_json or out else ""
    for line in [text] if as_json else table.lines(simulation):
        say(line)
    if out is None:
        return
    write_atomic(out / "simulation.json", f"{text}\n")
    page.write_page(simulation, out / "simulation.html")
    plot.draw(simulation, out / "simulation.png")


def find_base(root: Path, revision: str | None) -> tuple[str | None, str]:
    """The commit that clusters run, and how to say it.

    Without a revision: HEAD where files of release/fleet are changed and not committed, else the
    branch's upstream where it has other ones, else the commit before the latest change of them.
    """
    if revision == NOTHING:
        return None, "clusters run nothing yet"
    if revision is not None:
        commit = commit_of(root, revision)
        if commit is None:
            raise InputError(
                f"Expected a commit, branch or tag of this clone after --from, or `{NOTHING}`; got "
                f"{revision!r}. `git log --oneline -- {FLEET}` shows some."
            )
        return commit, f"clusters run {revision} ({commit[:10]})"
    head, upstream = commit_of(root, "HEAD"), commit_of(root, "@{upstream}")
    if head is None:
        return None, "clusters run nothing yet, since nothing is committed"
    if differs(root, head, FLEET):
        return head, f"clusters run HEAD ({head[:10]}), and what is not committed comes"
    if upstream and differs(root, upstream, FLEET, head):
        return (
            upstream,
            f"clusters run the upstream ({upstream[:10]}), and what is not pushed comes",
        )
    latest = last_change(root, head, FLEET)
    parent = commit_of(root, f"{latest}^") if latest else None
    if latest is None or parent is None:
        return None, "clusters run nothing yet"
    return parent, f"clusters run what was before the latest change of {FLEET} ({latest[:10]})"


def _tree_at(root: Path, commit: str | None, folder: Path, version: FleetVersion) -> Tree:
    """The files at a commit; an empty tree for none."""
    place = folder / (commit or NOTHING)
    if not place.is_dir():
        place.mkdir()
        if commit is not None:
            lay_out(root, commit, PLACE, place)
    tree = read_tree(place, version)
    if tree.unreadable:
        one = tree.unreadable[0]
        raise InputError(
            f"Fleet could not read {one.file.relative_to(place)} at {commit}, line {one.line}: "
            f"{one}. So it is not known what clusters run; give a commit that it could read with "
            "--from."
        )
    return tree


class _Earlier:
    """What a bundle was before the latest change of its folder."""

    def __init__(self, root: Path, commit: str | None, folder: Path, version: FleetVersion) -> None:
        self._root, self._commit, self._folder, self._version = root, commit, folder, version

    def __call__(self, bundle: Bundle) -> tuple[Bundle | None, str]:
        latest = last_change(self._root, self._commit or "", bundle.place)
        parent = commit_of(self._root, f"{latest}^") if latest else None
        tree = _tree_at(self._root, parent, self._folder, self._version)
        return tree.deployed.get(bundle.name), parent[:10] if parent else NOTHING


def _is(bad: str | None) -> Callable[[str], bool]:
    """Whether a tag is the bad one, with or without its digest."""
    if bad is None:
        return lambda tag: False
    if not bad.strip():
        raise InputError("Expected an image tag after --bad, got nothing.")
    return lambda tag: tag == bad or ("@" not in bad and tag.split("@")[0] == bad)


def _offline(text: str | None, inventory: Inventory) -> frozenset[str]:
    """The clusters out of reach: those that the inventory says, and a share of all by a hash of
    their names, so that the same ones are offline every time."""
    known = {one.name for one in inventory.clusters if one.offline}
    if text is None:
        return frozenset(known)
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)(%?)", text.strip())
    total = len(inventory.clusters)
    if match is None or (match[2] and float(match[1]) > 100) or ("." in match[1] and not match[2]):
        raise InputError(
            f"Expected a share as `30%` or a number of clusters after --offline, got {text!r}."
        )
    count = round(total * float(match[1]) / 100) if match[2] else int(match[1])
    ranked = sorted(
        (one.name for one in inventory.clusters),
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    return frozenset(known | set(ranked[:count]))


def _notes(
    asked: SimulationInput,
    after: Tree,
    inventory: Inventory,
    bad: Callable[[str], bool],
    sync: Sync,
) -> list[str]:
    """What the reader should know of the play."""
    notes = []
    if inventory.left_out:
        notes.append(
            f"{inventory.left_out} clusters of other namespaces than {after.gitrepo.namespace} are "
            "left out: Fleet's bundles never reach them"
        )
    if asked.bad and not any(
        fate.state in ("broken", "retried") or bad(fate.tag)
        for change in sync.changes
        if change.outcome
        for fate in change.outcome.fates
    ):
        notes.append(f"no bundle that changes brings {asked.bad} to a cluster")
    return notes
