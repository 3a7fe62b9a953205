"""publish --pushed, status --pushed: go on from the records that Fleet's branch has.

In a repository of Fleet's own they never come to the one that engines are built in. Without them
the candidate is chosen as if there were none, and what is measured again becomes another image.
"""

from __future__ import annotations

from collections.abc import Container

from engines.config.workspace import Workspace
from engines.errors import InputError
from engines.files import listed, write_atomic
from release.gitops.branch import open_gitops
from release.lock import exclusive
from release.moves.handing_over import refuse_older
from release.records import Candidates, publication_path
from release.say import Say
from release.tags import parse_tag


def take_records(workspace: Workspace, target: str | None, say: Say) -> None:
    """Bring the records of `target`, or of all, from a repository of Fleet's own; in any other git
    does.

    Raises Conflict where those of `target` are of a newer commit than this clone's, and
    ServiceError where the branch cannot be fetched.
    """
    with exclusive(workspace):
        snapshot = open_gitops(workspace).fetch()
        if snapshot.left_at() is not None:
            return
        if target is not None:
            refuse_older(snapshot, target)
        theirs = snapshot.below("release/records")
        ahead = _ahead(workspace, theirs) if target is None else set()
        found = {
            path: file.blob
            for path, file in theirs.items()
            if target in (None, _target_of(path)) and path not in ahead
        }
        contents = snapshot.blobs(found.values())
        for path, blob in found.items():
            write_atomic(workspace.root / path, contents[blob])
    if found:
        say(f"{target or 'All targets'}: the records are those on {snapshot.gitops.shown}")
    for path in sorted(ahead):
        say(
            f"{_target_of(path)}: the candidates stay those of this clone, which published one "
            f"that {snapshot.gitops.shown} has not yet; `release write --push` brings it there"
        )


def _ahead(workspace: Workspace, theirs: Container[str]) -> set[str]:
    """The candidates here, by path, with a release that was published and not handed over yet:
    which it is stands nowhere else."""
    return {
        workspace.relative(path)
        for path in listed(workspace.records, "candidates/*.json")
        for one in Candidates.read(path).candidates.values()
        if workspace.relative(publication_path(workspace, one.release)) not in theirs
    }


def _target_of(path: str) -> str | None:
    """The target of a record, by its release's folder or its name; None where it is of none."""
    folder, _, name = path.removeprefix("release/records/").partition("/")
    if folder in ("candidates", "signed"):
        return name.removesuffix(".json")
    try:
        return parse_tag(folder).target
    except InputError:
        return None
