"""All bundles that Fleet makes of a checkout."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engines.errors import InputError
from release.rollout.reading.bundle import Bundle, Unreadable, read_bundle
from release.rollout.reading.gitrepo import GitRepo, folders, read_gitrepo
from release.rollout.reading.version import FleetVersion

GITREPO = Path("release", "fleet", "gitrepo.yaml")


@dataclass(frozen=True)
class Tree:
    """A checkout as Fleet sees it."""

    root: Path
    gitrepo: GitRepo
    bundles: tuple[Bundle, ...] = ()
    """In the order of the folders; those that hold nothing to deploy too."""
    unreadable: tuple[Unreadable, ...] = field(default=())
    """Each of them keeps Fleet from changing anything at all."""

    @property
    def deployed(self) -> dict[str, Bundle]:
        """The bundles that come to be, by name; of equal names one is left."""
        return {one.name: one for one in self.bundles if not one.empty}


def readable(tree: Tree) -> Tree:
    """The tree. Raises InputError where Fleet cannot read all of it."""
    if tree.unreadable:
        one = tree.unreadable[0]
        more = len(tree.unreadable) - 1
        raise InputError(
            f"Fleet cannot read {one.file.relative_to(tree.root)}, line {one.line}: {one}. It then "
            f"changes nothing of any folder{f'; {more} more like this' if more else ''}. Fix it; "
            "`release lint` shows all there is."
        )
    return tree


def read_tree(root: Path, version: FleetVersion) -> Tree:
    """Read every folder that gitrepo.yaml names. What cannot be read is kept, not raised."""
    file = root / GITREPO
    try:
        gitrepo = read_gitrepo(file)
    except Unreadable as error:
        return Tree(root, GitRepo(file), unreadable=(error,))
    source = gitrepo.source(root, version)
    bundles: list[Bundle] = []
    wrong: list[Unreadable] = []
    for folder in folders(gitrepo, root):
        try:
            bundles.append(read_bundle(folder, source))
        except Unreadable as error:
            wrong.append(error)
    return Tree(root, gitrepo, tuple(bundles), tuple(wrong))
